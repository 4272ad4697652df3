//! Starts, ends, restarts.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    time::{Duration, Instant},
};

use wabe_keeper::{
    cgroup::Cgroup,
    client::ClientError,
    protocol::{EventKind, ExitStatus, InstanceSpec, Phase, RestartPolicy},
};

use crate::fixture::{Keeper, eventually, is_alive};

#[test]
fn an_end_is_told_with_its_status_and_left_alone() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "exit 3"));
    let seen = events.seen_until(|kind| matches!(kind, EventKind::Exited { .. }));
    assert!(matches!(seen[..], [EventKind::Started { .. }, EventKind::Ready { id: 1 }, _]), "{seen:?}");
    let state = keeper.state(1);
    assert_eq!((state.phase, state.last_exit), (Phase::Exited, Some(ExitStatus::Code(3))));
    assert_eq!((state.ready, state.restarts), (false, 0));

    keeper.run(keeper.script(2, "kill -SEGV $$"));
    let ended = events.until(|kind| matches!(kind, EventKind::Exited { id: 2, .. }));
    assert_eq!(ended, EventKind::Exited { id: 2, status: ExitStatus::Signal(11) });
}

#[test]
fn always_restarts_with_growing_pauses() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(InstanceSpec { restart: RestartPolicy::Always, ..keeper.script(1, "exit 0") });
    for pause in [100, 200, 400] {
        let event = events.until(|kind| matches!(kind, EventKind::Restarting { .. }));
        assert_eq!(event, EventKind::Restarting { id: 1, in_ms: pause });
    }
}

#[test]
fn on_failure_restarts_failures_only() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let flag = keeper.folder().join("second-time");
    fs::set_permissions(keeper.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!("[ -e {0} ] && exit 0; touch {0}; exit 1", flag.display());
    keeper.run(InstanceSpec { restart: RestartPolicy::OnFailure, ..keeper.script(1, &script) });
    events.until(|kind| matches!(kind, EventKind::Restarting { id: 1, .. }));
    let status = ExitStatus::Code(0);
    events.until(|kind| *kind == EventKind::Exited { id: 1, status });
    let state = keeper.state(1);
    assert_eq!((state.phase, state.restarts), (Phase::Exited, 1));
}

#[test]
fn what_cannot_be_started_fails_with_a_remedy_and_is_not_tried_again() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let good = || keeper.spec(0, &["true"]);
    let plain = keeper.folder().join("not-a-program");
    fs::write(&plain, "hello").unwrap();
    let bad = [
        (keeper.spec(0, &["/no/such/program"]), "can't execute /no/such/program: No such file or directory"),
        (keeper.spec(0, &["no-such-program"]), "can't execute no-such-program: No such file or directory"),
        (keeper.spec(0, &[plain.to_str().unwrap()]), "Permission denied"),
        (keeper.spec(0, &[]), "the command is empty"),
        (InstanceSpec { user: "nosuchuser".into(), ..good() }, "user nosuchuser does not exist"),
        (
            InstanceSpec { working_directory: "/no/such/folder".into(), ..good() },
            "can't enter its working directory /no/such/folder",
        ),
        (InstanceSpec { capabilities: vec!["FLY".into()], ..good() }, "FLY does not exist"),
    ];
    for (id, (spec, expected)) in (1..).zip(bad) {
        let addresses = keeper.spec(id, &[]);
        let (name, v4, v6) = (addresses.name, addresses.v4, addresses.v6);
        let restart = RestartPolicy::Always;
        keeper.run(InstanceSpec { id, name, v4, v6, restart, ..spec });
        let seen = events.seen_until(|kind| matches!(kind, EventKind::Failed { .. }));
        let [EventKind::Failed { message, .. }] = &seen[..] else { panic!("{seen:?}") };
        assert!(message.contains(expected), "{message}");
        assert_eq!(keeper.state(id).phase, Phase::Failed { message: message.clone() });
    }
}

#[test]
fn stop_is_polite_first() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done"));
    eventually("the trap is set", || keeper.log("test.w1-0") == "up\n");
    keeper.client().stop(1, None).unwrap();
    let seen = events.seen_until(|kind| matches!(kind, EventKind::Stopped { id: 1 }));
    let status = ExitStatus::Code(7);
    assert!(seen.ends_with(&[EventKind::Exited { id: 1, status }, EventKind::Stopped { id: 1 }]), "{seen:?}");
    assert_eq!(keeper.state(1).phase, Phase::Stopped);

    // And it can be started again.
    keeper.client().start(1).unwrap();
    events.until(|kind| matches!(kind, EventKind::Started { id: 1, .. }));
}

#[test]
fn who_does_not_stop_is_killed_with_its_children() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.02; done"));
    eventually("the trap is set", || keeper.log("test.w1-0") == "up\n");
    keeper.client().stop(1, Some(Duration::from_millis(100))).unwrap();
    let ended = events.until(|kind| matches!(kind, EventKind::Exited { .. }));
    assert_eq!(ended, EventKind::Exited { id: 1, status: ExitStatus::Signal(9) });
    events.until(|kind| matches!(kind, EventKind::Stopped { id: 1 }));
    assert_eq!(fs::read_to_string(keeper.cgroup(1).join("cgroup.procs")).unwrap(), "");
}

#[test]
fn a_restart_is_another_process() {
    let keeper = Keeper::start();
    let first = keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    let mut events = keeper.events();
    keeper.client().restart(1).unwrap();
    let EventKind::Started { pid: second, .. } =
        events.until(|kind| matches!(kind, EventKind::Started { .. }))
    else {
        unreachable!("that is what was waited for");
    };
    assert_ne!(first, second);
    assert!(!is_alive(first));
    assert_eq!(keeper.state(1).restarts, 1);
}

