//! The engine with a kernel and a keeper in memory, and time that the test makes.

use std::{
    fs::File,
    net::IpAddr,
    sync::{Mutex, mpsc},
};

use wabe_abi::{Be16, Connection, EndpointLoad, Exchange, Ip, TCP};
use wabe_datapath::Sizes;
use wabe_keeper::protocol::ExitStatus;
use wabe_model::{Kind, Object, ObjectKey, ObjectName, TargetPort, Workload};

use super::*;
use crate::{
    api::{Changed, NotReady, Simulate},
    state::Phase,
    supervisor::Made,
    testing::{FakeKernel, node, only, place, service, workload},
};

/// A caller, and the receivers that its sockets had lost.
type Followed = (u32, Vec<u32>);

struct Bench {
    engine: Engine<FakeKernel>,
    kernel: FakeKernel,
    jobs: Receiver<Job>,
    closed: Arc<Mutex<Vec<Tuple>>>,
    /// Whose sockets were seen to.
    followed: Arc<Mutex<Vec<Followed>>>,
    now: Instant,
    directory: tempfile::TempDir,
}

fn handles() -> Handles {
    let open = || File::open("/dev/null").expect("/dev/null").into();
    Handles { netns: open(), diag: open(), proxy: None }
}

impl Bench {
    fn new() -> Self {
        Self::over(FakeKernel::default(), tempfile::tempdir().expect("a folder"))
    }

    /// A new agent over what another one left.
    fn over(kernel: FakeKernel, directory: tempfile::TempDir) -> Self {
        let (jobs, given) = mpsc::channel();
        let closed = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&closed);
        let followed = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&followed);
        let now = Instant::now();
        let parts = Parts {
            mesh: "test".into(),
            directory: directory.path().to_owned(),
            names_file: directory.path().join("names.json"),
            proxy_file: directory.path().join("proxy.json"),
            node: node(),
            state: State::load(directory.path()).expect("a state"),
            datapath: kernel.clone(),
            jobs,
            close: Box::new(move |_, connections| {
                record.lock().expect("whole").extend(connections.iter().map(|(tuple, _)| *tuple));
                Ok(())
            }),
            follow: Box::new(move |workload, _, exchanges| {
                let lost = exchanges.iter().map(|(_, exchange)| exchange.destination_workload).collect();
                seen.lock().expect("whole").push((workload, lost));
                Ok(())
            }),
            names: SharedNames::default(),
            metrics: None,
            watched: Watched::default(),
        };
        Self { engine: Engine::new(parts, now), kernel, jobs: given, closed, followed, now, directory }
    }

    fn react(&mut self, inputs: Vec<Input>) {
        self.engine.react(inputs, self.now);
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.react(Vec::new());
    }

    fn ask(&mut self, request: Request) -> Receiver<Reply> {
        let (sender, replies) = mpsc::channel();
        self.react(vec![Input::Request(request, sender)]);
        replies
    }

    fn apply(&mut self, objects: Vec<Object>) -> Result<Changed, String> {
        let reply = self.ask(Request::Apply { objects }).recv().expect("a reply");
        if let Reply::Refused { message } = reply {
            return Err(message);
        }
        let Reply::Changed(changed) = reply else { panic!("{reply:?}") };
        Ok(changed)
    }

    /// Does what the keeper would do with the jobs that were given; returns them.
    fn keep(&mut self) -> Vec<Job> {
        let mut all = Vec::new();
        loop {
            let jobs: Vec<Job> = self.jobs.try_iter().collect();
            if jobs.is_empty() {
                return all;
            }
            let mut inputs = Vec::new();
            for job in &jobs {
                let id = job.id();
                let made = place(id);
                if let Job::Find(_) = job {
                    inputs
                        .push(Input::Done(Done { job: job.clone(), result: Err("no such workload".into()) }));
                    continue;
                }
                let result = match job {
                    Job::Create(_) => Some(Made {
                        cgroup: made.cgroup,
                        node_ifindex: made.node_ifindex,
                        handles: handles(),
                    }),
                    Job::Start(_) => {
                        inputs.push(Input::Keeper(EventKind::Started { id, pid: 1000 + id }));
                        assert!(self.kernel.look().guarded.contains(&id), "started before it is guarded");
                        None
                    }
                    Job::Stop(..) => {
                        inputs.push(Input::Keeper(EventKind::Stopped { id }));
                        None
                    }
                    Job::Remove(_) | Job::Find(_) => None,
                };
                inputs.insert(0, Input::Done(Done { job: job.clone(), result: Ok(result) }));
            }
            all.extend(jobs);
            self.react(inputs);
        }
    }

    fn ready(&mut self, id: u32) {
        self.react(vec![Input::Keeper(EventKind::Ready { id })]);
    }

    /// The workloads behind service `shop/web`.
    fn endpoints(&self) -> Vec<u32> {
        let memory = self.kernel.look();
        let is_port = |(key, record): &(&wabe_abi::ServiceKey, &wabe_abi::ServiceRecord)| {
            key.protocol == TCP && key.address.is_v4() && record.service < 1 << 24
        };
        let (_, record) = memory.mirror.services.iter().find(is_port).expect("the service");
        let set = record.endpoint_set;
        (0..record.endpoints)
            .map(|index| wabe_abi::EndpointKey { set, index })
            .map(|key| memory.mirror.endpoints.get(&key).expect("a place").workload)
            .collect()
    }
}

