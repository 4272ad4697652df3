//! Who may talk with the keeper, and how it bears nonsense.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Command,
};

use crate::fixture::Keeper;

#[test]
fn the_socket_is_for_root() {
    let keeper = Keeper::start();
    let mode = fs::metadata(keeper.mesh.keeper_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Were folder and socket open to all, the keeper itself would still refuse.
    fs::set_permissions(keeper.mesh.keeper_socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(keeper.mesh.run_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let listed = Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", &keeper.program(), "list", keeper.mesh.name()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stderr);
    assert!(!listed.status.success() && text.contains("talks with root only"), "{text}");
    let listed = Command::new(keeper.program()).args(["list", keeper.mesh.name()]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn what_it_does_not_understand_is_answered_and_harms_nobody() {
    let keeper = Keeper::start();
    for (sent, expected) in
        [(&b"\x09\0\0\0{\"fly\":1}"[..], "not understood"), (b"GET / HTTP/1.1\r\n\r\n", "not understood")]
    {
        let mut socket = UnixStream::connect(keeper.mesh.keeper_socket()).unwrap();
        socket.write_all(sent).unwrap();
        let mut answer = Vec::new();
        // What was not read makes the close a reset.
        let _ = socket.read_to_end(&mut answer);
        assert!(String::from_utf8_lossy(&answer).contains(expected), "{answer:?}");
    }
    // Half a message, and gone.
    UnixStream::connect(keeper.mesh.keeper_socket()).unwrap().write_all(b"\x09\0\0\0{").unwrap();
    assert_eq!(keeper.client().hello().unwrap().mesh, keeper.mesh.name());
}
