//! The keeper as the agent sees it: jobs go there, and what became of them comes back. A few threads carry them, so
//! that making a namespace never delays a change of policy.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender},
    },
    thread,
    time::Duration,
};

use wabe_keeper::protocol::InstanceSpec;

use crate::reconcile::Input;

/// Jobs under way at once.
const WORKERS: usize = 4;

/// Something for the keeper to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Makes an instance's namespaces.
    Create(Box<InstanceSpec>),
    /// Asks whether it is there: an error says no.
    Find(u32),
    /// Starts its process.
    Start(u32),
    /// Ends its process.
    Stop(u32, Duration),
    /// Takes its namespaces away.
    Remove(u32),
}

impl Job {
    /// The instance.
    pub fn id(&self) -> u32 {
        match self {
            Self::Create(spec) => spec.id,
            Self::Find(id) | Self::Start(id) | Self::Stop(id, _) | Self::Remove(id) => *id,
        }
    }
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// The job.
    pub job: Job,
    /// What it brought, or why it failed.
    pub result: Result<Option<Made>, String>,
}

/// An instance's namespaces.
#[derive(Debug)]
pub struct Made {
    /// The id of its cgroup.
    pub cgroup: u64,
    /// Its interface in the node's network namespace.
    pub node_ifindex: u32,
    /// Its handles.
    pub handles: Handles,
}

/// What gives access to an instance's network namespace.
#[derive(Debug)]
pub struct Handles {
    /// The namespace.
    pub netns: OwnedFd,
    /// A `sock_diag` socket inside it.
    pub diag: OwnedFd,
    /// The proxy's listener inside it; an earlier keeper made none.
    pub proxy: Option<OwnedFd>,
}

/// A connection to the keeper.
pub trait Supervisor: Send + 'static {
    /// Does a job; the message of an error is for people.
    fn perform(&mut self, job: &Job) -> Result<Option<Made>, String>;
}

/// Starts the threads that carry jobs. They end when `jobs` or `inputs` is gone.
pub fn spawn_workers<S: Supervisor>(
    connect: impl Fn() -> Result<S, String>,
    jobs: Receiver<Job>,
    inputs: &Sender<Input>,
) -> Result<(), String> {
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..WORKERS {
        let (mut supervisor, jobs, inputs) = (connect()?, Arc::clone(&jobs), inputs.clone());
        let work = move || {
            loop {
                // The lock is held while waiting: one worker waits for the next job, the others for their turn.
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                let result = supervisor.perform(&job);
                if inputs.send(Input::Done(Done { job, result })).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("keeper-jobs".into()).spawn(work).map_err(|error| error.to_string())?;
    }
    Ok(())
}
