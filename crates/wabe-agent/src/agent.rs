//! The process: finds what is there, then reacts until the keeper is gone.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::AsFd,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use wabe_abi::{Connection, Tuple};
use wabe_datapath::{Kernel, LoadOptions};
use wabe_keeper::{
    client::{Client, ClientError},
    diag,
    layout::{self, LayoutError, Mesh, MeshFile},
    protocol::{EventKind, InstanceState},
};

use crate::{
    api,
    balance::outcomes::Watched,
    datagrams,
    figures::Ledger,
    flows::{self, FlowLog, SharedNames},
    metrics,
    reconcile::{Engine, Input, Parts, RecoverError, Running},
    snapshot::Node,
    state::{State, StateError},
    supervisor::{Handles, Job, Made, Supervisor, spawn_workers},
};

/// How long a keeper may be away, as it is when it replaces itself.
const KEEPER_ABSENCE: Duration = Duration::from_secs(10);
/// Pause between tries to reach it.
const KEEPER_RETRY: Duration = Duration::from_millis(100);
/// How long a scrape waits for it.
const KEEPER_PATIENCE: Duration = Duration::from_secs(1);
/// `TCP_ESTABLISHED` of `tcp_states.h`.
const ESTABLISHED: u8 = 1;
/// Where the host's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why the agent can't work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no such mesh.
    #[error("mesh `{0}` was not prepared: start it with `wabe up`")]
    NoMesh(String),
    /// The mesh's files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// There is an agent already.
    #[error(
        "mesh `{0}` has an agent that works: two would undo each other's changes. The keeper starts a new one when it \
         ends"
    )]
    Second(String),
    /// What an earlier agent wrote.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] wabe_datapath::Error),
    /// The first look.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The keeper.
    #[error(transparent)]
    Keeper(#[from] ClientError),
    /// The keeper ended, and with it the mesh.
    #[error("the keeper is gone")]
    KeeperGone,
    /// A system call.
    #[error("the agent can't {action}: {source}")]
    Io {
        /// What it was about to do.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs the agent of a mesh, in the node's network namespace, until the keeper is gone.
///
/// # Errors
/// What it needs is not there, or the keeper went away. What is in the kernel stays in force either way.
pub fn run(mesh: &Mesh) -> Result<(), AgentError> {
    let file = MeshFile::load(mesh)?.ok_or_else(|| AgentError::NoMesh(mesh.name().into()))?;
    let _only_one = lock(mesh)?;
    let options = LoadOptions {
        pin_dir: mesh.bpf_dir(),
        workloads_cgroup: file.workloads_cgroup(),
        vend_cgroup: Some(file.role_cgroup("vend")),
        uplink: Some(layout::UPLINK.into()),
    };
    let mut kernel = Kernel::load(&options)?;
    let events = kernel.events()?;
    let (inputs, received) = mpsc::channel();
    let (jobs, given) = mpsc::channel();
    let names = SharedNames::default();
    let watched = Watched::default();
    let scrapes = metrics_listener();
    let parts = Parts {
        mesh: mesh.name().into(),
        directory: mesh.run_dir(),
        names_file: mesh.names_file(),
        proxy_file: mesh.proxy_file(),
        node: node(&file, Path::new(RESOLV_CONF)),
        state: State::load(&mesh.run_dir())?,
        datapath: kernel,
        jobs,
        close: Box::new(close),
        follow: datagrams::follower(mesh)
            .map_err(|source| AgentError::Io { action: "move UDP sockets", source })?,
        names: Arc::clone(&names),
        metrics: scrapes.as_ref().and_then(|it| it.local_addr().ok()),
        watched: Arc::clone(&watched),
    };
    let mut engine = Engine::new(parts, Instant::now());

    // Nothing may change at the keeper between its list and its first event, so the list comes from the subscription.
    let mut news = Client::connect(mesh)?.subscribe()?;
    let Some(first) = news.next() else { return Err(AgentError::KeeperGone) };
    let EventKind::State(list) = first?.kind else { return Err(ClientError::Misunderstood.into()) };
    engine.recover(find_all(mesh, list)?)?;

    let log = Arc::new(FlowLog::default());
    let failed = |action| move |source| AgentError::Io { action, source };
    let told = inputs.clone();
    let tell = move |outcome| drop(told.send(Input::Outcome(outcome)));
    flows::watch(events, Arc::clone(&log), names, watched, tell)
        .map_err(failed("read reports of connections"))?;
    let first_news = news.map(|event| event.map(|event| event.kind));
    listen(mesh, first_news, inputs.clone()).map_err(failed("listen to the keeper"))?;
    spawn_workers(
        || Ok(Keeper { client: Client::connect(mesh).map_err(|error| error.to_string())? }),
        given,
        &inputs,
    )
    .map_err(|message| failed("carry jobs to the keeper")(io::Error::other(message)))?;
    metrics::serve(&mesh.metrics_socket(), scrapes, &inputs, &log, processes(mesh), Ledger::of(mesh))
        .map_err(failed("serve metrics"))?;
    api::serve(&mesh.agent_socket(), inputs, log).map_err(failed("listen on its socket"))?;
    tracing::info!(mesh = mesh.name(), "the agent answers");
    engine.run(&received);
    Err(AgentError::KeeperGone)
}

/// Where the keeper listens for scrapes, in the host's network namespace: stdin. None if somebody else started the agent.
fn metrics_listener() -> Option<TcpListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    listener.local_addr().is_ok().then_some(listener)
}

/// Asks the keeper, each time anew: it may be another program by then.
fn processes(mesh: &Mesh) -> metrics::Processes {
    let mesh = mesh.clone();
    Arc::new(move || {
        let ask = |mut keeper: Client| {
            keeper.set_patience(Some(KEEPER_PATIENCE))?;
            keeper.hello()
        };
        let state = Client::connect(&mesh).and_then(ask);
        state.map(|it| it.children).unwrap_or_default()
    })
}

/// Held as long as the agent lives; the kernel lets go of it whatever happens.
fn lock(mesh: &Mesh) -> Result<File, AgentError> {
    let failed = |source| AgentError::Io { action: "open its lock", source };
    let file = File::create(mesh.run_dir().join("agent.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AgentError::Second(mesh.name().into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn node(file: &MeshFile, resolv_conf: &Path) -> Node {
    Node {
        v4: file.node_v4,
        v6: file.node_v6,
        host_v4: file.host_v4,
        host_v6: file.host_v6,
        ranges: file.ranges,
        trust_domain: file.trust_domain.clone(),
        root_namespace: file.root_namespace.clone(),
        resolvers: fs::read_to_string(resolv_conf).map(|text| resolvers(&text)).unwrap_or_default(),
        workload_level: file.workload_level,
    }
}

/// The name servers of a `resolv.conf`.
fn resolvers(text: &str) -> Vec<IpAddr> {
    let mut words = text.lines().map(str::split_whitespace);
    let servers =
        words.by_ref().filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next())?);
    servers.filter_map(|server| server.split('%').next()?.parse().ok()).collect()
}

fn find_all(mesh: &Mesh, list: Vec<InstanceState>) -> Result<Vec<Running>, ClientError> {
    let mut client = Client::connect(mesh)?;
    let find = |state: InstanceState| {
        let found = client.find(state.spec.id).ok();
        Running {
            state,
            handles: found.map(|it| Handles { netns: it.netns, diag: it.diag, proxy: it.proxy }),
        }
    };
    Ok(list.into_iter().map(find).collect())
}

/// Passes on what the keeper reports, also when it or the connection comes back.
fn listen(
    mesh: &Mesh,
    mut news: impl Iterator<Item = Result<EventKind, ClientError>> + Send + 'static,
    inputs: Sender<Input>,
) -> io::Result<()> {
    let mesh = mesh.clone();
    let work = move || {
        if pass_on(&mut news, &inputs).is_err() {
            return;
        }
        let mut lost = Instant::now();
        while lost.elapsed() < KEEPER_ABSENCE {
            if let Ok(news) = Client::connect(&mesh).and_then(Client::subscribe) {
                if pass_on(&mut news.map(|event| event.map(|event| event.kind)), &inputs).is_err() {
                    return;
                }
                lost = Instant::now();
            }
            thread::sleep(KEEPER_RETRY);
        }
        let _ = inputs.send(Input::KeeperGone);
    };
    thread::Builder::new().name("keeper-news".into()).spawn(work).map(drop)
}

/// An error means that nobody is left to hear it.
fn pass_on(
    news: &mut impl Iterator<Item = Result<EventKind, ClientError>>,
    inputs: &Sender<Input>,
) -> Result<(), mpsc::SendError<Input>> {
    news.map_while(Result::ok).try_for_each(|event| inputs.send(Input::Keeper(event)))
}

/// By the socket's cookie, so that a later connection between the same ports is spared.
fn close(handles: &Handles, connections: &[(Tuple, Connection)]) -> io::Result<()> {
    let end = |address, port: wabe_abi::Be16| SocketAddr::new(IpAddr::from(address), port.host());
    connections.iter().try_for_each(|(tuple, connection)| {
        let accepted = diag::Connection {
            local: end(tuple.destination, tuple.destination_port),
            remote: end(tuple.source, tuple.source_port),
            state: ESTABLISHED,
            cookie: connection.cookie,
        };
        diag::destroy_this(handles.diag.as_fd(), &accepted).map(drop)
    })
}

struct Keeper {
    client: Client,
}

impl Supervisor for Keeper {
    fn perform(&mut self, job: &Job) -> Result<Option<Made>, String> {
        let result = match job {
            Job::Create(spec) => self.client.create((**spec).clone()).map(|it| {
                Some(Made {
                    cgroup: it.created.cgroup_id,
                    node_ifindex: it.created.node_ifindex,
                    handles: Handles { netns: it.netns, diag: it.diag, proxy: it.proxy },
                })
            }),
            Job::Find(id) => self.client.find(*id).map(|_| None),
            Job::Start(id) => self.client.start(*id).map(|()| None),
            Job::Stop(id, grace) => self.client.stop(*id, Some(*grace)).map(|()| None),
            Job::Remove(id) => self.client.remove(*id).map(|()| None),
        };
        result.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_found() {
        let text =
            "# comment\nsearch a b\nnameserver 10.0.0.2\n  nameserver\tfe80::1%eth0\nnameserver nonsense\n";
        let expected: [IpAddr; 2] = ["10.0.0.2".parse().expect("v4"), "fe80::1".parse().expect("v6")];
        assert_eq!(resolvers(text), expected);
    }
}
