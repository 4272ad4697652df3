//! Two pods on the bridge of a node, each a network namespace: what every arm but the mesh consists of.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{kube::Service, server};
use crate::place::{
    Place,
    cgroup::Cgroup,
    command::{ip, run},
};

/// Which core the client and its sidecar have.
pub const CLIENT_CORE: u32 = 0;
/// Which core the server and its sidecar have.
pub const SERVER_CORE: u32 = 1;

/// The client's pod.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
/// The server's pod.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 3);
/// The bridge: the pods' way out.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// The address of the measured services.
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// A node with its two pods; dropped, it goes.
#[derive(Debug)]
pub(crate) struct Pods {
    name: String,
    cgroup: Cgroup,
    folder: PathBuf,
    children: Vec<Child>,
}

/// Who a process is: its cgroup, its namespace, its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The load generator.
    ClientApp,
    /// The client's Envoy.
    ClientProxy,
    /// nginx and the echo.
    ServerApp,
    /// The server's Envoy.
    ServerProxy,
}

impl Role {
    pub(crate) const ALL: [Self; 4] =
        [Self::ClientApp, Self::ClientProxy, Self::ServerApp, Self::ServerProxy];

    /// Its cgroup.
    pub(crate) fn cgroup(self) -> &'static str {
        match self {
            Self::ClientApp => "client-app",
            Self::ClientProxy => "client-proxy",
            Self::ServerApp => "server-app",
            Self::ServerProxy => "server-proxy",
        }
    }

    /// In results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientApp => "client",
            Self::ClientProxy => "client-sidecar",
            Self::ServerApp => "server",
            Self::ServerProxy => "server-sidecar",
        }
    }

    fn end(self) -> End {
        match self {
            Self::ClientApp | Self::ClientProxy => End::Client,
            Self::ServerApp | Self::ServerProxy => End::Server,
        }
    }
}

/// Which namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Node,
    Client,
    Server,
}

/// The services that are measured: HTTP, HTTP/2 and datagrams, each with one endpoint.
pub(crate) fn measured() -> Vec<Service> {
    let service = |name: &str, protocol, port, to| Service {
        name: format!("lab/server:{name}"),
        address: SERVICE,
        protocol,
        port,
        endpoints: vec![(SERVER, to)],
    };
    vec![
        service("http", "tcp", 80, server::HTTP),
        service("http2", "tcp", 82, server::HTTP2),
        service("echo", "udp", 9000, server::ECHO),
    ]
}

impl Pods {
    /// Makes namespaces, bridge and servers, and waits until the servers answer. With `filtered`, bridged packets go
    /// through netfilter, as on a node.
    pub(crate) fn up(place: &Place, name: &str, filtered: bool) -> Result<Self> {
        let folder = place.folder().join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // Sidecars are a user of their own, and write there too.
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let mut pods =
            Self { name: Place::namespace(name), cgroup: Place::cgroup(name)?, folder, children: Vec::new() };
        pods.wire()?;
        pods.bridge_netfilter(filtered)?;
        let bodies = super::bodies(place)?;
        let config = place.write(&format!("{name}/nginx.conf"), server::nginx(&pods.folder, &bodies))?;
        pods.serve(Role::ServerApp, Command::new("nginx").args(["-e", "stderr", "-c"]).arg(config), "nginx")?;
        let echo = format!("{SERVER}:{}", server::ECHO);
        pods.serve(Role::ServerApp, Command::new(place.program()).args(["lab", "echo", &echo]), "echo")?;
        for port in [server::HTTP, server::HTTP2] {
            pods.listening(place, End::Server, port).context("nginx")?;
        }
        Ok(pods)
    }

