//! Starting an empty mesh: ranges, `mesh.json`, keeper, and waiting until the agent answers.

use std::{
    fs,
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use wabe_keeper::{
    client::Client,
    layout::{Mesh, MeshFile},
    ranges::{self, RangeError, Wanted},
};
use wabe_model::MeshConfig;

use crate::{failure::Failure, logs::last_lines};

/// How long the agent may take to load its programs and to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(20);
/// An agent that ended this often will not make it.
const ATTEMPTS: u32 = 3;
/// Lines of a log that a failure quotes.
const QUOTED: usize = 8;

/// Starts an empty mesh; returns when its agent answers.
pub(super) fn mesh(mesh: &Mesh, config: &MeshConfig) -> Result<(), Failure> {
    let others: Vec<MeshFile> =
        Mesh::all().map_err(Failure::environment)?.iter().filter_map(|it| MeshFile::load(it).ok()?).collect();
    let wanted = Wanted {
        workloads_v4: config.workload_range_v4,
        services_v4: config.service_range_v4,
        workloads_v6: config.workload_range_v6,
        services_v6: config.service_range_v6,
    };
    let ranges = ranges::find(&others, &wanted).map_err(|error| match error {
        RangeError::Taken { .. } | RangeError::TooSmall { .. } | RangeError::NoneFree { .. } => {
            Failure::refused(error)
        }
        RangeError::Host(_) => Failure::environment(error),
    })?;
    MeshFile::new(mesh, ranges, &config.trust_domain, &config.root_namespace)
        .and_then(|file| file.store())
        .map_err(Failure::environment)?;
    let mut keeper = spawn_keeper(mesh)?;
    wait_for_agent(mesh, &mut keeper)
}

fn spawn_keeper(mesh: &Mesh) -> Result<Child, Failure> {
    let log = fs::File::create(keeper_log(mesh))?;
    let program = std::env::current_exe()?;
    Command::new(&program)
        .args(["--name", mesh.name(), "keeper"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Out of reach of this terminal's Ctrl-C at once; the keeper then makes a session of its own.
        .process_group(0)
        .spawn()
        // A file that was replaced meanwhile is found under no name.
        .map_err(|error| {
            Failure::environment(format!("the keeper can't be started from {}: {error}", program.display()))
        })
}

fn wait_for_agent(mesh: &Mesh, keeper: &mut Child) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if UnixStream::connect(mesh.agent_socket()).is_ok() {
            return Ok(());
        }
        if let Some(status) = keeper.try_wait()? {
            return Err(failed(format!("the keeper ended ({status})"), &keeper_log(mesh)));
        }
        let agent_log = mesh.logs_dir().join("agent.log");
        if let Some(why) = agent_gave_up(mesh) {
            return Err(failed(why, &agent_log));
        }
        if Instant::now() >= deadline {
            return Err(failed("the agent does not answer".into(), &agent_log));
        }
        thread::sleep(LOOK);
    }
}

/// Whether the agent keeps ending.
fn agent_gave_up(mesh: &Mesh) -> Option<String> {
    let state = Client::connect(mesh).and_then(|mut keeper| keeper.hello()).ok()?;
    let agent =
        state.children.into_iter().find(|child| child.name == "agent" && child.restarts >= ATTEMPTS)?;
    Some(match (agent.problem, agent.last_exit) {
        (Some(problem), _) => format!("the agent can't be started: {problem}"),
        (None, Some(status)) => format!("the agent keeps ending ({status})"),
        (None, None) => "the agent keeps ending".into(),
    })
}

fn keeper_log(mesh: &Mesh) -> PathBuf {
    mesh.run_dir().join("keeper.log")
}

fn failed(what: String, log: &Path) -> Failure {
    let lines = last_lines(log, QUOTED);
    let quoted: String = lines.iter().map(|line| format!("\n    | {line}")).collect();
    Failure::environment(format!("the mesh could not be started: {what}{quoted}"))
}
