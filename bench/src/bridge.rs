//! Network namespaces on a bridge in another: what the mesh is compared with.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{ip, run},
    place::{PREFIX, Place},
    server,
};

/// How the bridge's node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Frames go from port to port.
    Bare,
    /// As nodes have it: bridged packets go through netfilter with connection tracking, a MASQUERADE rule and this many
    /// rules in FORWARD that none of our packets matches.
    Filtered(usize),
}

/// A bridge with nginx behind it, once or several times; dropped, it goes.
#[derive(Debug)]
pub(crate) struct Bridge {
    name: String,
    /// How many namespaces have a server.
    places: u8,
    servers: Vec<Child>,
}

impl Bridge {
    /// Where nginx answers.
    pub(crate) const HTTP: &str = "192.0.2.2:8080";
    /// Where datagrams are echoed.
    pub(crate) const ECHO: &str = "192.0.2.2:9000";

    /// Makes one with one server. `name` tells it from others; `core` is the servers'.
    pub(crate) fn new(place: &Place, name: &str, node: Node, core: usize) -> Result<Self> {
        Self::with(1, place, name, node, core)
    }

    /// Makes one with so many servers, each in a namespace of its own.
    pub(crate) fn with(places: u8, place: &Place, name: &str, node: Node, core: usize) -> Result<Self> {
        let mut bridge = Self { name: format!("{PREFIX}{name}"), places, servers: Vec::new() };
        bridge.wire()?;
        match node {
            Node::Bare => bridge.sysctl("net/bridge/bridge-nf-call-iptables", "0")?,
            Node::Filtered(rules) => bridge.filter(rules)?,
        }
        for server in 0..places {
            let name = format!("{name}{server}");
            let text = server::nginx(core, place.folder(), &name);
            let config = place.write(&format!("{name}.conf"), &text)?;
            bridge.serve(place, server, Command::new("nginx").arg("-c").arg(config))?;
        }
        let echo = ["echo", Self::ECHO, &core.to_string()].map(str::to_owned);
        bridge.serve(place, 0, Command::new(place.program()).args(echo))?;
        bridge.wait(place)?;
        Ok(bridge)
    }

    /// Where its nginx answer, separated by commas.
    pub(crate) fn all_http(&self) -> String {
        (0..self.places).map(http).collect::<Vec<_>>().join(",")
    }

    /// A command that runs `program` in the client's namespace.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-c", self.name)]).arg(program);
        command
    }

    fn wire(&self) -> Result<()> {
        let name = &self.name;
        ip(&format!("netns add {name}-n"))?;
        ip(&format!("-n {name}-n link add br0 type bridge"))?;
        ip(&format!("-n {name}-n link set br0 up"))?;
        for (number, end) in self.ends().into_iter().enumerate() {
            let address = format!("192.0.2.{}/24", number + 1);
            ip(&format!("netns add {name}-{end}"))?;
            ip(&format!("-n {name}-n link add {end}0 type veth peer name eth0 netns {name}-{end}"))?;
            ip(&format!("-n {name}-n link set {end}0 master br0 up"))?;
            ip(&format!("-n {name}-{end} address add {address} dev eth0"))?;
            ip(&format!("-n {name}-{end} link set eth0 up"))?;
            ip(&format!("-n {name}-{end} link set lo up"))?;
        }
        Ok(())
    }

    /// What the namespaces on the bridge are called: the client's, then the servers'.
    fn ends(&self) -> Vec<String> {
        std::iter::once("c".to_owned()).chain((0..self.places).map(|it| format!("s{it}"))).collect()
    }

    fn in_node(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-n", self.name)]).args(words);
        command
    }

    /// Of the node's namespace alone.
    fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        if !Path::new("/proc/sys").join(name).exists() {
            // Without the module there is nothing to turn off.
            return if value == "0" {
                Ok(())
            } else {
                bail!("br_netfilter is not loaded: modprobe br_netfilter")
            };
        }
        run(&mut self.in_node(&["sh", "-c", &format!("echo {value} > /proc/sys/{name}")])).map(drop)
    }

    fn filter(&self, rules: usize) -> Result<()> {
        self.sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
        let mut text = String::from(
            "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n",
        );
        for rule in 0..rules {
            let (high, low) = (rule / 256, rule % 256);
            text += &format!("-A FORWARD -s 198.18.{high}.{low}/32 -p tcp --dport 80 -j DROP\n");
        }
        text += "COMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n\
                 -A POSTROUTING -s 192.0.2.0/24 ! -d 192.0.2.0/24 -j MASQUERADE\nCOMMIT\n";
        let mut child = self
            .in_node(&["iptables-legacy-restore"])
            .stdin(Stdio::piped())
            .spawn()
            .context("iptables-legacy-restore is missing: apt-get install iptables")?;
        child.stdin.take().context("invariant: stdin is a pipe")?.write_all(text.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("iptables-legacy-restore with {rules} rules ended with {status}");
        }
        Ok(())
    }

    fn serve(&mut self, place: &Place, server: u8, command: &mut Command) -> Result<()> {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &format!("{}-s{server}", self.name)]).arg(command.get_program());
        inside.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = inside.spawn().with_context(|| format!("{inside:?} could not be run"))?;
        let pid = child.id();
        self.servers.push(child);
        place.record(pid)
    }

    fn wait(&self, place: &Place) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            place.check()?;
            let mut probes =
                (0..self.places).map(|it| run(self.client(&place.program()).args(["probe", &http(it)])));
            match probes.try_for_each(|it| it.map(drop)) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("nginx behind the bridge");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for child in &mut self.servers {
            // nginx ends its worker only if asked; a worker without master would stay.
            crate::place::kill(child.id(), rustix::process::Signal::TERM);
            let _ = child.wait();
        }
        for end in self.ends().into_iter().chain(["n".to_owned()]) {
            if let Err(error) = ip(&format!("netns delete {}-{end}", self.name)) {
                eprintln!("cleaning up: {error:#}");
            }
        }
    }
}

/// Where a server's nginx answers.
fn http(server: u8) -> String {
    format!("192.0.2.{}:8080", 2 + server)
}

/// Whether something accepts connections at `to`.
pub(crate) fn probe(to: SocketAddr) -> Result<()> {
    std::net::TcpStream::connect_timeout(&to, Duration::from_millis(500)).map(drop).map_err(Into::into)
}
