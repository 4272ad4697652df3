//! The mesh as an arm: the same servers as workloads, the load from another workload.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    kube::Flood,
    pods::{CLIENT_CORE, SERVER_CORE},
    server,
};
use crate::{
    place::{Place, command::run},
    results,
};

/// A mesh that is up; dropped, it goes.
#[derive(Debug)]
pub(crate) struct Mesh {
    name: String,
    wabe: std::path::PathBuf,
    turn: u32,
}

impl Mesh {
    /// Starts it and waits until all is ready; then loads the flood, and tells what that cost. With `routed`, requests to the
    /// HTTP port go by a route, and so through the node's proxy.
    pub(crate) fn up(
        place: &Place,
        name: &str,
        routed: bool,
        flood: Flood,
    ) -> Result<(Self, results::Rules)> {
        let config = server::nginx(&place.scratch(), &super::bodies(place)?);
        let config = place.write(&format!("{name}/nginx.conf"), config)?;
        let ports = [("http", 80, server::HTTP, "TCP"), ("http2", 82, server::HTTP2, "TCP")];
        let mut text = workload("server", json!(["nginx", "-e", "stderr", "-c", config]), &ports);
        let echo = [("echo", 9000, server::ECHO, "UDP")];
        let core = SERVER_CORE.to_string();
        let command = json!([
            "taskset",
            "-c",
            core,
            place.program(),
            "lab",
            "echo",
            format!("0.0.0.0:{}", server::ECHO)
        ]);
        text += &workload("echo", command, &echo);
        text += &workload("client", json!(["sleep", "infinity"]), &[]);
        if routed {
            // One worker, as sidecars have.
            let settings = json!({"proxyWorkers": 1});
            text += &document("mesh.wabe.dev/v1alpha1", "MeshConfig", &json!({"name": "mesh"}), &settings);
            text += &route("server");
        }
        let manifest = place.write(&format!("{name}/mesh.yaml"), text)?;
        let mut mesh = Self { name: Place::mesh(name), wabe: place.wabe().to_path_buf(), turn: 0 };
        run(mesh.command(&["up", "--timeout", "120", "-f"]).arg(manifest))?;
        if routed {
            mesh.pin_proxy()?;
        }
        let facts = mesh.flood(flood)?;
        Ok((mesh, facts))
    }

    /// The proxy stands where a client's sidecar would.
    fn pin_proxy(&self) -> Result<()> {
        let proxies = self.processes()?.into_iter().filter(|(role, _)| *role == "proxy");
        for pid in proxies.flat_map(|(_, pids)| pids) {
            // Two would take turns on that core, and a request wait for the other's.
            let threads = fs::read_dir(format!("/proc/{pid}/task"))?.count();
            if threads != 1 {
                bail!("the proxy has {threads} threads instead of the one worker that it was asked for");
            }
            run(Command::new("taskset").args([
                "-a",
                "-c",
                "-p",
                &CLIENT_CORE.to_string(),
                &pid.to_string(),
            ]))?;
        }
        Ok(())
    }

    /// A command of `wabe` for this mesh.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.wabe);
        command.args(["--name", &self.name]).args(words);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// A command that runs a program as part of the client.
    pub(crate) fn client(&self, program: &Command) -> Command {
        let mut command = self.command(&["exec", "lab/client", "--"]);
        command.arg(program.get_program()).args(program.get_args());
        command
    }