#[test]
fn who_lost_its_cgroup_has_another_and_waits_for_a_start() {
    let keeper = Keeper::start();
    let spec = InstanceSpec { restart: RestartPolicy::Always, ..keeper.spec(1, &["sleep", "1000"]) };
    let pid = keeper.run_until_started(spec);
    let before = keeper.state(1).cgroup_id;
    let mut events = keeper.events();
    fs::write(keeper.cgroup(1).join("cgroup.kill"), "1").unwrap();
    eventually("the cgroup can be removed", || !is_alive(pid) && fs::remove_dir(keeper.cgroup(1)).is_ok());
    let seen = events.seen_until(|kind| matches!(kind, EventKind::Rehoused { .. }));
    assert!(!seen.iter().any(|kind| matches!(kind, EventKind::Started { .. })), "{seen:?}");
    let after = Cgroup::at(keeper.cgroup(1)).id().unwrap();
    assert_ne!(after, before);
    assert_eq!(seen.last(), Some(&EventKind::Rehoused { id: 1, cgroup_id: after }));
    assert_eq!((keeper.state(1).cgroup_id, keeper.state(1).phase), (after, Phase::Created));
    keeper.client().start(1).unwrap();
    events.until(|kind| matches!(kind, EventKind::Started { id: 1, .. }));
}

#[test]
fn orphans_are_waited_for() {
    let keeper = Keeper::start();
    let pid = keeper.run_until_started(
        keeper.script(1, "for i in 1 2 3 4 5; do (setsid sleep 0.01 &); done; echo done; exec sleep 1000"),
    );
    eventually("they were born", || keeper.log("test.w1-0") == "done\n");
    let tasks = fs::read_dir(format!("/proc/{}/task", keeper.pid())).unwrap();
    let lists: Vec<_> = tasks.map(|task| task.unwrap().path().join("children")).collect();
    let children = || -> Vec<u32> {
        // A thread that ended has no children.
        let texts = lists.iter().map(|list| fs::read_to_string(list).unwrap_or_default());
        texts
            .flat_map(|text| text.split_whitespace().map(|it| it.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    };
    eventually("the keeper has one child, the workload", || children() == [pid]);
}

#[test]
fn what_the_main_process_leaves_behind_ends_with_it() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "setsid sleep 1000 & echo $!; exit 0"));
    events.until(|kind| matches!(kind, EventKind::Exited { .. }));
    eventually("it told its child", || keeper.log("test.w1-0").ends_with('\n'));
    let left: u32 = keeper.log("test.w1-0").trim().parse().unwrap();
    eventually("the child is gone", || !is_alive(left));
}

#[test]
fn creating_twice_finds_the_first_unless_it_is_another() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let first = client.create(keeper.spec(1, &["true"])).unwrap();
    let again = client.create(keeper.spec(1, &["true"])).unwrap();
    let found = client.find(1).unwrap();
    assert_eq!(first.created, again.created);
    assert_eq!(first.created, found.created);
    let number = |netns| fs::File::from(netns).metadata().unwrap().ino();
    assert_eq!(number(first.netns), number(found.netns));
    let cgroup = fs::metadata(keeper.cgroup(1)).unwrap();
    assert_eq!(cgroup.ino(), first.created.cgroup_id);

    let error = client.create(keeper.spec(1, &["false"])).unwrap_err();
    assert!(matches!(&error, ClientError::Refused(why) if why.contains("remove it first")), "{error}");
    assert!(client.find(2).unwrap_err().to_string().contains("no workload 2"));
}

#[test]
fn nothing_is_left_of_what_is_removed() {
    let keeper = Keeper::start();
    let pid = keeper.run_until_started(keeper.script(1, "trap '' TERM; while :; do sleep 1; done"));
    keeper.client().remove(1).unwrap();
    assert!(!is_alive(pid));
    assert!(!keeper.cgroup(1).exists());
    assert_eq!(keeper.client().list().unwrap(), []);
    // Once more is no error, and the number can be used again.
    keeper.client().remove(1).unwrap();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
}

#[test]
fn a_new_subscriber_learns_how_things_are() {
    let keeper = Keeper::start();
    let pid = keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    let first = keeper.client().subscribe().unwrap().next().unwrap().unwrap();
    let EventKind::State(list) = first.kind else { panic!("{first:?}") };
    assert_eq!(list.len(), 1);
    assert_eq!((&list[0].phase, list[0].ready), (&Phase::Running { pid }, true));
    assert_eq!(list[0].spec, keeper.spec(1, &["sleep", "1000"]));
}

#[test]
fn a_hundred_workloads_run_side_by_side() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let began = Instant::now();
    for id in 1..=100 {
        keeper.run(keeper.spec(id, &["sleep", "1000"]));
    }
    for _ in 1..=100 {
        events.until(|kind| matches!(kind, EventKind::Ready { .. }));
    }
    println!("100 workloads ready after {:?}", began.elapsed());
    let list = keeper.client().list().unwrap();
    assert_eq!(list.iter().filter(|it| it.ready && matches!(it.phase, Phase::Running { .. })).count(), 100);
    let began = Instant::now();
    keeper.client().shutdown().unwrap();
    println!("and gone after {:?}", began.elapsed());
    assert_eq!(keeper.inventory(), []);
}
