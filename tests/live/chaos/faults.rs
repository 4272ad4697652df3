//! What goes wrong.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    manifest::{Policy, Workload},
    status::{pids, until_ready},
};

use super::vault;

/// A time in which requests may fail, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excuse {
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// After a process of an endpoint ended, the mesh may send requests to it for this long (docs/operations.md).
const DOCUMENTED: u64 = 1000;

/// A name, and what is done.
type Fault = (&'static str, fn(&mut Chaos<'_>));

/// All that can happen.
pub(super) const FAULTS: [Fault; 14] = [
    ("the agent is killed", |it| it.kill_role("agent")),
    ("dns is killed", |it| it.kill_role("dns")),
    ("an endpoint is killed", |it| it.kill_endpoint()),
    ("an endpoint is frozen", |it| it.freeze_endpoint()),
    ("the policy flips", |it| it.flip_policy()),
    ("services come and go", |it| it.churn_services()),
    ("endpoints change a thousand times a second", |it| it.change_endpoints()),
    ("more is asked for than there is room for", |it| it.ask_too_much()),
    ("replicas come and go", |it| it.scale()),
    ("an interface is deleted", |it| it.delete_interface()),
    ("nobody reads the ring buffer", |it| it.stall_events()),
    ("a bad manifest is applied", |it| it.apply_nonsense()),
    ("a cgroup is killed", |it| it.kill_cgroup()),
    ("a cgroup is deleted", |it| it.delete_cgroup()),
];

/// The one who does it.
pub(super) struct Chaos<'a> {
    mesh: &'a TestMesh,
    state: u64,
    excuses: Vec<Excuse>,
    flips: u32,
}

impl<'a> Chaos<'a> {
    pub(super) fn new(mesh: &'a TestMesh, seed: u64) -> Self {
        Self { mesh, state: seed, excuses: Vec::new(), flips: 0 }
    }