fn web() -> Vec<Object> {
    vec![
        Object::Workload(workload("shop", "web")),
        Object::Service(service("shop", "web", 80, TargetPort::Number(8080))),
    ]
}

fn serving() -> Bench {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    bench.keep();
    bench.ready(1);
    assert_eq!(bench.endpoints(), [1]);
    bench
}

#[test]
fn a_workload_is_made_then_guarded_then_started_then_an_endpoint() {
    let mut bench = Bench::new();
    let changed = bench.apply(web()).expect("applied");
    assert_eq!((changed.created.len(), changed.generation), (2, 1));
    let jobs = bench.keep();
    assert!(matches!(jobs.as_slice(), [Job::Create(_), Job::Start(1)]), "{jobs:?}");
    assert_eq!(bench.endpoints(), [] as [u32; 0], "it is not ready");
    bench.ready(1);
    assert_eq!(bench.endpoints(), [1]);
    bench.react(vec![Input::Keeper(EventKind::NotReady { id: 1, why: "no answer".into() })]);
    assert_eq!(bench.endpoints(), [] as [u32; 0]);
}

#[test]
fn what_lost_its_cgroup_is_started_once_the_tables_know_the_next_one() {
    let mut bench = serving();
    let cgroup = place(1).cgroup;
    bench.react(vec![Input::Keeper(EventKind::Rehoused { id: 1, cgroup_id: cgroup + 1000 })]);
    assert_eq!(bench.endpoints(), [] as [u32; 0], "nothing of it runs");
    let cgroups = bench.kernel.look().mirror.cgroups.clone();
    assert_eq!((cgroups.get(&(cgroup + 1000)), cgroups.get(&cgroup)), (Some(&1), None));
    assert!(matches!(bench.keep().as_slice(), [Job::Start(1)]));
    bench.ready(1);
    assert_eq!(bench.endpoints(), [1]);
}

#[test]
fn a_change_replaces_without_a_moment_without_endpoint() {
    let mut bench = serving();
    let mut other = workload("shop", "web");
    other.command = vec!["/bin/other".into()];
    bench.apply(vec![Object::Workload(other)]).expect("applied");
    bench.keep();
    assert_eq!(bench.endpoints(), [1], "the old one serves until the new one is ready");
    bench.kernel.look().loads.insert(1, EndpointLoad { live: 1, total: 9 });
    bench.ready(2);
    bench.keep();
    assert_eq!(bench.endpoints(), [2]);
    bench.pass(200);
    assert_eq!(bench.keep(), [], "it still has a connection");
    bench.kernel.look().loads.clear();
    bench.pass(50);
    let jobs = bench.keep();
    assert!(matches!(jobs.as_slice(), [Job::Stop(1, _), Job::Remove(1)]), "{jobs:?}");
    assert_eq!(bench.kernel.look().guarded, [2]);
    assert!(!bench.kernel.look().mirror.workloads.contains_key(&1), "its rows are gone");
}

