//! `Workload`.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use crate::{
    Capability, DirectionLimits, Egress, RestartPolicy, Transport, Workload, WorkloadLimits, WorkloadPort,
    manifest::{
        field::{Field, Shape},
        metadata::Metadata,
        names::{duration, labels, port, port_name, subdomain_name, transport},
        probe::probe,
        scalar::{nearest, shown},
    },
};

const SPEC: Shape = Shape {
    known: &[
        "command",
        "env",
        "workingDir",
        "privateTmp",
        "user",
        "serviceAccount",
        "capabilities",
        "restartPolicy",
        "readiness",
        "replicas",
        "ports",
        "weight",
        "locality",
        "egress",
        "grace",
        "limits",
    ],
    ignored: &[],
    refused: &[
        ("args", "is not supported", "write program and arguments into `command`"),
        ("template", "is a field of Deployments", "write its contents directly into `spec`"),
        ("selector", "is a field of Deployments", "leave it out"),
        ("containers", "is a field of Pods", "write `command` directly into `spec`"),
        ("image", "container images are not supported", "write a program of this machine into `command`"),
        ("readinessProbe", "is a field of Pods", "write `readiness`"),
        (
            "livenessProbe",
            "is not supported",
            "the nearest is `readiness`, and `restartPolicy` for a program that exits",
        ),
        ("startupProbe", "is not supported", "the nearest is `readiness`, which waits for the first success"),
        ("serviceAccountName", "is a field of Pods", "write `serviceAccount`"),
        ("securityContext", "is a field of Pods", "write `user` and `capabilities`"),
        ("terminationGracePeriodSeconds", "is a field of Pods", "write `grace`, as 10s"),
        ("resources", "is not supported yet, and not ignored", "leave it out"),
        ("volumes", "is not supported yet, and not ignored", "leave it out"),
        ("volumeMounts", "is not supported yet, and not ignored", "leave it out"),
        ("envFrom", "is not supported", "write the variables into `env`"),
    ],
};
const PORT: Shape = Shape {
    known: &["name", "port", "protocol"],
    ignored: &[],
    refused: &[
        ("containerPort", "is a field of Pods", "write `port`"),
        ("hostPort", "is a field of Pods", "leave it out; a workload has an address of its own"),
    ],
};
const VARIABLE: Shape = Shape {
    known: &["name", "value"],
    ignored: &[],
    refused: &[("valueFrom", "is not supported", "write `value`")],
};
const LIMITS: Shape = Shape { known: &["outbound", "inbound"], ignored: &[], refused: &[] };
const DIRECTION: Shape =
    Shape { known: &["connections", "connectionsPerSecond"], ignored: &[], refused: &[] };
const ONE_HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn workload(metadata: Option<Metadata<'_>>, spec: &Field<'_>, folder: &Path) -> Option<Workload> {
    let layer7 = metadata.as_ref().map(Metadata::layer7);
    let fields = spec.fields(&SPEC)?;
    let remedy = "write program and arguments, as `command: [nginx, -c, shop.conf]`";
    let command = fields.require("command", remedy).and_then(|it| self::command(&it, folder));
    let environment = fields.or("env", BTreeMap::new(), environment);
    let working_directory = fields.or("workingDir", PathBuf::from("/"), |it| working_directory(it, folder));
    let private_tmp = fields.or("privateTmp", false, Field::boolean);
    let user = fields.or("user", "nobody".to_owned(), user);
    let service_account = fields.or("serviceAccount", "default".to_owned(), subdomain_name);
    let capabilities = fields.or("capabilities", Vec::new(), capabilities);
    let restart = fields.or("restartPolicy", RestartPolicy::default(), |it| {
        it.choice(&[
            ("Always", RestartPolicy::Always),
            ("OnFailure", RestartPolicy::OnFailure),
            ("Never", RestartPolicy::Never),
        ])
    });
    let ports = fields.or("ports", Vec::new(), ports);
    let named = ports.as_deref().unwrap_or_default();
    let readiness = fields.or("readiness", None, |it| probe(it, named, folder).map(Some));
    let replicas = fields.or("replicas", 1, |it| it.integer("replicas", 0..=1000));
    let weight = fields.or("weight", 100, |it| it.integer("a weight", 1..=1000));
    let locality = fields.or("locality", BTreeMap::new(), labels);
    let egress = fields.or("egress", Egress::default(), |it| {
        it.choice(&[("none", Egress::None), ("masquerade", Egress::Masquerade)])
    });
    let grace = fields.or("grace", Duration::from_secs(10), |it| duration(it, Duration::ZERO, ONE_HOUR));
    let limits = fields.or("limits", WorkloadLimits::default(), limits);
    let metadata = metadata?;
    Some(Workload {
        name: metadata.name,
        labels: metadata.labels,
        service_account: service_account?,
        command: command?,
        environment: environment?,
        working_directory: working_directory?,
        private_tmp: private_tmp?,
        user: user?,
        capabilities: capabilities?,
        restart: restart?,
        readiness: readiness?,
        replicas: u32::try_from(replicas?).ok()?,
        ports: ports?,
        weight: u32::try_from(weight?).ok()?,
        locality: locality?,
        egress: egress?,
        grace: grace?,
        limits: limits?,
        layer7: layer7??,
    })
}

