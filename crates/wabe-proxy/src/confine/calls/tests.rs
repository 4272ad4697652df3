use std::{
    env, fs,
    io::{self, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    process::Command,
    thread,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, connect, listen, sockopt},
};

use crate::confine;

use super::*;

const GOLDEN: &str = "src/confine/calls/allowed.txt";

/// One line a call, with what its arguments must be.
fn text() -> String {
    let argument = |it: &Argument| format!("argument {} & {:#x} == {:#x}", it.place, it.mask, it.value);
    let all = |it: &&[Argument]| it.iter().map(argument).collect::<Vec<_>>().join(", ");
    let mut lines: Vec<_> = CALLS
        .iter()
        .chain(OLDER_CALLS)
        .flat_map(|call| {
            let name = call.name.trim_start_matches("SYS_");
            let always = call.only.is_empty().then(|| format!("{name}\n"));
            always.into_iter().chain(call.only.iter().map(move |it| format!("{name}: {}\n", all(it))))
        })
        .collect();
    lines.sort();
    lines.concat()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_list_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if env::var_os("WABE_UPDATE_GOLDEN").is_some() {
        fs::write(&path, text()).expect("written");
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text(),
        reviewed,
        "WABE_UPDATE_GOLDEN=1 accepts this; each call more is power for whoever takes it over"
    );
}

/// Runs something as the proxy would, on a thread of its own, which alone is confined.
fn confined<T: Send + 'static>(folder: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let snapshot = folder.join("snapshot.json");
    thread::spawn(move || {
        confine(&snapshot).expect("confined");
        work()
    })
    .join()
    .expect("no panic")
}

fn refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[test]
fn what_serving_needs_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("snapshot.json"), "{}").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = listener.local_addr().expect("an address");
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let mine = folder.path().join("snapshot.json");
    // As the proxy: before.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (read, connected) = confined(folder.path(), move || {
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
        connect(&socket, &to).expect("connected");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a socket option");
        stream.set_nonblocking(true).expect("a mode");
        let (mut accepted, _) = listener.accept().expect("accepted");
        accepted.write_all(b"some bytes").expect("written");
        thread::spawn(|| ()).join().expect("a thread");
        (fs::read_to_string(&mine), stream.peer_addr())
    });
    assert_eq!((read.expect("the snapshot"), connected.expect("connected")), ("{}".into(), to));
}

#[test]
fn sockets_can_neither_be_made_nor_bound_nor_marked() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let (unbound, given) = (socket(), TcpListener::bind("127.0.0.1:0").expect("a listener"));
    confined(folder.path(), move || {
        assert!(refused(TcpListener::bind("127.0.0.1:0")));
        assert!(refused(UdpSocket::bind("127.0.0.1:0")));
        assert!(refused(std::os::unix::net::UnixStream::pair()));
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(bind(&unbound, &anywhere), Err(Errno::PERM));
        assert_eq!(listen(&unbound, 1), Err(Errno::PERM));
        // Root might, so it is the filter that refuses.
        assert_eq!(sockopt::set_socket_reuseaddr(&unbound, true), Err(Errno::PERM));
        let marked = rustix::net::sockopt::set_ip_tos(&given, 0);
        assert_eq!(marked, Err(Errno::PERM));
        assert_eq!(sockopt::set_tcp_nodelay(&unbound, true), Ok(()));
    });
}

#[test]
fn files_can_neither_be_read_nor_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("made");
    confined(folder.path(), move || {
        for path in ["/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/", "/dev/null"] {
            assert!(refused(fs::File::open(path)), "{path}");
        }
        assert!(refused(fs::write(&inside, "text")));
        assert!(refused(fs::remove_file("/etc/passwd")));
        assert!(refused(fs::create_dir(&inside)));
    });
}

#[test]
fn processes_can_neither_be_started_nor_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut victim = Command::new("sleep").arg("60").spawn().expect("a process");
    let pid = rustix::process::Pid::from_child(&victim);
    confined(folder.path(), move || {
        assert!(Command::new("true").spawn().is_err());
        assert_eq!(rustix::process::kill_process(pid, rustix::process::Signal::KILL), Err(Errno::PERM));
        assert!(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).is_err());
        assert!(rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::empty()).is_err());
        let null = rustix::fs::CWD.as_fd();
        assert!(rustix::fs::openat(null, "/", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).is_err());
    });
    assert_eq!(victim.try_wait().expect("asked"), None, "it lives");
    victim.kill().expect("killed");
    victim.wait().expect("waited for");
}
