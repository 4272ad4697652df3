use std::{collections::BTreeSet, time::Duration};

use wabe_agent::api::Status;
use wabe_datapath::{Feature, MapUse};
use wabe_keeper::{
    layout::Mesh,
    net::inspect::Lack,
    protocol::{ChildState, KeeperState},
};

use super::*;

fn child(name: &str, pid: Option<u32>) -> ChildState {
    ChildState {
        name: name.into(),
        pid,
        restarts: 0,
        since_ms: 0,
        last_exit: None,
        problem: None,
        draining: Vec::new(),
    }
}

fn keeper() -> KeeperState {
    KeeperState {
        protocol: 1,
        version: "1".into(),
        pid: 10,
        mesh: "m".into(),
        since_ms: 0,
        children: vec![child("agent", Some(11)), child("dns", Some(12)), child("proxy", Some(13))],
    }
}

fn attachment(pin: &str, workload: Option<u32>, state: AttachmentState) -> Attachment {
    Attachment { pin: pin.into(), workload, state }
}

fn healthy() -> MeshFacts {
    let map = MapUse { name: "SERVICES", used: Some(1), limit: 100 };
    let living = Living {
        keeper: keeper(),
        is_here: true,
        has_egress: true,
        agent: Ok(Box::new(Status { generation: 7, agent: 11, ..Status::default() })),
        attachments: Ok(vec![attachment("/p/wabe_create", None, AttachmentState::Attached)]),
        tables: Ok((7, vec![map])),
        lacks: Ok(Vec::new()),
        foreign: Vec::new(),
        unwritable: None,
        clock_behind: Duration::ZERO,
        behind: Vec::new(),
        room: Some(1 << 30),
        descriptors: vec![("keeper".into(), 10, 1024)],
    };
    let there = vec![Leftover::Interface("wabe-123456".into()), Leftover::Table("wabe_m".into())];
    MeshFacts { mesh: Mesh::new("m").expect("a name"), leftovers: Ok(there), living: Some(living) }
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|it| it.code).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(mesh(&healthy()), []);
    let gone = MeshFacts { living: None, leftovers: Ok(Vec::new()), ..healthy() };
    assert_eq!(mesh(&gone), []);
    let machine_facts = MachineFacts { needed: Vec::new(), lacking: Vec::new(), memory_left: Some(1 << 40) };
    assert_eq!(machine(&machine_facts), []);
}