#[test]
fn draining_ends_with_the_grace() {
    let mut bench = serving();
    bench.kernel.look().loads.insert(1, EndpointLoad { live: 1, total: 1 });
    let key = ObjectKey { kind: Kind::Workload, name: ObjectName::new("shop", "web") };
    bench.ask(Request::Delete { keys: vec![key] });
    assert_eq!(bench.kernel.look().mirror.workloads[&1].flags, wabe_abi::workload_flag::STOPPING);
    bench.pass(9_000);
    assert_eq!(bench.keep(), []);
    bench.pass(1_001);
    assert!(matches!(bench.keep().as_slice(), [Job::Stop(1, _), Job::Remove(1)]));
    assert!(bench.engine.state.instances.is_empty());
}

#[test]
fn an_instance_that_does_not_stop_is_removed() {
    let mut bench = serving();
    let key = ObjectKey { kind: Kind::Workload, name: ObjectName::new("shop", "web") };
    bench.ask(Request::Delete { keys: vec![key] });
    bench.pass(100);
    let stop = bench.jobs.try_recv().expect("a job");
    assert!(matches!(stop, Job::Stop(1, _)), "{stop:?}");
    bench.react(vec![Input::Done(Done { job: stop, result: Ok(None) })]);
    bench.pass(14_000);
    assert!(matches!(bench.keep().as_slice(), [Job::Remove(1)]));
}

fn connection(bench: &Bench, from: u32, to: u32, port: u16) -> (Tuple, Connection) {
    let address = |id: u32| Ip::from(IpAddr::V4(place(id).v4));
    let tuple = Tuple::new(TCP, address(from), Be16::new(port), address(to), Be16::new(8080));
    let connection = Connection { source_workload: from, destination_workload: to, ..Connection::default() };
    bench.kernel.look().connections.push((tuple, connection));
    (tuple, connection)
}

#[test]
fn a_policy_ends_the_connections_that_it_refuses_and_only_those() {
    let mut bench = serving();
    let account = |name: &str| Workload { service_account: name.into(), ..workload("shop", name) };
    bench.apply(vec![Object::Workload(account("good")), Object::Workload(account("bad"))]).expect("applied");
    bench.keep();
    let id = |bench: &Bench, name: &str| {
        let named = |it: &&crate::state::Instance| it.spec.name.name == name;
        bench.engine.state.instances.values().find(named).expect("made").id
    };
    let (good, bad) = (id(&bench, "good"), id(&bench, "bad"));
    connection(&bench, good, 1, 4000);
    let (refused, _) = connection(&bench, bad, 1, 4001);
    connection(&bench, bad, good, 4002);
    bench.apply(vec![Object::AuthorizationPolicy(only("shop", "web", "good"))]).expect("applied");
    assert_eq!(*bench.closed.lock().expect("whole"), [refused]);
    let (late, _) = connection(&bench, bad, 1, 4003);
    bench.pass(100);
    assert_eq!(*bench.closed.lock().expect("whole"), [refused, refused, late], "a second look 100 ms later");
}

#[test]
fn a_policy_that_looks_at_requests_ends_the_connections_that_the_proxy_did_not_make() {
    let mut bench = serving();
    bench.apply(vec![Object::Workload(workload("shop", "good"))]).expect("applied");
    bench.keep();
    let named = |it: &&crate::state::Instance| it.spec.name.name == "good";
    let good = bench.engine.state.instances.values().find(named).expect("made").id;
    let (direct, _) = connection(&bench, good, 1, 4000);
    connection(&bench, good, 1, 4001);
    let by_proxy = wabe_abi::ticket_flag::DIRECT | wabe_abi::ticket_flag::LAYER7_DONE;
    bench.kernel.look().connections.last_mut().expect("a connection").1.flags = by_proxy;
    let mut policy = only("shop", "web", "default");
    let methods = vec![wabe_model::StringMatch::Exact("GET".into())];
    policy.rules[0].to = vec![wabe_model::Operation { methods, ..Default::default() }];
    let since = |bench: &Bench| bench.kernel.look().mirror.workloads[&1].layer7_generation;
    assert_eq!(since(&bench), 0);
    bench.apply(vec![Object::AuthorizationPolicy(policy.clone())]).expect("applied");
    assert_eq!(*bench.closed.lock().expect("whole"), [direct]);
    let first = since(&bench);
    assert_eq!(
        first,
        bench.kernel.look().mirror.config.generation,
        "it is in force since the plan that wrote it"
    );
    let told = |bench: &Bench| {
        let text = std::fs::read(&bench.engine.proxy_file).expect("written");
        serde_json::from_slice::<wabe_proxy::Snapshot>(&text).expect("a snapshot")
    };
    assert_eq!((told(&bench).generation, told(&bench).judged[&1].generation), (first, first));
    // What is about others changes nothing of it.
    bench.apply(vec![Object::AuthorizationPolicy(only("shop", "good", "x"))]).expect("applied");
    assert_eq!(since(&bench), first);
    policy.rules[0].to[0].paths = vec![wabe_model::StringMatch::Prefix("/a".into())];
    bench.apply(vec![Object::AuthorizationPolicy(policy)]).expect("applied");
    assert!(since(&bench) > first);
    assert_eq!(told(&bench).judged[&1].generation, since(&bench));
    assert!(told(&bench).generation >= since(&bench));
}

