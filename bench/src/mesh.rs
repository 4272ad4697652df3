//! Meshes to measure: nginx as a service, and a workload from which the load comes.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    command::run,
    place::{self, MESH, Place},
    server,
};

/// What a mesh has beyond a server and a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Replicas of the server; 0 means 1.
    pub(crate) replicas: u32,
    /// `spec.shortCut` of its MeshConfig.
    pub(crate) short_cut: Option<bool>,
    /// A workload and a service that echo datagrams on port 9000.
    pub(crate) echo: bool,
    /// `spec.proxyBusyPollMicroseconds` of its MeshConfig.
    pub(crate) busy_poll: u16,
    /// More manifests, each at most 4 MiB.
    pub(crate) more: Vec<String>,
}

/// A mesh that is up; dropped, it goes.
#[derive(Debug)]
pub(crate) struct Mesh {
    name: String,
    wabe: std::path::PathBuf,
    stopped: Vec<u32>,
}

impl Mesh {
    /// Starts it and waits until all is ready. `core` is the servers'.
    ///
    /// # Errors
    /// What `wabe up` says, which may be that it does not know a field yet.
    pub(crate) fn up(place: &Place, name: &str, wanted: &Wanted, core: usize) -> Result<Self> {
        place.check()?;
        let name = format!("{MESH}{name}");
        let text = server::nginx(core, &place.scratch(), &name);
        let config = place.write(&format!("{name}.conf"), &text)?;
        let mut text = String::new();
        // One worker of the proxy, as of all that it is compared with.
        let mut settings = json!({"shortCut": wanted.short_cut.unwrap_or(true), "proxyWorkers": 1});
        if wanted.busy_poll != 0 {
            settings["proxyBusyPollMicroseconds"] = wanted.busy_poll.into();
        }
        text += &document("mesh.wabe.dev/v1alpha1", "MeshConfig", &json!({"name": "mesh"}), &settings);
        let nginx = json!({
            "command": ["nginx", "-c", config],
            "replicas": wanted.replicas.max(1),
            "ports": [{"name": "http", "port": 8080}],
            "readiness": {"tcp": {"port": 8080}},
            "grace": "1s",
        });
        text += &workload("server", &nginx);
        text += &service("server", "server", &json!([{"name": "http", "port": 80, "targetPort": "http"}]));
        text += &workload("client", &json!({"command": ["sleep", "infinity"], "grace": "1s"}));
        if wanted.echo {
            let command = json!([place.program(), "echo", "0.0.0.0:9000", core.to_string()]);
            let ports = json!([{"name": "echo", "port": 9000, "protocol": "UDP"}]);
            text += &workload("echo", &json!({"command": command, "ports": ports, "grace": "1s"}));
            text += &service(
                "echo",
                "echo",
                &json!([{"name": "echo", "port": 9000, "targetPort": "echo", "protocol": "UDP"}]),
            );
        }
        let mut up = Command::new(place.wabe());
        up.args(["--name", &name, "up", "--timeout", "120", "-f"]);
        up.arg(place.write(&format!("{name}/mesh.yaml"), &text)?);
        for (number, text) in wanted.more.iter().enumerate() {
            up.arg("-f").arg(place.write(&format!("{name}/more-{number}.yaml"), text)?);
        }
        run(&mut up)?;
        Ok(Self { name, wabe: place.wabe().to_path_buf(), stopped: Vec::new() })
    }

    /// Its name on this machine.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The proxy's processes.
    pub(crate) fn proxy(&self) -> Vec<u32> {
        place::processes(&self.name, "proxy")
    }