fn limits(field: &Field<'_>) -> Option<WorkloadLimits> {
    let fields = field.fields(&LIMITS)?;
    let direction = |field: &Field<'_>| {
        let fields = field.fields(&DIRECTION)?;
        let number = |name: &str| {
            let read = |it: &Field<'_>| u32::try_from(it.integer("a limit", 1..=1_000_000)?).ok();
            fields.or(name, 0, read)
        };
        let (connections, per_second) = (number("connections"), number("connectionsPerSecond"));
        Some(DirectionLimits { connections: connections?, per_second: per_second? })
    };
    let outbound = fields.or("outbound", DirectionLimits::default(), direction);
    let inbound = fields.or("inbound", DirectionLimits::default(), direction);
    Some(WorkloadLimits { outbound: outbound?, inbound: inbound? })
}

/// Program and arguments. A program with a slash that is relative is so to the manifest's folder.
pub(crate) fn command(field: &Field<'_>, folder: &Path) -> Option<Vec<String>> {
    if !field.is_list() && field.text().is_some() {
        return field
            .error("a command is a list", "write program and arguments apart, as [sh, -c, \"exec nginx\"]");
    }
    let mut command: Vec<String> = field.all(|it| it.argument().map(str::to_owned))?;
    let Some(program) = command.first_mut() else {
        return field
            .error("the list has no program", "write program and arguments, as [nginx, -c, shop.conf]");
    };
    if program.is_empty() {
        return field.error("the program's name is empty", "write the program first");
    }
    if program.contains('/') {
        let Some(absolute) = absolute(folder, program).to_str().map(str::to_owned) else {
            return field
                .error("the manifest's folder has a name that is not UTF-8", "write an absolute path");
        };
        *program = absolute;
    }
    Some(command)
}

fn working_directory(field: &Field<'_>, folder: &Path) -> Option<PathBuf> {
    match field.argument()? {
        "" => field.error("the path is empty", "write a folder, or leave the field out for /"),
        text => Some(absolute(folder, text)),
    }
}

/// Without `.`; `..` stays, since what it means depends on links.
fn absolute(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().filter(|it| *it != Component::CurDir).collect()
}

/// Kubernetes' list of names and values, or a mapping.
fn environment(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    let mut good = true;
    if field.is_list() {
        for item in field.items()? {
            let Some((name, value)) = variable(&item) else {
                good = false;
                continue;
            };
            if environment.insert(name.to_owned(), value).is_some() {
                good = false;
                item.error::<()>(format!("{} is given twice", shown(name)), "keep one of them");
            }
        }
    } else {
        for (name, value) in field.entries()? {
            if !is_variable_name(name) {
                good = false;
                field.key_error(name, format!("{} can't be a variable's name", shown(name)), VARIABLE_NAME);
            }
            match value.argument() {
                Some(text) => {
                    environment.insert(name.to_owned(), text.to_owned());
                }
                None => good = false,
            }
        }
    }
    good.then_some(environment)
}

