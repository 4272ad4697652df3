//! `wabe keeper`: makes what the mesh needs, then hands over to the supervisor.

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::process::{getpid, set_child_subreaper};
use signal_hook::{
    consts::{SIGCHLD, SIGINT, SIGTERM},
    iterator::Signals,
};
use thiserror::Error;

use crate::{
    cgroup::Cgroup,
    confine::{self, Launcher},
    layout::{self, LayoutError, Mesh, MeshFile},
    net::{Address, Left, NamesSockets, NetError, NodeNetwork},
    protocol::{ChildState, Response},
    server,
    succession::{self, LeftInstance, Legacy},
    supervise::{Answer, Message, Reply, Role, Supervisor},
    sweep::{self, SweepError},
    vend::Vendor,
};

/// How long clients get to read the last answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The program lines that the keeper starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Leads to [`crate::confine::run`].
    pub confine: Vec<OsString>,
    /// The agent; none in tests that are about something else.
    pub agent: Option<Vec<String>>,
    /// dns. Its stdin is the UDP socket, its stdout the TCP listener.
    pub dns: Option<Vec<String>>,
    /// The proxy. Its stdin is its link to the keeper.
    pub proxy: Option<Vec<String>>,
}

impl Programs {
    /// This very program, as `wabe`, even if its file was replaced since.
    pub fn wabe(mesh: &Mesh) -> Self {
        let wabe = "/proc/self/exe";
        let names = mesh.names_file().to_string_lossy().into_owned();
        let snapshot = mesh.proxy_file().to_string_lossy().into_owned();
        Self {
            confine: [wabe, "confine"].map(Into::into).into(),
            agent: Some([wabe, "--name", mesh.name(), "agent"].map(Into::into).into()),
            dns: Some([wabe, "dns", "--names", &names].map(Into::into).into()),
            proxy: Some([wabe, "proxy", "--snapshot", &snapshot].map(Into::into).into()),
        }
    }
}

/// Why the keeper can't work.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// No such mesh.
    #[error("mesh `{0}` was not prepared: start it with `wabe up`, which starts the keeper")]
    NoMesh(String),
    /// It runs.
    #[error("mesh `{0}` runs already: stop it with `wabe down`, or choose another name with --name")]
    Running(String),
    /// Its files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What was to be removed at the end.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A system call.
    #[error("the keeper can't {action}: {source}")]
    Io {
        /// What it was about to do.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs the keeper of a mesh whose `mesh.json` exists, until it is told to end by SIGTERM, SIGINT or a client; then
/// nothing of the mesh is left, its logs neither. `ready` is called once it answers clients.
///
/// Blocks; to be called by the process's only thread, because it moves the process to another cgroup.
///
/// # Errors
/// What it needs could not be made. What was made until then is for [`crate::sweep`].
pub fn run_keeper(mesh: Mesh, programs: Programs, ready: impl FnOnce()) -> Result<(), KeeperError> {
    let file = MeshFile::load(&mesh)?.ok_or_else(|| KeeperError::NoMesh(mesh.name().into()))?;
    let socket = mesh.keeper_socket();
    let listener = server::bind(&socket).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            KeeperError::Running(mesh.name().into())
        } else {
            failed("listen on its socket")(error)
        }
    })?;
    set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt orphans")(error.into()))?;
    make_cgroups(&file).map_err(failed("make its cgroups"))?;
    layout::mount_bpffs(&mesh)?;
    make_folder(&mesh.logs_dir(), 0o700).map_err(failed("make the folder of logs"))?;
    make_folder(&mesh.names_dir(), 0o755).map_err(failed("make the folder of names"))?;
    make_folder(&mesh.proxy_dir(), 0o755).map_err(failed("make the folder of the proxy"))?;
    make_folder(&mesh.figures_dir(), 0o700).map_err(failed("make the folder of the proxy's figures"))?;
    let network = NodeNetwork::create(&file)?;
    let messages = channel();
    let vendor = Arc::new(Vendor::new(network.outlets(), mesh.figures_dir(), messages.0.clone()));
    let roles = roles(&mesh, &file, &network, &vendor, &programs, Vec::new())?;
    supervise(mesh, file, (network, vendor, messages), programs, roles, listener, |_| Ok(()), ready)
}

