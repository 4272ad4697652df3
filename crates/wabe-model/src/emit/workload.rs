//! `spec` of a `Workload`.

use std::{path::Path, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    DirectionLimits, Egress, Probe, ProbeAction, RestartPolicy, Workload, WorkloadLimits, emit::port_entry,
    manifest::scalar::duration_text,
};

pub(super) fn workload_spec(workload: &Workload) -> Value {
    let mut spec = Map::new();
    let mut put = |key: &str, value: Value, default: bool| {
        if !default {
            spec.insert(key.to_owned(), value);
        }
    };
    let directory = workload.working_directory.as_path();
    put("command", json!(workload.command), false);
    put("env", json!(workload.environment), workload.environment.is_empty());
    put("workingDir", json!(directory.to_string_lossy()), directory == Path::new("/"));
    put("privateTmp", json!(true), !workload.private_tmp);
    put("user", json!(workload.user), workload.user == "nobody");
    put("serviceAccount", json!(workload.service_account), workload.service_account == "default");
    put("capabilities", json!(workload.capabilities), workload.capabilities.is_empty());
    let restart = match workload.restart {
        RestartPolicy::Always => "Always",
        RestartPolicy::OnFailure => "OnFailure",
        RestartPolicy::Never => "Never",
    };
    put("restartPolicy", json!(restart), workload.restart == RestartPolicy::default());
    put(
        "readiness",
        workload.readiness.as_ref().map_or(Value::Null, readiness),
        workload.readiness.is_none(),
    );
    put("replicas", json!(workload.replicas), workload.replicas == 1);
    let ports = workload.ports.iter().map(|it| port_entry(Some(&it.name), it.port, it.transport)).collect();
    put("ports", ports, workload.ports.is_empty());
    put("weight", json!(workload.weight), workload.weight == 100);
    put("locality", json!(workload.locality), workload.locality.is_empty());
    let egress = match workload.egress {
        Egress::None => "none",
        Egress::Masquerade => "masquerade",
    };
    put("egress", json!(egress), workload.egress == Egress::default());
    put("limits", limits(&workload.limits), workload.limits == WorkloadLimits::default());
    put("grace", json!(duration_text(workload.grace)), workload.grace == Duration::from_secs(10));
    Value::Object(spec)
}

fn limits(limits: &WorkloadLimits) -> Value {
    let direction = |limits: &DirectionLimits| {
        let mut value = Map::new();
        for (name, limit) in
            [("connections", limits.connections), ("connectionsPerSecond", limits.per_second)]
        {
            if limit != 0 {
                value.insert(name.into(), json!(limit));
            }
        }
        Value::Object(value)
    };
    json!({ "outbound": direction(&limits.outbound), "inbound": direction(&limits.inbound) })
}

fn readiness(probe: &Probe) -> Value {
    let mut value = match &probe.action {
        ProbeAction::Tcp { port } => json!({ "tcp": { "port": port } }),
        ProbeAction::Http { port, path } => json!({ "http": { "port": port, "path": path } }),
        ProbeAction::Exec { command } => json!({ "exec": { "command": command } }),
    };
    let second = Duration::from_secs(1);
    for (key, duration, default) in [
        ("initialDelay", probe.initial_delay, Duration::ZERO),
        ("period", probe.period, second),
        ("timeout", probe.timeout, second),
    ] {
        if duration != default {
            value[key] = json!(duration_text(duration));
        }
    }
    if probe.failure_threshold != 3 {
        value["failureThreshold"] = json!(probe.failure_threshold);
    }
    value
}