#[test]
fn callers_come_by_the_proxy_as_long_as_one_that_takes_nobody_else_serves() {
    let mut bench = Bench::new();
    let mut policy = only("shop", "web", "default");
    policy.selector = [("tier".to_owned(), "secure".to_owned())].into();
    policy.rules[0].to = vec![wabe_model::Operation {
        paths: vec![wabe_model::StringMatch::Prefix("/a".into())],
        ..Default::default()
    }];
    let mut secure = workload("shop", "web");
    secure.labels.extend(policy.selector.clone());
    let service = Object::Service(service("shop", "web", 80, TargetPort::Number(8080)));
    bench
        .apply(vec![Object::Workload(secure), service, Object::AuthorizationPolicy(policy)])
        .expect("applied");
    bench.keep();
    bench.ready(1);
    // Which workloads serve, whether callers are led to the proxy, and whether it knows the way.
    let how = |bench: &Bench| {
        let memory = bench.kernel.look();
        let is_port = |(key, _): &(&wabe_abi::ServiceKey, &wabe_abi::ServiceRecord)| key.protocol == TCP;
        let proxy = wabe_abi::service_flag::PROXY;
        let mut ports = memory.mirror.services.iter().filter(is_port);
        let led = ports.all(|(_, record)| record.flags & proxy != 0);
        let text = std::fs::read(&bench.engine.proxy_file).expect("written");
        let told: wabe_proxy::Snapshot = serde_json::from_slice(&text).expect("a snapshot");
        drop(memory);
        (bench.endpoints(), led, told.ports.len())
    };
    assert_eq!(how(&bench), (vec![1], true, 1));
    let other = Workload { command: vec!["/bin/other".into()], ..workload("shop", "web") };
    bench.apply(vec![Object::Workload(other)]).expect("applied");
    bench.keep();
    assert_ne!(bench.kernel.look().mirror.workloads[&1].layer7_generation, 0);
    assert_eq!(how(&bench), (vec![1], true, 1), "the old one serves, with its old label");
    bench.ready(2);
    bench.keep();
    assert_eq!(how(&bench), (vec![2], false, 0));
}

#[test]
fn what_can_not_be_applied_changes_nothing() {
    let mut bench = serving();
    let before = (bench.engine.state.objects.clone(), bench.kernel.look().mirror.clone());
    let mut bad = service("shop", "bad", 80, TargetPort::Number(1));
    bad.cluster_ips =
        wabe_model::ClusterIps::Virtual { v4: Some(Some([192, 0, 2, 1].into())), v6: Some(None) };
    let error = bench.apply(vec![Object::Service(bad)]).expect_err("out of range");
    assert!(error.contains("192.0.2.1"), "{error}");
    assert_eq!((bench.engine.state.objects.clone(), bench.kernel.look().mirror.clone()), before);
}