/// Goes on for an earlier program of this process, whose legacy is at stdin: another version, say. Agent and dns are
/// then started anew, as this version's; the proxy goes on until it is relieved.
///
/// Blocks; to be called by the process's only thread, in the host's namespaces.
///
/// # Errors
/// What was left can't be taken over.
pub fn resume_keeper(mesh: Mesh, programs: Programs) -> Result<(), KeeperError> {
    let file = MeshFile::load(&mesh)?.ok_or_else(|| KeeperError::NoMesh(mesh.name().into()))?;
    let Legacy { since_ms, listener, node, roles: left, mut instances } =
        succession::inherit().map_err(failed("take over from an earlier program"))?;
    make_cgroups(&file).map_err(failed("make its cgroups"))?;
    make_folder(&mesh.proxy_dir(), 0o755).map_err(failed("make the folder of the proxy"))?;
    make_folder(&mesh.figures_dir(), 0o700).map_err(failed("make the folder of the proxy's figures"))?;
    let mut places = Vec::new();
    for LeftInstance { state, descriptors: [netns, ..], proxy } in &mut instances {
        let spec = &state.spec;
        let address =
            Address { id: spec.id, v4: spec.v4, v6: spec.v6, egress: spec.egress_masquerade.into() };
        let netns = netns.try_clone().map_err(failed("keep a network namespace"))?;
        places.push(Left { address, netns, proxy: proxy.take() });
    }
    let network = NodeNetwork::resume(&file, node, places)?;
    let messages = channel();
    let vendor = Arc::new(Vendor::new(network.outlets(), mesh.figures_dir(), messages.0.clone()));
    let roles = roles(&mesh, &file, &network, &vendor, &programs, left)?;
    let inherit = |supervisor: &mut Supervisor| {
        supervisor.take_over(since_ms, instances)?;
        supervisor.renew_roles();
        Ok(())
    };
    supervise(mesh, file, (network, vendor, messages), programs, roles, listener.into(), inherit, || {})
}

/// Works until the end, and tidies up.
#[expect(
    clippy::too_many_arguments,
    reason = "both beginnings end here; a struct would be taken apart at once"
)]
fn supervise(
    mesh: Mesh,
    file: MeshFile,
    (network, vendor, messages): (NodeNetwork, Arc<Vendor>, (Sender<Message>, Receiver<Message>)),
    programs: Programs,
    roles: Vec<Role>,
    listener: UnixListener,
    prepare: impl FnOnce(&mut Supervisor) -> io::Result<()>,
    ready: impl FnOnce(),
) -> Result<(), KeeperError> {
    hear_signals(messages.0.clone()).map_err(failed("listen for signals"))?;
    let launcher = Launcher { shim: programs.confine };
    let (outbox, cgroup) = (messages.0.clone(), file.cgroup.clone());
    let kept = listener.try_clone().map_err(failed("keep its socket"))?;
    let mut supervisor =
        Supervisor::new(mesh.clone(), file, network, vendor, launcher, kept.into(), messages);
    for role in roles {
        supervisor.keep(role);
    }
    prepare(&mut supervisor).map_err(failed("take over what runs"))?;
    server::serve(listener, outbox).map_err(failed("start a thread"))?;
    ready();
    let (network, waiting) = supervisor.run();

    // The network's end takes the mesh's interface and table off the host.
    drop(network);
    let result = leave(&cgroup).and_then(|()| Ok(sweep::sweep(&mesh).map(drop)?));
    say_farewell(waiting, &result);
    result
}