/// A way to break a mesh, what is found then, and whether that can be repaired.
type Case = (fn(&mut Living), &'static str, Severity, bool);

#[test]
fn each_defect_is_found_by_itself() {
    use AttachmentState::{Detached, Elsewhere, Missing};
    let cases: [Case; 26] = [
        (|it| it.agent = Err("no".into()), "agent_away", Severity::Error, false),
        (|it| it.keeper.children[1].pid = None, "dns_away", Severity::Error, false),
        (|it| it.keeper.children[2].pid = None, "proxy_away", Severity::Error, false),
        (|it| drop(it.keeper.children.remove(1)), "dns_away", Severity::Error, false),
        (|it| it.behind = vec![Some(5)], "proxy_behind", Severity::Error, false),
        (|it| it.behind = vec![None], "proxy_behind", Severity::Warning, false),
        (
            |it| it.agent.as_mut().expect("a status").warnings.push("look at this".into()),
            "agent_warns",
            Severity::Warning,
            false,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/wabe_create", None, Missing)]),
            "link_missing",
            Severity::Error,
            true,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/guard-1", Some(1), Missing)]),
            "link_missing",
            Severity::Error,
            true,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/wabe_create", None, Detached)]),
            "link_detached",
            Severity::Error,
            true,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/guard-1", Some(1), Detached)]),
            "link_detached",
            Severity::Error,
            false,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/wabe_create", None, Elsewhere)]),
            "link_elsewhere",
            Severity::Error,
            false,
        ),
        (
            |it| it.attachments = Ok(vec![attachment("/p/guard-1", Some(1), Elsewhere)]),
            "link_elsewhere",
            Severity::Error,
            false,
        ),
        (
            |it| it.lacks = Ok(vec![("s/server".into(), Lack::Up(7))]),
            "workload_cut_off",
            Severity::Error,
            false,
        ),
        (|it| it.lacks = Err("no".into()), "unreadable", Severity::Warning, false),
        (|it| it.attachments = Err("no".into()), "unreadable", Severity::Error, false),
        (|it| it.tables = Err("no".into()), "tables_unreadable", Severity::Error, false),
        (|it| it.tables = Ok((8, Vec::new())), "generation_differs", Severity::Warning, false),
        (
            |it| it.tables.as_mut().expect("tables").1[0].used = Some(90),
            "map_nearly_full",
            Severity::Warning,
            false,
        ),
        (|it| it.foreign.push("theirs".into()), "foreign_program", Severity::Info, false),
        (|it| it.unwritable = Some("no".into()), "folder_unfit", Severity::Error, false),
        (|it| it.room = Some(1000), "folder_unfit", Severity::Warning, false),
        (|it| it.descriptors[0].1 = 922, "descriptors_short", Severity::Warning, false),
        (|it| it.clock_behind = Duration::from_secs(9), "clock_behind", Severity::Warning, false),
        (|it| it.is_here = false, "other_namespace", Severity::Info, false),
        (
            |it| it.agent.as_mut().expect("a status").warnings.push("this kernel lacks tcx".into()),
            "",
            Severity::Info,
            false,
        ),
    ];
    for (break_it, code, severity, fixable) in cases {
        let mut facts = healthy();
        break_it(facts.living.as_mut().expect("it lives"));
        let found = mesh(&facts);
        let expected: Vec<&str> = Some(code).filter(|it| !it.is_empty()).into_iter().collect();
        assert_eq!(codes(&found), expected);
        for finding in found {
            assert_eq!((finding.severity, finding.repair.is_some()), (severity, fixable), "{code}");
            assert!(!finding.remedy.is_empty() && finding.mesh.as_deref() == Some("m"), "{finding:?}");
        }
    }
}

#[test]
fn what_is_missing_on_the_host_is_told() {
    let mut facts = healthy();
    facts.leftovers = Ok(vec![Leftover::Table("wabe_m".into())]);
    assert_eq!(codes(&mesh(&facts)), ["interface_missing"]);
    facts.leftovers = Ok(vec![Leftover::Interface("wabe-123456".into())]);
    assert_eq!(codes(&mesh(&facts)), ["table_missing"]);
    facts.living.as_mut().expect("it lives").has_egress = false;
    assert_eq!(codes(&mesh(&facts)), [""; 0]);
}

#[test]
fn what_a_dead_mesh_left_is_swept_up() {
    let left = vec![Leftover::Folder("/run/wabe/m".into())];
    let found = mesh(&MeshFacts { living: None, leftovers: Ok(left), ..healthy() });
    assert_eq!(codes(&found), ["leftovers"]);
    assert_eq!(found[0].repair, Some(Repair::Sweep("m".into())));
    // Whoever runs may be somebody's work: that takes more than `--fix`.
    let left = vec![Leftover::Process { pid: 1, name: "app".into() }, Leftover::Folder("/run/wabe/m".into())];
    let found = mesh(&MeshFacts { living: None, leftovers: Ok(left), ..healthy() });
    assert_eq!((codes(&found), &found[0].repair), (vec!["keeper_away"], &None));
    let found = mesh(&MeshFacts { living: None, leftovers: Err("no".into()), ..healthy() });
    assert_eq!(codes(&found), ["unreadable"]);
}

#[test]
fn what_the_machine_is_short_of_is_told() {
    let sk_lookup = Feature {
        name: "sk_lookup",
        present: false,
        lanes: &["direct", "datagrams"],
        remedy: "a newer kernel",
    };
    let rings = Feature { name: "rings", present: true, lanes: &["names"], ..sk_lookup };
    let facts = MachineFacts {
        needed: vec![sk_lookup, rings],
        lacking: wabe_datapath::KERNEL_FEATURES.iter().collect(),
        memory_left: Some(1 << 20),
    };
    let found = machine(&facts);
    assert_eq!(found.len(), 2 + wabe_datapath::KERNEL_FEATURES.len());
    assert_eq!(found[0].severity, Severity::Error);
    assert!(found[0].what.contains("sk_lookup, needed for: direct, datagrams;"), "{}", found[0].what);
    let lacking: Vec<&str> =
        lanes(&facts).into_iter().filter(|it| !it.lacks.is_empty()).map(|it| it.name).collect();
    assert_eq!(lacking, ["direct", "datagrams"]);
    assert_eq!(found.last().map(|it| it.code), Some("memory_short"));
}

#[test]
fn every_code_is_in_the_manual_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let manual = std::fs::read_to_string(path).expect("docs/operations.md");
    let section =
        manual.split("## Doctor").nth(1).and_then(|it| it.split("\n## ").next()).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(told, CODES);
    assert_eq!(CODES.iter().collect::<BTreeSet<_>>().len(), CODES.len());
}