#[test]
fn the_settings_are_not_deleted() {
    let mut bench = Bench::new();
    bench.engine.node.root_namespace = "root".into();
    let config = wabe_model::MeshConfig { root_namespace: "root".into(), ..Default::default() };
    let settings = ObjectKey { kind: Kind::MeshConfig, name: ObjectName::new("", "mesh") };
    let web_key = ObjectKey { kind: Kind::Workload, name: ObjectName::new("shop", "web") };
    let keys = vec![web_key, settings];
    bench.apply([web(), vec![Object::MeshConfig(config)]].concat()).expect("applied");
    let before = bench.engine.state.objects.clone();
    let delete = |bench: &mut Bench, keys| bench.ask(Request::Delete { keys }).recv().expect("a reply");
    let Reply::Refused { message } = delete(&mut bench, keys.clone()) else { panic!("it is refused") };
    assert!(message.contains("apply one with other settings"), "{message}");
    assert_eq!(bench.engine.state.objects, before, "nor anything else with them");
    // What was never there is told to whoever asked, as of all objects.
    let mut without = Bench::new();
    assert!(matches!(delete(&mut without, keys), Reply::Changed(changed) if changed.deleted.is_empty()));
}

#[test]
fn a_full_map_refuses_the_change_and_the_old_state_stays_in_force() {
    let mut bench = serving();
    bench.kernel.look().fails_after = Some(1);
    let more = Object::Service(service("shop", "more", 80, TargetPort::Number(1)));
    let error = bench.apply(vec![more.clone()]).expect_err("full");
    assert!(error.contains("full"), "{error}");
    assert_eq!(bench.endpoints(), [1]);
    bench.kernel.look().fails_after = None;
    bench.pass(1_001);
    assert_eq!(bench.endpoints(), [1]);
    bench.apply(vec![more]).expect("applied now");
    bench.pass(200);
    let memory = bench.kernel.look();
    let used: usize = memory.mirror.services.values().map(|record| record.endpoints as usize).sum();
    assert_eq!(memory.mirror.endpoints.len(), used, "no rows are left over");
}

/// What the keeper says of workload 1 of [`serving`], and of others like it.
fn running(bench: &Bench, ids: impl IntoIterator<Item = u32>) -> Vec<recover::Running> {
    let spec = crate::instance_spec::of(&bench.engine.state.instances[&1], (place(1).v4, place(1).v6));
    let state = |id: u32| wabe_keeper::protocol::InstanceState {
        spec: wabe_keeper::protocol::InstanceSpec { id, ..spec.clone() },
        cgroup_id: place(id).cgroup,
        node_ifindex: place(id).node_ifindex,
        phase: wabe_keeper::protocol::Phase::Running { pid: 77 },
        ready: true,
        not_ready_because: None,
        restarts: 0,
        last_exit: None,
        since_ms: 0,
    };
    ids.into_iter().map(|id| recover::Running { state: state(id), handles: Some(handles()) }).collect()
}

#[test]
fn a_new_agent_goes_on_where_the_old_one_ended() {
    let bench = serving();
    let running = running(&bench, [1, 50]);
    let Bench { kernel, directory, .. } = bench;
    let generation = kernel.look().mirror.config.generation;
    let mut bench = Bench::over(kernel, directory);
    bench.engine.recover(running).expect("recovered");
    assert_eq!(bench.endpoints(), [1]);
    assert!(bench.kernel.look().mirror.config.generation > generation);
    assert_eq!(bench.engine.state.instances[&1].pid, Some(77));
    let jobs = bench.keep();
    assert!(matches!(jobs.as_slice(), [Job::Remove(50)]), "what nobody knows is removed: {jobs:?}");
    bench.pass(200);
    assert_eq!(bench.kernel.look().mirror.endpoints.len(), 2, "old sets are removed");
}

#[test]
fn tables_of_another_layout_are_filled_before_the_programs_read_them() {
    let bench = serving();
    let running = running(&bench, [1]);
    let Bench { kernel, directory, .. } = bench;
    let generation = kernel.look().mirror.config.generation;
    kernel.look().loads.insert(1, EndpointLoad { live: 3, total: 5 });
    // What an agent of another version finds: maps made anew.
    kernel.look().mirror = crate::mirror::Mirror::default();
    kernel.look().engaged = 0;
    let mut bench = Bench::over(kernel, directory);
    bench.engine.recover(running).expect("recovered");
    assert_eq!(bench.kernel.look().loads[&1].live, 3, "open connections are counted once, and stay counted");
    assert_eq!(bench.kernel.look().engaged, 1, "the fake kernel refuses to engage with empty tables");
    assert!(bench.kernel.look().mirror.config.generation > generation, "the generation went back");
}