    /// The IPv4 address of a service.
    pub(crate) fn service(&self, name: &str) -> Result<String> {
        let status = self.status()?;
        let service = named(&status["services"], name)?;
        let all = service["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.into_iter()
            .find(|it| it.contains('.'))
            .map(str::to_owned)
            .context("no IPv4 address in the status")
    }

    /// The processes of agent and proxy, and those of the workloads that serve.
    pub(crate) fn processes(&self) -> Result<Vec<(&'static str, Vec<u32>)>> {
        let status = self.status()?;
        let pid = |it: &Value| it.as_u64().and_then(|it| u32::try_from(it).ok());
        let agent = pid(&status["agent"]).into_iter().collect();
        let mut server = Vec::new();
        for name in ["server", "echo"] {
            for instance in named(&status["workloads"], name)?["instances"].as_array().into_iter().flatten() {
                server.extend(pid(&instance["pid"]));
            }
        }
        let processes = status["processes"].as_array().into_iter().flatten();
        let proxy = processes.filter(|it| it["role"] == "proxy").filter_map(|it| pid(&it["pid"])).collect();
        Ok(vec![("server", with_children(server)), ("proxy", proxy), ("agent", agent)])
    }

    /// Changes one endpoint of the flood; tells how long it took until it was in force. `None` without a flood.
    pub(crate) fn change(&mut self, flood: Flood) -> Result<Option<Duration>> {
        if flood.services == 0 || flood.endpoints == 0 {
            return Ok(None);
        }
        self.turn += 1;
        let words = ["debug", "load", "--changes-per-second", "1", "--seconds", "1", "-o", "json"];
        let told: Value = serde_json::from_str(&run(&mut self.command(&words))?)?;
        let microseconds = told["changes"]["request"]["median"].as_f64().context("no time of the change")?;
        Ok(Some(Duration::from_secs_f64(microseconds / 1e6)))
    }

    fn flood(&mut self, flood: Flood) -> Result<results::Rules> {
        let (mut programmed, mut count) = (0.0, 3);
        if flood.services > 0 {
            let (services, endpoints) =
                (flood.services, u64::from(flood.services) * u64::from(flood.endpoints));
            let words =
                ["debug", "load", "--services", &services.to_string(), "--endpoints", &endpoints.to_string()];
            let told: Value = serde_json::from_str(&run(self.command(&words).args(["-o", "json"]))?)?;
            programmed = told["milliseconds"].as_f64().context("no time of the load")? / 1e3;
            count = told["serviceRows"].as_u64().unwrap_or(0) + told["endpointRows"].as_u64().unwrap_or(0);
        }
        let changed = self.change(flood)?.map(|it| it.as_secs_f64());
        let technology = format!("wabe {}, rows of services and endpoints", env!("CARGO_PKG_VERSION"));
        Ok(results::Rules {
            technology,
            services: flood.services,
            endpoints: flood.endpoints,
            count,
            programmed,
            changed,
        })
    }

    fn status(&self) -> Result<Value> {
        serde_json::from_str(&run(&mut self.command(&["status", "-o", "json"]))?)
            .context("reading wabe's status")
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Err(error) = run(&mut self.command(&["down"])) {
            eprintln!("cleaning up: {error:#}");
        }
    }
}

/// A workload, and a service of its name if it has ports: name, port, port of the workload, protocol.
fn workload(name: &str, command: Value, ports: &[(&str, u16, u16, &str)]) -> String {
    let own: Vec<Value> = ports
        .iter()
        .map(|(name, _, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}))
        .collect();
    let mut spec = json!({"command": command, "grace": "1s"});
    if !own.is_empty() {
        spec["ports"] = own.into();
    }
    if ports.first().is_some_and(|it| it.3 == "TCP") {
        spec["readiness"] = json!({"tcp": {"port": ports[0].2}});
    }
    let metadata = json!({"name": name, "namespace": "lab", "labels": {"app": name}});
    let mut text = document("mesh.wabe.dev/v1alpha1", "Workload", &metadata, &spec);
    if !ports.is_empty() {
        let ports: Vec<Value> = ports
            .iter()
            .map(|(name, port, _, protocol)| {
                json!({"name": name, "port": port, "targetPort": name, "protocol": protocol})
            })
            .collect();
        let spec = json!({"selector": {"app": name}, "ports": ports});
        text += &document("v1", "Service", &json!({"name": name, "namespace": "lab"}), &spec);
    }
    text
}

/// What a sidecar's route says here, too: every request to a service goes to that service, within 2 s.
fn route(service: &str) -> String {
    let rule = json!({
        "backendRefs": [{"name": service, "port": 80}],
        "timeouts": {"request": "2s"},
    });
    let parent = json!({"group": "", "kind": "Service", "name": service, "port": 80});
    let metadata = json!({"name": service, "namespace": "lab"});
    let spec = json!({"parentRefs": [parent], "rules": [rule]});
    document("gateway.networking.k8s.io/v1", "HTTPRoute", &metadata, &spec)
}

/// JSON is YAML.
fn document(version: &str, kind: &str, metadata: &Value, spec: &Value) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

fn named<'a>(list: &'a Value, name: &str) -> Result<&'a Value> {
    let full = format!("lab/{name}");
    let found = list.as_array().and_then(|list| list.iter().find(|it| it["name"] == full.as_str()));
    found.with_context(|| format!("{full} is not in the status"))
}

/// These processes and their children: nginx works in a child.
fn with_children(pids: Vec<u32>) -> Vec<u32> {
    let children = |pid: &u32| -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
    };
    let inside: Vec<u32> = pids.iter().flat_map(children).collect();
    if inside.is_empty() { pids } else { [pids, with_children(inside)].concat() }
}
