//! `wabe exec`: a command inside a workload, as if it were the workload's own.

use std::{collections::BTreeMap, fs};

use serde_json::json;
use wabe_tests::{
    eventually,
    manifest::{Workload, all},
    status,
    testkit::{Finished, testbox},
};

use super::mesh;

#[test]
fn passes_input_output_and_exit_status() {
    let mut shell = mesh().start_exec("shop/caller", &["sh", "-c", "read word; echo \"<$word>\"; exit 7"]);
    shell.send("hello");
    assert_eq!(shell.next_line(), "<hello>");
    assert_eq!(shell.finish().code(), Some(7));
}

#[test]
fn keeps_output_and_errors_apart() {
    let said = mesh().exec("shop/caller", &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str(), said.code()), ("out\n", "err\n", Some(3)));
}

#[test]
fn a_signal_becomes_an_exit_status_as_in_a_shell() {
    assert_eq!(mesh().exec("shop/caller", &["sh", "-c", "kill -KILL $$"]).code(), Some(128 + 9));
}

#[test]
fn passes_megabytes_through_both_ways() {
    let wabe = mesh().machine().wabe_command(&["exec", "shop/caller", "--", "cat"]);
    let original = tempfile::NamedTempFile::new().expect("a temporary file");
    let script = "head -c 5000000 /dev/urandom > $FILE; \"$@\" < $FILE | cmp - $FILE";
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(wabe.get_program())
        .args(wabe.get_args())
        .env("FILE", original.path());
    let _ = mesh().machine().run(shell).success();
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let said = mesh().exec("shop/caller", &["no-such-program"]);
    assert!(!said.status.success());
    assert!(said.stderr.contains("no-such-program"), "{said}");
}

#[test]
fn a_workload_that_does_not_exist_is_named() {
    let said = mesh().exec("shop/nobody", &["true"]);
    assert!(!said.status.success());
    assert!(said.stderr.contains("shop/nobody"), "{said}");
}

#[test]
fn a_name_without_namespace_suffices_if_it_is_the_only_one() {
    let said = mesh().exec("caller", &["sh", "-c", "echo $WABE_NAMESPACE/$WABE_WORKLOAD"]);
    assert_eq!(said.success().stdout.trim(), "shop/caller");
}

#[test]
fn what_it_runs_ends_when_the_caller_is_killed() {
    // The number marks it among all others.
    let running = mesh().start_exec("shop/caller", &["sh", "-c", "echo begun; exec sleep 12345.75"]);
    let mut running = running;
    assert_eq!(running.next_line(), "begun");
    let sleeping = || find_process("12345.75");
    eventually("the command runs", || sleeping().then_some(()));
    drop(running);
    eventually("the command ended", || (!sleeping()).then_some(()));
}

fn find_process(argument: &str) -> bool {
    let pids = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    pids.filter_map(|it| fs::read(it.path().join("cmdline")).ok()).any(|line| {
        line.split(|it| *it == 0).any(|it| it == argument.as_bytes()) && line.starts_with(b"sleep")
    })
}

#[test]
fn a_command_is_confined_as_the_workload_itself_is() {
    let inside = fields(&mesh().exec("shop/caller", &["cat", "/proc/self/status"]).success().stdout);
    let pid = status::pids(mesh(), "shop/caller")[0];
    let own = fields(&fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs"));
    for status in [inside, own] {
        for none in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status[none], 16), Ok(0), "{none}: {status:?}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        let nobody = "65534 65534 65534 65534";
        assert_eq!((status["Uid"].as_str(), status["Gid"].as_str()), (nobody, nobody));
        assert!(matches!(status["Groups"].as_str(), "" | "65534"), "{}", status["Groups"]);
    }
}

