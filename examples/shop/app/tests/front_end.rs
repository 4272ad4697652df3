//! The demo's programs together, on loopback in a network namespace of their own and without a mesh: nginx with the
//! demo's configuration, confined as a workload is, before a catalogue and a payment of ours.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use wabe_testkit::NetworkNamespace;

/// Without privilege, on an empty /tmp, with the mesh's names in /etc/hosts.
const CONFINE: &str = "\
    mount --bind hosts /etc/hosts && mount -t tmpfs -o mode=1777 none /tmp && \
    echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start && \
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
    nginx -p . -c nginx.conf";

/// All names are on loopback here, so each server needs an address of its own instead of all of them.
const HOSTS: &str = "127.0.0.2 catalogue.shop\n127.0.0.3 payment.shop\n127.0.0.1 frontend.shop\n";

struct Shop {
    namespace: NetworkNamespace,
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Shop {
    fn open() -> Self {
        let namespace = NetworkNamespace::fresh().expect("this test needs root: it makes namespaces");
        let folder = tempfile::tempdir().expect("a folder");
        copy_front_end(folder.path());
        let mut shop = Self { namespace, children: Vec::new(), folder };
        shop.start_shop(&["catalogue", "--version", "v1", "--listen", "127.0.0.2:80"]);
        shop.start_shop(&["payment", "--listen", "127.0.0.3:80"]);
        let mut nginx = Command::new("unshare");
        nginx.args(["--mount", "sh", "-c", CONFINE]).current_dir(shop.folder.path());
        shop.start(nginx);
        for address in ["127.0.0.2:80", "127.0.0.3:80", "127.0.0.1:80", "[::1]:80"] {
            shop.wait_for(address);
        }
        shop
    }

    fn start_shop(&mut self, args: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
        command.args(args).stdout(Stdio::null());
        self.start(command);
    }

    fn start(&mut self, mut command: Command) {
        self.namespace.put(&mut command);
        self.children.push(command.spawn().expect("starts"));
    }

    fn wait_for(&self, address: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.namespace.run(|| TcpStream::connect(address)).is_err() {
            assert!(Instant::now() < deadline, "nobody listens on {address}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, address: &str, path: &str) -> String {
        self.namespace.run(|| {
            let mut stream = TcpStream::connect(address).expect("listens");
            write!(stream, "GET {path} HTTP/1.1\r\nhost: frontend.shop\r\nconnection: close\r\n\r\n")
                .expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for child in &mut self.children {
            // SIGTERM first: nginx then stops its worker too.
            terminate(child);
            child.wait().expect("ours");
        }
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill").arg(child.id().to_string()).status();
    assert!(status.expect("starts").success());
}

/// The demo's own files, except for the addresses to listen on.
fn copy_front_end(folder: &Path) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the app is in the demo's folder");
    let config = fs::read_to_string(demo.join("nginx.conf")).expect("the demo's configuration");
    let ours =
        config.replace("listen 80;", "listen 127.0.0.1:80;").replace("listen [::]:80;", "listen [::1]:80;");
    assert_ne!(ours, config, "the configuration listens as this test expects");
    fs::write(folder.join("nginx.conf"), ours).expect("written");
    fs::create_dir(folder.join("html")).expect("made");
    fs::copy(demo.join("html/index.html"), folder.join("html/index.html")).expect("copied");
    fs::write(folder.join("hosts"), HOSTS).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder, mode).expect("ours");
}

#[test]
fn front_end_shows_its_page_and_passes_calls_on() {
    let shop = Shop::open();
    for address in ["127.0.0.1:80", "[::1]:80"] {
        assert!(shop.ask(address, "/").contains("<title>The shop</title>"));
        let catalogue = shop.ask(address, "/catalogue");
        assert!(
            catalogue.contains("x-served-by: catalogue-v1") && catalogue.contains("honey"),
            "{catalogue}"
        );
        assert!(shop.ask(address, "/pay").contains(r#"{"paid":true}"#));
        assert!(shop.ask(address, "/nothing").starts_with("HTTP/1.1 404"));
    }
}

#[test]
fn load_counts_by_version_and_stops_when_told() {
    let shop = Shop::open();
    let urls = ["http://127.0.0.1/catalogue", "http://127.0.0.2/catalogue", "http://[::1]/pay"];
    let mut load = Command::new(env!("CARGO_BIN_EXE_shop"));
    load.args(["load", "--rate", "60"]).args(urls).stdout(Stdio::piped());
    shop.namespace.put(&mut load);
    let mut load = load.spawn().expect("starts");
    let mut output = BufReader::new(load.stdout.take().expect("a pipe"));
    let mut first = String::new();
    output.read_line(&mut first).expect("a line after the first second");
    terminate(&load);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the last line");
    assert!(load.wait().expect("ours").success());
    for text in [first.as_str(), rest.trim_end().lines().last().expect("a last line")] {
        assert!(
            text.contains("failed   0") && text.contains("catalogue-v1") && text.contains("payment"),
            "{text}"
        );
    }
    assert!(rest.contains("in all: calls"), "{rest}");
}
