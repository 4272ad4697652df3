//! A keeper in a network namespace of its own, with a mesh that no other test has.

use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader, Read as _, pipe},
    net::{IpAddr, SocketAddr, TcpStream},
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wabe_keeper::{
    client::{Client, ClientError},
    layout::{Mesh, MeshFile, Ranges},
    protocol::{EventKind, ExecSpec, ExitStatus, InstanceSpec, InstanceState, RestartPolicy},
    sweep,
};
use wabe_testkit::NetworkNamespace;

/// What all names of these tests' meshes begin with.
const PREFIX: &str = "kt-";

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A keeper that runs. Dropping it removes all there is of its mesh.
pub(crate) struct Keeper {
    pub(crate) mesh: Mesh,
    pub(crate) file: MeshFile,
    namespace: NetworkNamespace,
    process: Child,
    folder: TempDir,
}

impl Keeper {
    /// One without agent and dns.
    pub(crate) fn start() -> Self {
        Self::start_with("", "")
    }

    /// One whose agent and dns are these shell scripts.
    pub(crate) fn start_with(agent: &str, dns: &str) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep_leftovers);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mesh = Mesh::new(name).expect("a good name");
        let namespace = NetworkNamespace::fresh().expect("these tests need root");
        let file =
            MeshFile::new(&mesh, ranges(), "cluster.local", "istio-system").expect("cgroup v2 is mounted");
        file.store().expect("/run is writable");

        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
        // Workloads run as nobody, who may not be able to reach the folder that it was built in. Another process
        // copies: a file that ours, or one just forked from it, has open for writing can't be executed.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_wabe-keeper-harness"))
            .arg(folder.path().join("harness"))
            .status();
        assert!(copied.expect("cp is there").success());

        // Whoever starts a keeper may leave it a descriptor, which is nothing for workloads.
        let stray = fs::File::open("/dev/null").expect("is there");
        rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).expect("is open");
        let process = namespace.run(|| {
            Command::new(folder.path().join("harness"))
                .args(["keeper", mesh.name(), agent, dns])
                .stdout(Stdio::piped())
                .spawn()
                .expect("the harness runs")
        });
        let mut keeper = Self { mesh, file, namespace, process, folder };
        let mut line = String::new();
        let output = keeper.process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the keeper did not start: its message is above");
        keeper
    }

    pub(crate) fn client(&self) -> Client {
        let client = Client::connect(&self.mesh).expect("the keeper listens");
        client.set_patience(Some(PATIENCE)).expect("patience is not zero");
        client
    }

    /// What happens from now on.
    pub(crate) fn events(&self) -> Events {
        let mut events: Events = Events(Box::new(self.client().subscribe().expect("the keeper listens")));
        events.until(|kind| matches!(kind, EventKind::State(_)));
        events
    }

    /// A workload that runs this, once, as nobody.
    pub(crate) fn spec(&self, id: u32, command: &[&str]) -> InstanceSpec {
        let (v4, v6) = self.file.addresses(id).expect("a small id");
        InstanceSpec {
            id,
            workload: format!("test/w{id}"),
            replica: 0,
            name: format!("test.w{id}-0"),
            v4,
            v6,
            command: command.iter().map(|it| (*it).to_owned()).collect(),
            environment: Default::default(),
            working_directory: "/".into(),
            private_tmp: false,
            user: "nobody".into(),
            capabilities: Vec::new(),
            restart: RestartPolicy::Never,
            probe: None,
            egress_masquerade: false,
            grace_ms: 10_000,
        }
    }

    /// The same with a shell script.
    pub(crate) fn script(&self, id: u32, script: &str) -> InstanceSpec {
        self.spec(id, &["sh", "-c", script])
    }

    /// Creates and starts it.
    pub(crate) fn run(&self, spec: InstanceSpec) {
        let (mut client, id) = (self.client(), spec.id);
        drop(client.create(spec).expect("can be created"));
        client.start(id).expect("can be started");
    }

    /// Runs it until its command was executed; returns its process.
    pub(crate) fn run_until_started(&self, spec: InstanceSpec) -> u32 {
        let mut events = self.events();
        self.run(spec);
        let event = events.until(|kind| matches!(kind, EventKind::Started { .. } | EventKind::Failed { .. }));
        let EventKind::Started { pid, .. } = event else { panic!("did not start: {event:?}") };
        pid
    }

    /// Runs a command in it, without input; how it ended, and what it wrote.
    pub(crate) fn exec(&self, id: u32, command: &[&str]) -> (ExitStatus, String) {
        self.exec_as(exec_spec(id, command)).expect("can be executed")
    }

    pub(crate) fn exec_as(&self, spec: ExecSpec) -> Result<(ExitStatus, String), ClientError> {
        let (reader, writer) = pipe().expect("a pipe");
        let null = fs::File::open("/dev/null").expect("is there");
        let text = thread::spawn(move || read_all(reader));
        let status = self.client().exec(spec, [null.as_fd(), writer.as_fd(), writer.as_fd()]);
        drop(writer);
        Ok((status?, text.join().expect("a reader")))
    }

    pub(crate) fn state(&self, id: u32) -> InstanceState {
        let list = self.client().list().expect("can be listed");
        list.into_iter().find(|it| it.spec.id == id).expect("is in the list")
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).expect("has a log")
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.mesh.logs_dir().join(format!("{name}.log"))
    }

    /// The harness, where workloads can execute it.
    pub(crate) fn program(&self) -> String {
        self.folder().join("harness").to_str().expect("is UTF-8").to_owned()
    }

    /// A folder that workloads can read.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The workload's cgroup.
    pub(crate) fn cgroup(&self, id: u32) -> PathBuf {
        self.file.workloads_cgroup().join(id.to_string())
    }

    /// What there is of the mesh.
    pub(crate) fn inventory(&self) -> Vec<sweep::Leftover> {
        self.namespace.run(|| sweep::inventory(&self.mesh)).expect("can be looked at")
    }

    /// Waits until the keeper has exited.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the keeper exits", || match self.process.try_wait().expect("is our child") {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
        code
    }

    fn end(&self) -> Result<(), ClientError> {
        let mut client = Client::connect(&self.mesh)?;
        client.set_patience(Some(PATIENCE))?;
        for instance in client.list()? {
            // Without waiting for its grace.
            client.remove(instance.spec.id)?;
        }
        client.shutdown()
    }

    /// Whether something accepts connections there, as seen from the node.
    pub(crate) fn reaches_from_host(&self, address: IpAddr, port: u16) -> bool {
        let target = SocketAddr::new(address, port);
        self.namespace.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2)).is_ok())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // In order if possible: orphans of a killed keeper are zombies until somebody waits for them. Each of these
        // fails if the test ended the keeper itself.
        let ended = self.end().is_ok();
        if !ended {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        let swept = self.namespace.run(|| sweep::sweep(&self.mesh));
        if !thread::panicking() {
            let _ = swept.expect("everything can be removed");
        }
    }
}