#[test]
fn who_was_in_no_table_yet_has_none_of_an_earlier_ones_counts() {
    let bench = serving();
    let running = running(&bench, [1]);
    let Bench { kernel, directory, .. } = bench;
    kernel.look().loads.insert(1, EndpointLoad { live: 3, total: 5 });
    kernel.look().mirror = crate::mirror::Mirror::default();
    let mut bench = Bench::over(kernel, directory);
    bench.engine.state.instances.get_mut(&1).expect("known").phase = Phase::Making;
    bench.engine.recover(running).expect("recovered");
    assert!(!bench.kernel.look().loads.contains_key(&1));
}

#[test]
fn an_agent_that_cannot_fill_the_tables_leaves_the_programs_in_force_alone() {
    let bench = serving();
    let Bench { kernel, directory, .. } = bench;
    kernel.look().mirror = crate::mirror::Mirror::default();
    kernel.look().engaged = 0;
    kernel.look().fails_after = Some(0);
    let mut bench = Bench::over(kernel, directory);
    let error = bench.engine.recover(Vec::new()).expect_err("nothing could be written");
    assert!(error.to_string().contains("could not be filled"), "{error}");
    assert_eq!(bench.kernel.look().engaged, 0);
}

#[test]
fn what_the_keeper_lost_is_made_again() {
    let mut bench = serving();
    bench.react(vec![Input::Keeper(EventKind::State(Vec::new()))]);
    let jobs = bench.keep();
    assert!(matches!(jobs.as_slice(), [Job::Find(1), Job::Create(_), Job::Start(_)]), "{jobs:?}");
}

fn drain(replies: &Receiver<Reply>) -> Vec<Reply> {
    replies.try_iter().collect()
}

#[test]
fn waiting_ends_when_all_are_ready() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let replies = bench.ask(Request::WaitReady { workloads: Vec::new(), timeout: 60_000 });
    bench.keep();
    assert_eq!(drain(&replies), []);
    bench.ready(1);
    let progress = Reply::Progress { workload: ObjectName::new("shop", "web"), ready: 1, wanted: 1 };
    assert_eq!(drain(&replies), [progress]);
    bench.pass(250);
    assert_eq!(drain(&replies), [Reply::Ready], "without a probe, a moment later");
}

#[test]
fn waiting_ends_early_when_it_is_of_no_use_and_says_why() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let replies = bench.ask(Request::WaitReady { workloads: Vec::new(), timeout: 60_000 });
    bench.keep();
    bench.react(vec![Input::Keeper(EventKind::Failed { id: 1, message: "no such program".into() })]);
    let expected = NotReady {
        workload: ObjectName::new("shop", "web"),
        ready: 0,
        wanted: 1,
        why: "no such program".into(),
        instance: Some("shop.web-0".into()),
    };
    assert_eq!(drain(&replies), [Reply::NotReady { workloads: vec![expected] }]);
}

#[test]
fn a_process_that_keeps_ending_is_given_up() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let replies = bench.ask(Request::WaitReady { workloads: Vec::new(), timeout: 60_000 });
    bench.keep();
    for _ in 0..5 {
        bench.ready(1);
        let status = ExitStatus::Code(1);
        bench.react(vec![Input::Keeper(EventKind::Exited { id: 1, status })]);
        bench.react(vec![Input::Keeper(EventKind::Restarting { id: 1, in_ms: 100 })]);
    }
    let last = drain(&replies).pop();
    assert!(
        matches!(&last, Some(Reply::NotReady { workloads }) if workloads[0].why.contains("exit status 1")),
        "{last:?}"
    );
}

#[test]
fn waiting_ends_with_patience() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let replies = bench.ask(Request::WaitReady { workloads: Vec::new(), timeout: 5_000 });
    bench.keep();
    bench.pass(4_999);
    assert_eq!(drain(&replies), []);
    bench.pass(1);
    assert!(matches!(drain(&replies).as_slice(), [Reply::NotReady { .. }]));
}