const VARIABLE_NAME: &str = "it can't be empty, nor have `=` or NUL in it";

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn variable<'a>(item: &Field<'a>) -> Option<(&'a str, String)> {
    let fields = item.fields(&VARIABLE)?;
    let name = fields.require("name", "write the variable's name").and_then(|field| match field.text()? {
        it if is_variable_name(it) => Some(it),
        it => field.error(format!("{} can't be a variable's name", shown(it)), VARIABLE_NAME),
    });
    let value = fields.or("value", String::new(), |it| it.argument().map(str::to_owned));
    Some((name?, value?))
}

/// Name or number.
fn user(field: &Field<'_>) -> Option<String> {
    // (uid_t) -1 means "leave it as it is" to the kernel: the program would run as root.
    const LAST_UID: i64 = u32::MAX as i64 - 1;
    if field.number().is_some() {
        let number = field.integer("a user", 0..=LAST_UID)?;
        return if RESERVED_UIDS.contains(&number) { kept(field, number) } else { Some(number.to_string()) };
    }
    let text = field.argument()?;
    let unfit = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ',');
    let number_fits = match text.bytes().all(|c| c.is_ascii_digit()) {
        true => text.parse::<i64>().is_ok_and(|it| it <= LAST_UID),
        false => true,
    };
    if text.is_empty() || text.len() > 255 || text.starts_with('-') || text.contains(unfit) || !number_fits {
        return field.error(format!("{} can't be a user", shown(text)), "write a user's name or number");
    }
    match text.parse::<i64>() {
        Ok(number) if RESERVED_UIDS.contains(&number) => kept(field, number),
        Ok(_) | Err(_) => Some(text.to_owned()),
    }
}

/// Processes of meshes have users of their own among these, so that no workload can signal them. The keeper has the last word:
/// it knows names, too.
const RESERVED_UIDS: std::ops::RangeInclusive<i64> = 0x5762_0000..=0x5762_ffff;

fn kept(field: &Field<'_>, number: i64) -> Option<String> {
    let problem = format!("user {number} is kept for processes of the mesh itself");
    let (first, last) = RESERVED_UIDS.into_inner();
    field.error(problem, format!("write a user that is not between {first} and {last}"))
}

/// As in `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

fn capabilities(field: &Field<'_>) -> Option<Vec<Capability>> {
    let mut found: Vec<Capability> = Vec::new();
    let mut good = true;
    for item in field.items()? {
        match capability(&item) {
            Some(name) if found.contains(&name) => {
                good = false;
                item.error::<()>(format!("{name} is listed twice"), "list it once");
            }
            Some(name) => found.push(name),
            None => good = false,
        }
    }
    good.then_some(found)
}

fn capability(field: &Field<'_>) -> Option<Capability> {
    let text = field.text()?;
    let name = text.strip_prefix("CAP_").unwrap_or(text);
    if CAPABILITIES.contains(&name) {
        return Some(name.to_owned());
    }
    let remedy = match nearest(name, CAPABILITIES) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "see capabilities(7); write it in capitals, as NET_RAW".to_owned(),
    };
    field.error(format!("{} is no capability", shown(text)), remedy)
}

fn ports(field: &Field<'_>) -> Option<Vec<WorkloadPort>> {
    let mut found: Vec<WorkloadPort> = Vec::new();
    let mut good = true;
    for item in field.items()? {
        match workload_port(&item) {
            Some(port) if found.iter().any(|it| it.name == port.name) => {
                good = false;
                item.error::<()>(
                    format!("another port is called {}", port.name),
                    "names of ports must differ",
                );
            }
            Some(port) => found.push(port),
            None => good = false,
        }
    }
    good.then_some(found)
}

fn workload_port(field: &Field<'_>) -> Option<WorkloadPort> {
    let fields = field.fields(&PORT)?;
    let name =
        fields.require("name", "name it; a number alone needs no entry here").and_then(|it| port_name(&it));
    let number =
        fields.require("port", "write the number that the program listens on").and_then(|it| port(&it));
    let transport = fields.or("protocol", Transport::Tcp, transport);
    Some(WorkloadPort { name: name?, port: number?, transport: transport? })
}
