//! Connections that last longer than the proxy that they go through: each is told, none is reset, and no request fails meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{eventually, eventually_within};

use super::{
    CALLER,
    relief::{Load, draining, in_charge},
};

const WEBSOCKETS: u64 = 100;
const STREAMS: u64 = 50;
/// Between two upgrades.
const PAUSE: Duration = Duration::from_secs(3);
/// An old proxy's, until the keeper would kill it.
const DRAIN: Duration = Duration::from_secs(32);

pub(super) fn three_upgrades_end_what_lasts_in_order_and_fail_no_request(mesh: &TestMesh) {
    let seconds = 20;
    let load = Load::begin(mesh, "shop/load-lasting", seconds);
    let (websockets, streams) = (WEBSOCKETS.to_string(), STREAMS.to_string());
    let words = ["lasting", "chat.shop:80", "calls.shop:80", "--count", &websockets, "--parallel", &streams];
    let mut lasting = mesh.start_testbox(CALLER, &words);
    let mut count = move || {
        lasting.send("count");
        lasting.next_json()
    };
    eventually_within(Duration::from_secs(10), "all are open", || {
        let said = count();
        (said["websockets"]["open"] == WEBSOCKETS && said["streams"]["open"] == STREAMS).then_some(())
    });
    let began = Instant::now();
    for number in 1..=3 {
        let before = in_charge(mesh);
        let said = mesh.json(&["upgrade", "proxy"]);
        println!("{:.1?}: upgrade {number} took {} ms", began.elapsed(), said["milliseconds"]);
        assert_ne!(in_charge(mesh), before);
        thread::sleep(PAUSE);
    }
    load.nothing_failed(seconds);
    eventually_within(DRAIN + Duration::from_secs(5), "the old ones have ended", || {
        draining(mesh).is_empty().then_some(())
    });
    println!("{:.1?}: the old ones have ended", began.elapsed());
    let said = eventually_within(Duration::from_secs(10), "all are open again", || {
        let said = count();
        (said["websockets"]["open"] == WEBSOCKETS && said["streams"]["open"] == STREAMS).then_some(said)
    });
    println!("{said:#}");
    // Each goes at another time of the drain, to the proxy that is in charge then.
    let closed = ended(&said["websockets"], &["close 1001, end"]);
    assert!((WEBSOCKETS..=3 * WEBSOCKETS).contains(&closed), "{said}");
    let told = ended(&said["streams"], &["goaway, status 0, end", "goaway, status 14, end"]);
    assert!(told >= STREAMS, "{said}");
    // Who does not heed GOAWAY keeps its stream until the time is up; who does, follows each upgrade.
    assert!(said["streams"]["ended"]["goaway, status 14, end"].as_u64() >= Some(STREAMS / 2), "{said}");
    assert!(said["streams"]["ended"]["goaway, status 0, end"].as_u64() >= Some(STREAMS / 2), "{said}");
    // The servers were told, too: by the caller's own answer.
    let ends = eventually("the servers tell of all", || {
        let log = mesh.wabe(&["logs", "shop/lasting"]).success().stdout;
        let lines = log.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let ends: Vec<Value> = lines.map(|it| it["websocket"].clone()).filter(|it| !it.is_null()).collect();
        (ends.len() as u64 >= closed).then_some(ends)
    });
    assert_eq!(ends.len() as u64, closed, "{ends:?}");
    assert!(ends.iter().all(|it| *it == json!("close 1001")), "{ends:?}");
}

/// How many have ended; all in one of these ways.
#[track_caller]
fn ended(counts: &Value, ways: &[&str]) -> u64 {
    let ended = counts["ended"].as_object().expect("counts");
    assert!(ended.keys().all(|it| ways.contains(&it.as_str())), "only {ways:?}: {counts}");
    ended.values().filter_map(Value::as_u64).sum()
}
