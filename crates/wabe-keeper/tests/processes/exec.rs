//! Commands beside a workload's own.

use std::{
    fs,
    io::{Write as _, pipe},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use wabe_keeper::{
    client::ClientError,
    protocol::{ExecSpec, ExitStatus},
};

use crate::fixture::{Keeper, eventually, exec_spec, read_all};

#[test]
fn the_exit_status_is_passed_on() {
    let keeper = Keeper::start();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    assert_eq!(
        keeper.exec(1, &["sh", "-c", "echo hello; exit 42"]),
        (ExitStatus::Code(42), "hello\n".into())
    );
    let (status, _) = keeper.exec(1, &["sh", "-c", "kill -KILL $$"]);
    assert_eq!((status, status.shell()), (ExitStatus::Signal(9), 137));
}

#[test]
fn it_reads_and_writes_what_the_caller_gave_it() {
    let keeper = Keeper::start();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    let ((input, mut to_input), (output, to_output), (errors, to_errors)) =
        (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
    let client = keeper.client();
    let runs = thread::spawn(move || {
        let spec = exec_spec(1, &["sh", "-c", "read line; echo out $line; echo err $line >&2"]);
        client.exec(spec, [input.as_fd(), to_output.as_fd(), to_errors.as_fd()])
    });
    to_input.write_all(b"word\n").unwrap();
    assert_eq!(runs.join().unwrap().unwrap(), ExitStatus::Code(0));
    assert_eq!((read_all(output), read_all(errors)), ("out word\n".into(), "err word\n".into()));
}

#[test]
fn environment_folder_and_user_can_be_others() {
    let keeper = Keeper::start();
    let mut spec = keeper.spec(1, &["sleep", "1000"]);
    spec.environment = [("A".into(), "1".into()), ("B".into(), "2".into())].into();
    keeper.run_until_started(spec);
    let command = ExecSpec {
        environment: [("B".into(), "3".into())].into(),
        working_directory: Some("/usr".into()),
        user: Some("0".into()),
        ..exec_spec(1, &["sh", "-c", "echo $A $B $(pwd) $(id -u)"])
    };
    assert_eq!(keeper.exec_as(command).unwrap().1, "1 3 /usr 0\n");
    assert_eq!(keeper.exec(1, &["sh", "-c", "echo $A $B $(pwd)"]).1, "1 2 /\n");
}

#[test]
fn what_cannot_be_executed_is_refused_with_a_reason() {
    let keeper = Keeper::start();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    let refused = |spec| match keeper.exec_as(spec) {
        Err(ClientError::Refused(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(refused(exec_spec(1, &["/no/such"])).contains("can't execute /no/such: No such file"));
    assert!(refused(exec_spec(2, &["true"])).contains("no workload 2"));
    drop(keeper.client().create(keeper.spec(3, &["true"])).unwrap());
    assert!(refused(exec_spec(3, &["true"])).contains("test.w3-0 does not run"));
}

#[test]
fn a_command_whose_caller_has_gone_is_killed() {
    let keeper = Keeper::start();
    let main = keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    let members = || fs::read_to_string(keeper.cgroup(1).join("cgroup.procs")).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let (output, to_output) = pipe().unwrap();
    let client = keeper.client();
    client.set_patience(Some(Duration::from_millis(500))).unwrap();
    let result = client.exec(
        exec_spec(1, &["sh", "-c", "echo up; while :; do sleep 0.1; done"]),
        [null.as_fd(), to_output.as_fd(), null.as_fd()],
    );
    assert!(matches!(result, Err(ClientError::Io(_))), "{result:?}");
    drop(to_output);
    assert_eq!(read_all(output), "up\n");
    eventually("only the main process is left", || members() == format!("{main}\n"));
}