    /// Below `limit`. SplitMix64 (Steele and others, 2014).
    pub(super) fn random(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    /// A short while, of a length that the seed decides.
    pub(super) fn breathe(&mut self) {
        thread::sleep(Duration::from_millis(self.random(700)));
    }

    /// Waits until everything is as it was; returns when requests may have failed.
    pub(super) fn recover(self) -> Vec<Excuse> {
        self.agent_answers();
        let _ = self.mesh.wabe(&["scale", "shop/bystander", "2"]).success();
        for (workload, replicas) in [("shop/cart", 4), ("shop/vault", 1), ("shop/echo", 1)] {
            until_ready(self.mesh, workload, replicas);
        }
        self.excuses
    }

    fn kill_role(&mut self, role: &str) {
        if let Some(pid) = self.mesh.machine().role(role) {
            signal("KILL", pid.into());
        }
    }

    fn kill_endpoint(&mut self) {
        self.agent_answers();
        let all = pids(self.mesh, "shop/cart");
        let victim = all[self.random(all.len() as u64) as usize];
        let began = now();
        signal("KILL", victim);
        self.excuse_until_ready(began);
    }

    /// It accepts connections, and answers them once it is thawed.
    fn freeze_endpoint(&mut self) {
        self.agent_answers();
        let all = pids(self.mesh, "shop/cart");
        let victim = all[self.random(all.len() as u64) as usize];
        let frozen = 100 + self.random(1500);
        signal("STOP", victim);
        thread::sleep(Duration::from_millis(frozen));
        signal("CONT", victim);
    }

    fn flip_policy(&mut self) {
        self.flips += 1;
        let account = ["custodian", "director"][self.flips as usize % 2];
        self.apply(&Policy::new("shop/vault", vault(account)).to_string());
    }

    fn churn_services(&mut self) {
        let count = 1 + self.random(100);
        let service = |number: u64| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: extra-{number}, namespace: shop}}\n\
                 spec: {{selector: {{app: bystander}}, ports: [{{port: 80, targetPort: 8080}}]}}\n---\n"
            )
        };
        let services: String = (0..count).map(service).collect();
        self.apply(&services);
        self.agent_answers();
        let gone = self.mesh.delete(&services);
        assert!(gone.status.success() || agent_is_away(&gone.stderr), "{gone}");
    }

    fn change_endpoints(&mut self) {
        self.agent_answers();
        let count = (1000 + self.random(1000)).to_string();
        let load = ["debug", "load", "--services", &count, "--endpoints", "10000"];
        let change = ["--changes-per-second", "1000", "--seconds", "1"];
        for words in [&[&load[..], &change[..]].concat()[..], &["debug", "load", "--clear"]] {
            let done = self.mesh.wabe(words);
            assert!(done.status.success() || agent_is_away(&done.stderr), "{done}");
        }
    }

    fn ask_too_much(&mut self) {
        self.agent_answers();
        let refused = self.mesh.wabe(&["debug", "load", "--services", "100", "--endpoints", "90000000"]);
        assert!(!refused.status.success(), "{refused}");
    }

    fn scale(&mut self) {
        let replicas = 1 + self.random(4);
        let scaled = Workload::server("shop/bystander").with("replicas", json!(replicas));
        self.apply(&scaled.to_string());
    }

    /// A bystander's: whoever calls it gets an error, and a restart brings it back.
    fn delete_interface(&mut self) {
        let Some(agent) = self.mesh.machine().role("agent") else { return };
        self.agent_answers();
        let status: Value = self.mesh.json(&["status"]);
        let workloads = status["workloads"].as_array().expect("a list");
        let bystander = workloads.iter().find(|it| it["name"] == "shop/bystander").expect("it is there");
        let id = &bystander["instances"][0]["id"];
        let mut delete = Command::new("nsenter");
        delete.arg(format!("--net=/proc/{agent}/ns/net")).args(["ip", "link", "delete", &format!("w{id}")]);
        // The agent may have been killed meanwhile, or the replica removed.
        let _ = delete.output();
        let restarted = self.mesh.wabe(&["restart", "shop/bystander"]);
        assert!(restarted.status.success() || agent_is_away(&restarted.stderr), "{restarted}");
    }

    fn stall_events(&mut self) {
        let Some(agent) = self.mesh.machine().role("agent") else { return };
        signal("STOP", agent.into());
        thread::sleep(Duration::from_millis(500 + self.random(2000)));
        signal("CONT", agent.into());
    }

    fn apply_nonsense(&mut self) {
        self.agent_answers();
        let generation = |it: &Self| it.mesh.wabe(&["status", "-o", "json"]);
        let before = generation(self);
        for nonsense in [
            "kind: Service\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: 70000}]}\n",
            "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {trustDomain: other}\n",
            "\u{0}\u{1}\u{2}",
        ] {
            let refused = self.mesh.apply(nonsense);
            assert!(!refused.status.success(), "{refused}");
        }
        let after = generation(self);
        if before.status.success() && after.status.success() {
            let objects = |it: &wabe_testkit::Finished| it.json()["services"].clone();
            let names = |it: Value| -> Vec<Value> {
                it.as_array().expect("a list").iter().map(|it| it["name"].clone()).collect()
            };
            assert_eq!(names(objects(&before)), names(objects(&after)), "nonsense changed something");
        }
    }

    /// All processes of an endpoint at once, as the kernel does it when memory is short.
    fn kill_cgroup(&mut self) {
        self.agent_answers();
        let victim = pids(self.mesh, "shop/cart")[0];
        let Some(cgroup) = cgroup_of(victim) else { return };
        let began = now();
        std::fs::write(cgroup.join("cgroup.kill"), "1").expect("a cgroup of the mesh");
        self.excuse_until_ready(began);
    }

    /// A folder without processes can be removed, so they are killed first. What starts there next has another cgroup,
    /// from which it must be served like from the first.
    fn delete_cgroup(&mut self) {
        self.agent_answers();
        let all = pids(self.mesh, "shop/cart");
        let victim = all[self.random(all.len() as u64) as usize];
        let Some(cgroup) = cgroup_of(victim) else { return };
        let began = now();
        std::fs::write(cgroup.join("cgroup.kill"), "1").expect("a cgroup of the mesh");
        eventually("it can be deleted", || std::fs::remove_dir(&cgroup).is_ok().then_some(()));
        self.excuse_until_ready(began);
    }

    /// Requests to an endpoint that died may fail until the mesh knows, and for the documented time.
    fn excuse_until_ready(&mut self, began: u64) {
        let place = self.excuses.len();
        self.excuses.push(Excuse { began, ended: u64::MAX });
        self.agent_answers();
        until_ready(self.mesh, "shop/cart", 4);
        self.excuses[place].ended = now() + DOCUMENTED;
    }

    fn apply(&self, manifests: &str) {
        self.agent_answers();
        let applied = self.mesh.apply(manifests);
        assert!(applied.status.success() || agent_is_away(&applied.stderr), "{applied}");
    }

    /// Waits for the next agent if the last one was killed.
    fn agent_answers(&self) {
        let began = Instant::now();
        eventually("the agent answers", || self.mesh.wabe(&["status"]).status.success().then_some(()));
        if began.elapsed() > Duration::from_secs(1) {
            println!("          (waited {:.1} s for the agent)", began.elapsed().as_secs_f64());
        }
    }
}

/// What the command line says when the agent is killed at just that moment.
fn agent_is_away(message: &str) -> bool {
    message.contains("agent")
}

fn signal(name: &str, pid: u64) {
    // It may have ended by itself.
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).output();
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

/// The folder of a process's cgroup.
fn cgroup_of(pid: u64) -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
    let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = lines.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
    Some(std::path::Path::new(&mount).join(path))
}
