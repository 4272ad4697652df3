//! `wabe logs`: what workloads print.

use wabe_tests::{eventually, manifest::Workload};

use super::mesh;

#[test]
fn shows_what_a_workload_printed_on_both_outputs() {
    let talker = Workload::new("logs/both", &["sh", "-c", "echo one; echo two >&2; exec sleep infinity"]);
    let _ = mesh().apply(&talker.to_string()).success();
    eventually("both lines are logged", || {
        let logged = mesh().wabe(&["logs", "logs/both"]).stdout;
        (logged.contains("one") && logged.contains("two")).then_some(())
    });
}

#[test]
fn follows_what_is_printed_from_now_on() {
    let script = "trap 'echo poked' USR1; echo before; while :; do sleep 0.05; done";
    let _ = mesh().apply(&Workload::new("logs/poked", &["sh", "-c", script]).to_string()).success();
    eventually("it has begun", || {
        mesh().wabe(&["logs", "logs/poked"]).stdout.contains("before").then_some(())
    });
    let mut following = mesh().machine().start_wabe(&["logs", "-f", "logs/poked"]);
    assert!(following.next_line().ends_with("before"));
    for _ in 0..2 {
        let poke = ["sh", "-c", "kill -USR1 $PID"];
        let pid = wabe_tests::status::pids(mesh(), "logs/poked")[0].to_string();
        let _ = mesh().exec("logs/poked", &[poke[0], poke[1], &poke[2].replace("$PID", &pid)]).success();
        assert!(following.next_line().ends_with("poked"));
    }
}

#[test]
fn are_rotated_so_that_a_talkative_workload_fills_no_disk() {
    // 60 MB at once, then a last line.
    let script = "head -c 45000000 /dev/zero | base64; echo the end; exec sleep infinity";
    let _ = mesh().apply(&Workload::new("logs/talkative", &["sh", "-c", script]).to_string()).success();
    eventually("the last line is logged", || {
        let last = mesh().wabe(&["logs", "--tail", "1", "logs/talkative"]).stdout;
        (last.trim() == "the end").then_some(())
    });
    let folder = format!("/run/wabe/{}/logs", mesh().name());
    let sizes: Vec<u64> = std::fs::read_dir(folder)
        .expect("logs are there")
        .flatten()
        .filter(|it| it.file_name().to_string_lossy().contains("talkative"))
        .map(|it| it.metadata().expect("our own file").len())
        .collect();
    assert!(sizes.iter().sum::<u64>() < 50_000_000, "{sizes:?}");
}

#[test]
fn a_workload_without_log_is_named() {
    let said = mesh().wabe(&["logs", "logs/nobody"]);
    assert!(!said.status.success());
    assert!(said.stderr.contains("logs/nobody"), "{said}");
}
