//! The real programs. Needs the network for Envoy, once.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use wabe_lab::tools;

#[test]
fn every_program_is_here_and_tells_its_version() {
    for name in tools::names().filter(|it| *it != "envoy") {
        let tool = tools::find(name).unwrap_or_else(|missing| panic!("{missing}"));
        // ipvsadm says nothing of itself where the kernel has no IPVS.
        let silent = name == "ipvsadm" && !Path::new("/proc/net/ip_vs").exists();
        let told = tool.version.starts_with(|it: char| it.is_ascii_digit());
        assert!(told || silent && tool.version.is_empty(), "{tool:?}");
        assert_eq!(tool.sha256.len(), 64, "{tool:?}");
        println!("{name} {} {}", tool.version, tool.path.display());
    }
}

#[test]
fn envoy_is_installed_once_and_is_what_the_lab_knows() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy");
    let tool = tools::envoy(&folder).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((tool.version.as_str(), tool.sha256.as_str()), (tools::ENVOY_VERSION, tools::ENVOY_SHA256));
    let installed = tool.path.metadata().expect("a file");
    assert_eq!(installed.permissions().mode() & 0o777, 0o755);
    assert!(tools::envoy_is_there(&folder));
    // Nothing else is left, and the second time nothing is written.
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
    let again = tools::envoy(&folder).expect("installed");
    assert_eq!(again, tool);
    let unchanged = again.path.metadata().and_then(|it| it.modified()).expect("a time");
    assert_eq!(unchanged, installed.modified().expect("a time"));
}