#[test]
fn scaling_an_unknown_workload_says_so() {
    let mut bench = serving();
    let reply = bench.ask(Request::Scale { workload: ObjectName::new("shop", "nothing"), replicas: 2 });
    assert!(matches!(reply.recv(), Ok(Reply::Refused { message }) if message.contains("shop/nothing")));
    bench.ask(Request::Scale { workload: ObjectName::new("shop", "web"), replicas: 3 });
    bench.keep();
    assert_eq!(bench.engine.state.instances.len(), 3);
}

#[test]
fn a_failed_job_is_given_again() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let job = bench.jobs.try_recv().expect("a job");
    bench.react(vec![Input::Done(Done { job, result: Err("busy".into()) })]);
    assert_eq!(bench.engine.state.instances[&1].trouble.as_deref(), Some("busy"));
    assert!(bench.jobs.try_recv().is_err(), "not at once");
    bench.pass(1_000);
    assert!(matches!(bench.keep().as_slice(), [Job::Create(_), Job::Start(1)]));
    assert_eq!(bench.engine.state.instances[&1].phase, Phase::Started);
}

/// What a request about simulated services was answered, after all its parts.
fn simulate(bench: &mut Bench, request: Simulate) -> Reply {
    let replies = bench.ask(Request::Simulate(request));
    for _ in 0..1000 {
        if let Ok(reply) = replies.try_recv() {
            return reply;
        }
        bench.pass(1);
    }
    panic!("no reply");
}

#[test]
fn a_simulated_load_comes_in_parts_and_leaves_nothing() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    bench.keep();
    bench.ready(1);
    bench.pass(1000);
    let before = bench.kernel.look().mirror.clone();
    let files = || std::fs::read(bench.directory.path().join("names.json")).expect("names");
    let names = files();
    let load = Simulate::Load { services: 5000, endpoints: 20_000 };
    let Reply::Changed(loaded) = simulate(&mut bench, load) else { panic!("refused") };
    assert!(loaded.generation > before.config.generation);
    let rows = bench.kernel.look().mirror.count();
    assert_eq!(rows.services, before.services.len() + 10_000);
    assert_eq!(rows.endpoints, before.count().endpoints + 20_000);
    for number in 0..50 {
        let change = simulate(&mut bench, Simulate::Change { number });
        assert!(matches!(change, Reply::Changed(_)), "{change:?}");
    }
    assert_eq!(bench.endpoints(), [1], "real services stay as they are");
    bench.pass(1000);
    assert_eq!(bench.kernel.look().mirror.count(), rows, "old sets are gone");
    let now = std::fs::read(bench.directory.path().join("names.json")).expect("names");
    assert!(now == names, "what is simulated is in no file");
    // A real change sees nothing of it.
    bench
        .apply(vec![Object::Service(service("shop", "other", 80, TargetPort::Number(80)))])
        .expect("applied");
    assert_eq!(bench.kernel.look().mirror.count().endpoints, rows.endpoints);
    bench.ask(Request::Delete {
        keys: vec![ObjectKey { kind: Kind::Service, name: ObjectName::new("shop", "other") }],
    });
    assert!(matches!(simulate(&mut bench, Simulate::Clear), Reply::Changed(_)));
    bench.pass(1000);
    let after = bench.kernel.look().mirror.clone();
    assert_eq!((&after.services, &after.endpoints), (&before.services, &before.endpoints));
}

#[test]
fn tables_grow_before_they_are_full() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    bench.kernel.look().sizes = Sizes { services: 100, endpoints: 100, ..Sizes::default() };
    let load = Simulate::Load { services: 500, endpoints: 2000 };
    assert!(matches!(simulate(&mut bench, load), Reply::Changed(_)));
    let sizes = bench.kernel.look().sizes;
    let resized = bench.kernel.look().resized;
    assert_eq!((sizes.services, sizes.endpoints, resized), (2048, 4096, 1));
    for number in 0..3000 {
        simulate(&mut bench, Simulate::Change { number });
    }
    assert!(bench.kernel.look().mirror.count().endpoints > 4000, "old sets wait for their removal");
    bench.pass(1000);
    assert_eq!(bench.kernel.look().mirror.count().endpoints, 2000);
}