/// What a keeper tells.
pub(crate) struct Events(Box<dyn Iterator<Item = Result<wabe_keeper::protocol::Event, ClientError>>>);

impl Events {
    /// The next event that fits.
    pub(crate) fn until(&mut self, fits: impl Fn(&EventKind) -> bool) -> EventKind {
        self.seen_until(fits).pop().expect("the one that fits")
    }

    /// All events up to the next one that fits.
    pub(crate) fn seen_until(&mut self, fits: impl Fn(&EventKind) -> bool) -> Vec<EventKind> {
        let mut seen = Vec::new();
        loop {
            match self.0.next() {
                Some(Ok(event)) => seen.push(event.kind),
                other => panic!("waited in vain ({other:?}); seen before: {seen:?}"),
            }
            if seen.last().is_some_and(&fits) {
                return seen;
            }
        }
    }
}

pub(crate) fn exec_spec(id: u32, command: &[&str]) -> ExecSpec {
    ExecSpec {
        id,
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        environment: Default::default(),
        working_directory: None,
        user: None,
    }
}

pub(crate) fn read_all(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("is UTF-8");
    text
}

/// Waits until something is so that nothing tells about.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process is there, and not only waiting to be waited for.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn ranges() -> Ranges {
    let parsed = "invariant: a range";
    Ranges {
        workloads_v4: "10.128.0.0/16".parse().expect(parsed),
        services_v4: "10.129.0.0/16".parse().expect(parsed),
        workloads_v6: "fd77:6162:6500::/64".parse().expect(parsed),
        services_v6: "fd77:6162:6501::/64".parse().expect(parsed),
    }
}

/// What a test run that was killed left behind.
fn sweep_leftovers() {
    for mesh in Mesh::all().expect("/run is readable") {
        let pid =
            mesh.name().strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // A namespace of its own: its interface was in one that is gone.
            let namespace = NetworkNamespace::fresh().expect("these tests need root");
            namespace.run(|| sweep::sweep(&mesh)).expect("everything can be removed");
        }
    }
}
