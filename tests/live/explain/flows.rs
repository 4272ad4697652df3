//! `wabe flows`: one line for what both ends saw.

use serde_json::{Value, json};
use wabe_tests::{eventually, testkit::TestMesh};

use super::manifests;

/// The lines so far that fit.
fn lines(mesh: &TestMesh, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let said = mesh.wabe(&["flows", "--last", "1000", "-o", "json"]).success().json_lines();
    said.into_iter().filter(fits).collect()
}

fn between(line: &Value, kind: &str, from: &str) -> bool {
    line["kind"] == kind && line["from"]["workload"] == from && line["protocol"] == "tcp"
}

#[test]
fn tell_opened_closed_and_refused_connections() {
    let mesh = TestMesh::up(&manifests());
    let status = mesh.json(&["status"]);
    let service = wabe_tests::status::named(&status["services"], "shop/payment");
    let address = service["addresses"][0].as_str().expect("an address").to_owned();
    // By number: a name would bring flows of its own.
    let target = std::net::SocketAddr::new(address.parse().expect("an address"), 80).to_string();
    let said = mesh.testbox("shop/frontend", &["connect", &target]).success().json();
    assert!(said["first"].is_string(), "{said}");

    let opened = eventually("both ends' reports are joined", || {
        let found = lines(&mesh, |it| between(it, "opened", "shop/frontend"));
        found.into_iter().find(|it| it["reporters"] == json!(["source", "destination"]))
    });
    let closed = eventually("both ends' reports are joined", || {
        let found = lines(&mesh, |it| between(it, "closed", "shop/frontend"));
        found.into_iter().find(|it| it["reporters"] == json!(["source", "destination"]))
    });
    for line in [&opened, &closed] {
        assert_eq!((&line["lane"], &line["verdict"]), (&json!("direct"), &json!("allowed")), "{line:#}");
        assert_eq!(
            (&line["service"], &line["dialledPort"]),
            (&json!("shop/payment"), &json!(80)),
            "{line:#}"
        );
        assert_eq!((&line["dialled"], &line["to"]["port"]), (&json!(address), &json!(8080)), "{line:#}");
        assert_eq!(line["to"]["workload"], "shop/payment", "{line:#}");
        assert_eq!(line["from"]["port"], said["local"].as_str().and_then(port).expect("a port"), "{line:#}");
    }
    // What the server said, and nothing else.
    let answer = said["first"].as_str().map(str::len).expect("text") + 1;
    assert_eq!((&closed["bytesSent"], &closed["bytesReceived"]), (&json!(0), &json!(answer)), "{closed:#}");
    for field in ["duration", "rtt"] {
        assert!(closed[field].as_u64().is_some_and(|it| it > 0), "{field}: {closed:#}");
    }
    assert_eq!(
        lines(&mesh, |it| between(it, "opened", "shop/frontend")).len(),
        1,
        "one line for both reports"
    );

    refusals_are_not_repeated(&mesh, &target);
    following_shows_what_comes(&mesh, &target);
    mesh.down();
}

/// Many refusals are few lines, which count them all.
fn refusals_are_not_repeated(mesh: &TestMesh, target: &str) {
    let args = ["connect", target, "--count", "500", "--summary"];
    let said = mesh.testbox("shop/thief", &args).success().json();
    assert_eq!(said["by_errno"]["EPERM"], 500, "{said}");
    // The next one that gets a line tells how many there were since the last.
    let mut made = 500;
    let refused = eventually("all are told or counted", || {
        let _ = mesh.testbox("shop/thief", &["connect", target]).success();
        made += 1;
        // Reports gather before the agent reads them; the one of this call should be among them.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let found = lines(mesh, |it| between(it, "refused", "shop/thief"));
        let counted: u64 = found.iter().map(|it| 1 + it["suppressed"].as_u64().unwrap_or(0)).sum();
        assert!(counted <= made, "{counted} of {made}");
        (counted == made).then_some(found)
    });
    assert!(refused.len() < 50, "{} lines for {made} refusals", refused.len());
    for line in &refused {
        assert_eq!(
            (&line["verdict"], &line["reason"]),
            (&json!("refused"), &json!("policy_no_match")),
            "{line:#}"
        );
        assert_eq!(
            (&line["service"], &line["lane"]),
            (&json!("shop/payment"), &json!("refused")),
            "{line:#}"
        );
    }
}

fn following_shows_what_comes(mesh: &TestMesh, target: &str) {
    let mut following = mesh.machine().start_wabe(&["flows", "--follow", "--last", "0", "-o", "json"]);
    // Begun only when it shows something: so one call after the other until it does.
    let mut calling =
        mesh.start_testbox("shop/frontend", &["connect", target, "--count", "200", "--rate", "50"]);
    let line = following.next_json();
    assert_eq!(line["from"]["workload"], "shop/frontend", "{line:#}");
    calling.next_line();
}

fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}