    /// Starts a program in its role's cgroup, namespace and core; it writes to NAME.log in the arm's folder.
    pub(crate) fn serve(&mut self, role: Role, program: &Command, name: &str) -> Result<u32> {
        let path = self.folder.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let mut command = self.inside(role, program)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("{} could not be run", program.get_program().display()))?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    /// A command that runs a program in its role's cgroup, namespace and core, under the process id with which it is started.
    pub(crate) fn inside(&self, role: Role, program: &Command) -> Result<Command> {
        let cgroup = self.cgroup.child(role.cgroup())?;
        let core = match role.end() {
            End::Client => CLIENT_CORE,
            End::Server | End::Node => SERVER_CORE,
        };
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "$(ulimit -Hn)"; echo $$ > "$0" && exec "$@""#]).arg(cgroup.door());
        command.args(["nsenter", &format!("--net={}", self.netns(role.end()).display())]);
        command.args(["taskset", "-c", &core.to_string()]);
        command.arg(program.get_program()).args(program.get_args());
        // Ctrl-C at a terminal is for the lab, which ends the others in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    /// A namespace's file.
    pub(crate) fn netns(&self, end: End) -> PathBuf {
        Path::new("/run/netns").join(self.namespace(end))
    }

    /// A namespace's name.
    pub(crate) fn namespace(&self, end: End) -> String {
        let end = match end {
            End::Node => "n",
            End::Client => "c",
            End::Server => "s",
        };
        format!("{}-{end}", self.name)
    }

    /// A role's cgroup.
    pub(crate) fn cgroup(&self, role: Role) -> Result<Cgroup> {
        self.cgroup.child(role.cgroup())
    }

    /// The cgroup that holds all roles.
    pub(crate) fn all(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Where this arm's files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs words in a namespace, with something to read.
    pub(crate) fn run_in(&self, end: End, words: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns(end).display())).args(words);
        crate::place::command::feed(&mut command, input)
    }

    /// Waits until something listens on a TCP port of a namespace; fails at once if a program of the arm ended.
    pub(crate) fn listening(&mut self, place: &Place, end: End, port: u16) -> Result<()> {
        let namespace = self.namespace(end);
        place.wait(std::time::Duration::from_secs(20), || {
            self.alive()?;
            let filter = format!("sport = :{port}");
            let listed =
                run(Command::new("ip").args(["netns", "exec", &namespace, "ss", "-Hlnt"]).arg(filter))?;
            if listed.trim().is_empty() {
                bail!("nothing listens on port {port} in {namespace}")
            } else {
                Ok(())
            }
        })
    }

    /// Fails if a program of the arm has ended, with what it said last.
    pub(crate) fn alive(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("a program of {} ended with {status}: {}", self.name, last_words(&self.folder));
            }
        }
        Ok(())
    }

    fn wire(&self) -> Result<()> {
        let [node, client, server] = [End::Node, End::Client, End::Server].map(|it| self.namespace(it));
        ip(&format!("netns add {node}"))?;
        ip(&format!("-n {node} link add br0 type bridge"))?;
        ip(&format!("-n {node} address add {BRIDGE}/24 dev br0"))?;
        ip(&format!("-n {node} link set br0 up"))?;
        ip(&format!("-n {node} link set lo up"))?;
        self.sysctl("net/ipv4/ip_forward", "1")?;
        for (name, port, address) in [(client, "client0", CLIENT), (server, "server0", SERVER)] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {node} link add {port} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {node} link set {port} master br0 up"))?;
            ip(&format!("-n {name} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} route add default via {BRIDGE}"))?;
        }
        Ok(())
    }

    fn bridge_netfilter(&self, on: bool) -> Result<()> {
        let name = "net/bridge/bridge-nf-call-iptables";
        match (Path::new("/proc/sys").join(name).exists(), on) {
            (true, _) => self.sysctl(name, if on { "1" } else { "0" }),
            // Without the module there is nothing to turn off.
            (false, false) => Ok(()),
            (false, true) => bail!("br_netfilter is not loaded: modprobe br_netfilter"),
        }
    }

    /// Of the node's namespace alone.
    fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run_in(End::Node, &["tee", &format!("/proc/sys/{name}")], Some(value)).map(drop)
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        if let Err(error) = self.cgroup.clear() {
            eprintln!("cleaning up: {error:#}");
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
        for end in [End::Client, End::Server, End::Node] {
            let name = self.namespace(end);
            if Path::new("/run/netns").join(&name).exists()
                && let Err(error) = ip(&format!("netns delete {name}"))
            {
                eprintln!("cleaning up: {error:#}");
            }
        }
    }
}

/// The last lines of each log of an arm.
pub(crate) fn last_words(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path());
    let logs = entries.filter(|it| it.extension().is_some_and(|it| it == "log"));
    logs.filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let last: Vec<&str> = text.trim().lines().rev().take(3).collect();
        (!last.is_empty()).then(|| {
            let last: Vec<&str> = last.into_iter().rev().collect();
            format!("[{}] {}", path.file_name().unwrap_or_default().display(), last.join(" | "))
        })
    })
    .collect::<Vec<_>>()
    .join("; ")
}