/// `Name: values`, with single blanks between the values.
fn fields(status: &str) -> BTreeMap<String, String> {
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, values)| (name.into(), values.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

#[test]
fn a_command_is_in_the_workloads_namespaces_and_cgroup() {
    let pid = status::pids(mesh(), "shop/caller")[0];
    for namespace in ["net", "mnt"] {
        let own = fs::read_link(format!("/proc/{pid}/ns/{namespace}")).expect("it runs");
        let ours = fs::read_link(format!("/proc/self/ns/{namespace}")).expect("/proc is mounted");
        let script = format!("readlink /proc/self/ns/{namespace}");
        let seen = mesh().exec("shop/caller", &["sh", "-c", &script]).success().stdout;
        assert_ne!(own, ours, "{namespace}");
        // Its file system may be set up anew for each command; its network may not.
        if namespace == "net" {
            assert_eq!(seen.trim(), own.to_str().expect("UTF-8"));
        } else {
            assert_ne!(seen.trim(), ours.to_str().expect("UTF-8"));
        }
    }
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let v2 = |text: &str| text.lines().find(|it| it.starts_with("0::")).map(String::from).expect("cgroup v2");
    let seen = mesh().exec("shop/caller", &["cat", "/proc/self/cgroup"]).success().stdout;
    assert_eq!(v2(&seen), v2(&own));
    assert!(v2(&own).contains(&format!("wabe-{}/", mesh().name())), "{own}");
}

#[test]
fn a_workload_sees_its_own_interfaces_only() {
    let table = mesh().exec("shop/caller", &["cat", "/proc/self/net/dev"]).success().stdout;
    let mut names: Vec<_> = table.lines().filter_map(|it| it.split_once(':')).map(|it| it.0.trim()).collect();
    names.sort_unstable();
    assert_eq!(names, ["eth0", "lo"]);
    let sys = mesh().exec("shop/caller", &["ls", "/sys/class/net"]).success().stdout;
    assert_eq!(sys.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
}

#[test]
fn a_workload_sees_nothing_that_steers_the_mesh() {
    for mount in mesh().testbox("shop/caller", &["mounts"]).success().json_lines() {
        let kind = mount["kind"].as_str().expect("a word");
        assert!(!["cgroup", "cgroup2", "bpf"].contains(&kind), "{mount}");
    }
    let run = mesh().exec("shop/caller", &["sh", "-c", "ls -A /run/wabe"]);
    assert_eq!(run.stdout.trim(), "", "{run}");
    // Not even as root of a user namespace of its own: that would bring back all capabilities.
    let cannot =
        ["mount -t bpf bpf /mnt", "mount -t cgroup2 none /mnt", "echo 0 > /proc/sys/net/ipv4/ip_forward"];
    for script in cannot {
        let said = mesh().exec("shop/caller", &["sh", "-c", script]);
        assert!(!said.status.success(), "{said}");
    }
}

#[test]
fn a_workload_has_what_it_asks_for_and_nothing_more() {
    let asking = Workload::idle("asks/asking")
        .with("capabilities", json!(["NET_RAW"]))
        .with("user", "daemon".into())
        .with("workingDir", "/usr/share".into())
        .with("env", json!([{ "name": "GREETING", "value": "hello world" }]));
    let rooted = Workload::idle("asks/rooted").with("user", "root".into());
    let _ = mesh().apply(&all(&[&asking, &rooted])).success();
    status::until_ready(mesh(), "asks/asking", 1);
    status::until_ready(mesh(), "asks/rooted", 1);
    let pid = status::pids(mesh(), "asks/asking")[0];
    let own = fields(&fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs"));
    let net_raw = format!("{:016x}", 1 << 13);
    assert_eq!((&own["CapEff"], &own["CapBnd"]), (&net_raw, &net_raw), "{own:?}");
    assert_eq!(own["Uid"], "1 1 1 1");
    let said =
        mesh().exec("asks/asking", &["sh", "-c", "echo $GREETING in $PWD as $WABE_NAMESPACE/$WABE_WORKLOAD"]);
    assert_eq!(said.success().stdout.trim(), "hello world in /usr/share as asks/asking");
    assert_eq!(mesh().testbox("asks/asking", &["packet-socket"]).success().json()["ok"], true);
    assert_eq!(mesh().testbox("shop/caller", &["packet-socket"]).success().json()["errno"], "EPERM");
    // Root inside is root without capabilities.
    let said =
        mesh().exec("asks/rooted", &["sh", "-c", "id -u; grep CapEff /proc/self/status"]).success().stdout;
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "CapEff:", "0000000000000000"]);
}

#[test]
fn a_workload_may_listen_on_low_ports() {
    let testbox = testbox();
    let testbox = testbox.to_str().expect("UTF-8");
    let mut server = mesh().start_exec("shop/caller", &[testbox, "id", "--listen", "127.0.0.1:81"]);
    assert_eq!(server.next_json()["listening"], "127.0.0.1:81");
    let said: Finished = mesh().testbox("shop/caller", &["connect", "127.0.0.1:81"]);
    assert_eq!(said.success().json()["first"], "caller/0");
}