/// SIGCHLD says that a child ended; SIGTERM and SIGINT that the keeper is to end.
fn hear_signals(outbox: Sender<Message>) -> io::Result<()> {
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let message = if signal == SIGCHLD { Message::ChildEnded } else { Message::Terminate };
            if outbox.send(message).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The mesh's cgroups, with this process in the one whose programs judge what the proxy does with sockets made here.
fn make_cgroups(file: &MeshFile) -> io::Result<()> {
    Cgroup::create(file.role_cgroup("vend"))?.join()?;
    for other in ["agent", "dns", "proxy"] {
        Cgroup::create(file.role_cgroup(other))?;
    }
    Cgroup::create(file.workloads_cgroup()).map(drop)
}

fn roles(
    mesh: &Mesh,
    file: &MeshFile,
    network: &NodeNetwork,
    vendor: &Arc<Vendor>,
    programs: &Programs,
    mut left: Vec<(ChildState, Vec<OwnedFd>)>,
) -> Result<Vec<Role>, KeeperError> {
    let logs = mesh.logs_dir();
    let mut roles = Vec::new();
    let mut left_of = |name: &str| {
        let place = left.iter().position(|(state, _)| state.name == name)?;
        Some(left.swap_remove(place))
    };
    if let Some(dns) = &programs.dns {
        let (state, log, sockets) = match left_of("dns")
            .map(|(state, it)| (state, <[OwnedFd; 4]>::try_from(it)))
        {
            Some((state, Ok([input, output, udp, tcp]))) => (Some(state), Some((input, output)), (udp, tcp)),
            Some((_, Err(_))) | None => {
                let NamesSockets { udp, tcp } = network.names_sockets()?;
                (None, None, (OwnedFd::from(udp), OwnedFd::from(tcp)))
            }
        };
        let cgroup = file.role_cgroup("dns");
        let mut role = Role::dns(dns.clone(), cgroup, &logs, mesh.names_dir(), sockets, log)
            .map_err(failed("prepare dns"))?;
        state.iter().for_each(|state| role.adopt(state));
        roles.push(role);
    }
    if let Some(proxy) = &programs.proxy {
        let (state, log, links) = match left_of("proxy") {
            Some((state, mut descriptors)) if descriptors.len() >= 2 => {
                let links = descriptors.split_off(2);
                let log = <[OwnedFd; 2]>::try_from(descriptors).ok().map(|[input, output]| (input, output));
                (Some(state), log, links)
            }
            Some(_) | None => (None, None, Vec::new()),
        };
        let (user, cgroup) = (confine::of_role(mesh.name(), "proxy"), file.role_cgroup("proxy"));
        let (command, vendor) = (proxy.clone(), Arc::clone(vendor));
        let mut role = Role::proxy(user, command, cgroup, &logs, mesh.proxy_dir(), vendor, log)
            .map_err(failed("prepare the proxy"))?;
        if let Some(state) = &state {
            role.adopt_proxies(state, links).map_err(failed("go on with the proxy"))?;
        }
        roles.push(role);
    }
    if let Some(agent) = &programs.agent {
        let netns = network.netns().try_clone_to_owned().map_err(failed("prepare the agent"))?;
        let (state, log, listener) = match left_of("agent")
            .map(|(state, it)| (state, <[OwnedFd; 3]>::try_from(it)))
        {
            Some((state, Ok([input, output, listener]))) => (Some(state), Some((input, output)), listener),
            Some((_, Err(_))) | None => {
                let listener =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen for scrapes"))?;
                (None, None, listener.into())
            }
        };
        let mut role = Role::agent(agent.clone(), file.role_cgroup("agent"), &logs, netns, listener, log)
            .map_err(failed("prepare the agent"))?;
        state.iter().for_each(|state| role.adopt(state));
        roles.push(role);
    }
    Ok(roles)
}

/// Moves this process out of the mesh's cgroup, which can't be removed with a process in it.
fn leave(cgroup: &Path) -> Result<(), KeeperError> {
    let parent = cgroup.parent().expect("invariant: the mesh's cgroup is below a mount point");
    Cgroup::at(parent).join().map_err(failed("leave its cgroup"))
}

fn say_farewell(waiting: Vec<Answer>, result: &Result<(), KeeperError>) {
    let response = match result {
        Ok(()) => Response::Done,
        Err(error) => Response::Error { message: error.to_string() },
    };
    let (unread, read) = channel();
    for answer in waiting {
        // One that has gone wants no answer.
        let _ = answer.send(Reply::Last(response.clone(), unread.clone()));
    }
    drop(unread);
    // Ends when all of them wrote, and thus dropped, theirs.
    let _ = read.recv_timeout(FAREWELL);
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn failed(action: &str) -> impl Fn(io::Error) -> KeeperError {
    move |source| KeeperError::Io { action: action.into(), source }
}