#[test]
fn a_simulated_load_that_fails_ends_without_a_trace() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    bench.keep();
    bench.ready(1);
    bench.kernel.look().fails_after = Some(3000);
    let reply = simulate(&mut bench, Simulate::Load { services: 5000, endpoints: 20_000 });
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    bench.kernel.look().fails_after = None;
    bench.pass(2000);
    bench.pass(2000);
    assert_eq!(bench.endpoints(), [1]);
    let rows = bench.kernel.look().mirror.count();
    assert_eq!((rows.services, rows.endpoints), (4, 2), "only what is real");
}

#[test]
fn a_simulated_load_that_does_not_fit_is_refused_with_a_remedy() {
    let mut bench = Bench::new();
    bench.apply(web()).expect("applied");
    let reply = simulate(&mut bench, Simulate::Load { services: 100_000, endpoints: 100_000 });
    let Reply::Refused { message } = reply else { panic!("{reply:?}") };
    assert!(message.contains("10.9.0.0/16") && message.contains("10.64.0.0/14"), "{message}");
    let reply = simulate(&mut bench, Simulate::Load { services: 10, endpoints: 5 });
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
}

/// Two copies of `web` (1 and 2) that serve datagrams, and who calls them (3).
fn serving_datagrams() -> (Bench, u32) {
    let mut bench = Bench::new();
    let mut web = workload("shop", "web");
    web.replicas = 2;
    let mut service = service("shop", "web", 53, TargetPort::Number(5300));
    service.ports[0].transport = wabe_model::Transport::Udp;
    bench.apply(vec![Object::Workload(web), Object::Service(service)]).expect("applied");
    bench.keep();
    bench.apply(vec![Object::Workload(workload("shop", "caller"))]).expect("applied");
    bench.keep();
    (1..=3).for_each(|id| bench.ready(id));
    let id = {
        let memory = bench.kernel.look();
        let is_port = |(key, _): &(&wabe_abi::ServiceKey, _)| key.protocol == wabe_abi::UDP;
        memory.mirror.services.iter().find(is_port).expect("the service").1.service
    };
    bench.followed.lock().expect("whole").clear();
    (bench, id)
}

fn exchange(port: u16, service: u32, receiver: u32) -> (Tuple, Exchange) {
    let any = Ip::UNSPECIFIED;
    let tuple = Tuple::new(wabe_abi::UDP, any, Be16::new(port), any, Be16::new(5300));
    let known =
        Exchange { source_workload: 3, destination_workload: receiver, service, ..Exchange::default() };
    (tuple, known)
}

#[test]
fn sockets_are_seen_to_when_their_endpoint_leaves_the_service_and_once_more() {
    let (mut bench, service) = serving_datagrams();
    // To the service, to the workload itself, and to the outside.
    bench.kernel.look().exchanges =
        vec![exchange(1, service, 1), exchange(2, service, 2), exchange(3, 0, 1), exchange(4, 0, 0)];
    let followed = Arc::clone(&bench.followed);
    let followed = move || std::mem::take(&mut *followed.lock().expect("whole"));
    bench.pass(1000);
    assert_eq!(followed(), [], "nothing is lost");
    bench.react(vec![Input::Keeper(EventKind::NotReady { id: 1, why: "no answer".into() })]);
    assert_eq!(followed(), [(3, vec![1])], "who dialled the workload itself may go on");
    bench.pass(150);
    assert_eq!(followed(), [(3, vec![1])], "one that was being begun");
    bench.pass(150);
    assert_eq!(followed(), []);
    // Back again: nobody is moved.
    bench.ready(1);
    assert_eq!(followed(), []);
}

#[test]
fn a_new_agent_sees_to_what_was_lost_while_there_was_none() {
    let (mut bench, service) = serving_datagrams();
    bench.kernel.look().exchanges = vec![exchange(1, service, 2), exchange(2, service, 77)];
    bench.engine.receivers = None;
    bench.ready(3);
    bench.apply(vec![Object::Workload(workload("shop", "more"))]).expect("applied");
    assert_eq!(*bench.followed.lock().expect("whole"), [(3, vec![77])]);
}