    /// A command of `wabe` for this mesh.
    pub(crate) fn wabe(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.wabe);
        command.args(["--name", &self.name]).args(words);
        command
    }

    /// A command that runs `program` as part of the client.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = self.wabe(&["exec", "bench/client", "--"]);
        command.arg(program);
        command
    }

    /// The IPv4 address of a service, with a port.
    pub(crate) fn service(&self, name: &str, port: u16) -> Result<String> {
        let status = self.status()?;
        let address = first(&named(&status["services"], name)?["addresses"])?;
        Ok(format!("{address}:{port}"))
    }

    /// The IPv4 address of a workload's first replica, with a port.
    pub(crate) fn workload(&self, name: &str, port: u16) -> Result<String> {
        let status = self.status()?;
        let address = first(&named(&status["workloads"], name)?["instances"][0]["addresses"])?;
        Ok(format!("{address}:{port}"))
    }

    /// The process of a workload's first replica.
    pub(crate) fn process(&self, name: &str) -> Result<u32> {
        let status = self.status()?;
        let pid = named(&status["workloads"], name)?["instances"][0]["pid"].as_u64();
        pid.and_then(|it| it.try_into().ok()).with_context(|| format!("{name} has no process"))
    }

    /// What `wabe status` tells.
    pub(crate) fn status(&self) -> Result<Value> {
        serde_json::from_str(&run(&mut self.wabe(&["status", "-o", "json"]))?)
            .context("reading wabe's status")
    }

    /// Stops the agent, so that it does not repair, and takes off every program but `kept`. A pinned link has no holder
    /// besides its pin, so removing that detaches it. `guard` and `admission` stand for those of all workloads.
    pub(crate) fn keep_only(&mut self, kept: &[&str]) -> Result<()> {
        self.stopped = place::agents(&self.name);
        for pid in &self.stopped {
            place::kill(*pid, rustix::process::Signal::STOP);
        }
        let links = format!("/run/wabe/{}/bpf/links", self.name);
        for entry in std::fs::read_dir(&links).with_context(|| links.clone())? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let program = file.split('-').next().unwrap_or_default();
            if !kept.contains(&program) {
                std::fs::remove_file(entry.path()).with_context(|| format!("{links}/{file}"))?;
            }
        }
        Ok(())
    }

    /// Most memory that the agent ever had, bytes.
    pub(crate) fn agent_memory(&self) -> Option<u64> {
        let pid = *place::agents(&self.name).first()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    }

    /// Bytes of memory of the mesh's maps, from their pins.
    pub(crate) fn map_memory(&self) -> Result<u64> {
        let mut sum = 0;
        let folder = format!("/run/wabe/{}/bpf/maps", self.name);
        for entry in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
            let shown =
                run(Command::new("bpftool").args(["map", "show", "-j", "pinned"]).arg(entry?.path()))?;
            let shown: Value = serde_json::from_str(&shown).context("reading bpftool's output")?;
            sum += shown["bytes_memlock"].as_u64().unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for pid in &self.stopped {
            place::kill(*pid, rustix::process::Signal::CONT);
        }
        if let Err(error) = run(&mut self.wabe(&["down"])) {
            eprintln!("cleaning up: {error:#}");
        }
    }
}

pub(crate) fn workload(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "bench", "labels": {"app": name}});
    document("mesh.wabe.dev/v1alpha1", "Workload", &metadata, spec)
}

/// Of workloads with that label.
pub(crate) fn service(name: &str, app: &str, ports: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "bench"});
    document("v1", "Service", &metadata, &json!({"selector": {"app": app}, "ports": ports}))
}

/// JSON is YAML.
pub(crate) fn document(version: &str, kind: &str, metadata: &Value, spec: &Value) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

fn named<'a>(list: &'a Value, name: &str) -> Result<&'a Value> {
    let full = format!("bench/{name}");
    let found = list.as_array().and_then(|list| list.iter().find(|it| it["name"] == full.as_str()));
    found.with_context(|| format!("{full} is not in the status"))
}

fn first(addresses: &Value) -> Result<&str> {
    let all = addresses.as_array().into_iter().flatten().filter_map(Value::as_str);
    all.into_iter().find(|it| it.contains('.')).context("no IPv4 address in the status")
}
