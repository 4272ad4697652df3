//! What a workload, and a command inside it, can't do.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;
use wabe_keeper::protocol::{ExecSpec, InstanceSpec};

use crate::fixture::{Keeper, eventually, exec_spec};

/// Tells about itself, one fact a line.
const FACTS: &str = "
    grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Groups):' /proc/self/status
    echo uid $(id -u) gid $(id -g)
    echo interfaces $(ls /sys/class/net)
    echo steering $(grep -cE ' - (cgroup2?|bpf) ' /proc/self/mountinfo)
    echo cgroupfs $(ls /sys/fs/cgroup 2>/dev/null | wc -l) bpffs $(ls /sys/fs/bpf 2>/dev/null | wc -l)
    echo meshes $(ls -A /run/wabe | wc -l)
    umask
    echo descriptors $(ls /proc/self/fd)
    echo session $([ $(cut -d ' ' -f 6 /proc/$$/stat) = $$ ] && echo own)
    echo environment $(env | tr '\\n' ';')
";

fn fact<'a>(facts: &'a str, name: &str) -> &'a str {
    let line = facts.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in: {facts}")).trim_start_matches(':').trim()
}

fn nobody() -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let fields: Vec<_> = line.split(':').collect();
    format!("{} gid {}", fields[2], fields[3])
}

#[test]
fn the_facts_of_a_workload_and_of_a_command_inside() {
    let keeper = Keeper::start();
    let mut spec = keeper.script(1, &format!("{FACTS} echo end; exec sleep 1000"));
    spec.environment = [("GREETING".into(), "hello".into())].into();
    keeper.run_until_started(spec);
    eventually("the facts are told", || keeper.log("test.w1-0").ends_with("end\n"));
    let inside = keeper.exec(1, &["sh", "-c", FACTS]).1;

    for facts in [keeper.log("test.w1-0"), inside] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(fact(&facts, set), "0000000000000000", "{set}");
        }
        assert_eq!(fact(&facts, "NoNewPrivs"), "1");
        assert_eq!(fact(&facts, "uid"), nobody());
        assert_eq!(fact(&facts, "Groups"), nobody().rsplit(' ').next().unwrap());
        assert_eq!(fact(&facts, "interfaces"), "eth0 lo");
        assert_eq!(fact(&facts, "steering"), "0");
        assert_eq!(fact(&facts, "cgroupfs"), "0 bpffs 0");
        assert_eq!(fact(&facts, "meshes"), "0");
        assert_eq!(fact(&facts, "0022"), "");
        // Its three, and the folder that `ls` reads.
        assert_eq!(fact(&facts, "descriptors"), "0 1 2 3");
        assert_eq!(fact(&facts, "session"), "own");
        let own: Vec<_> = fact(&facts, "environment ").split(';').collect();
        let known = ["GREETING=hello", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
        let extra: Vec<_> = own.iter().filter(|it| !known.contains(it) && !is_the_shells(it)).collect();
        assert!(extra.is_empty() && known.iter().all(|it| own.contains(it)), "{own:?}");
    }
}

/// What a shell adds.
fn is_the_shells(variable: &str) -> bool {
    variable.is_empty() || ["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|it| variable.starts_with(it))
}

#[test]
fn root_in_a_workload_has_no_power_over_the_kernel() {
    let keeper = Keeper::start();
    let spec = InstanceSpec { user: "root".into(), ..keeper.spec(1, &["sleep", "1000"]) };
    keeper.run_until_started(spec);
    let tries = [
        // Its own value, in case it is let.
        "cat /proc/sys/kernel/core_uses_pid > /proc/sys/kernel/core_uses_pid",
        "cat /proc/sys/net/ipv4/ip_forward > /proc/sys/net/ipv4/ip_forward",
        // No such command is known, in case it is let.
        "echo _ > /proc/sysrq-trigger",
        "umount /sys",
        "mount -t tmpfs none /mnt",
        "mount -t cgroup2 none /mnt",
        "mount -o remount,rw /proc/sys",
        "umount /run/wabe",
        "unshare --net true",
        "ip link set lo down",
        "touch /run/wabe/x",
        "ls /proc/1/root/",
    ];
    for attempt in tries {
        let (status, text) = keeper.exec(1, &["sh", "-c", attempt]);
        assert!(!status.success(), "{attempt}: {text}");
        assert!(!text.contains("not found"), "{attempt}: {text}");
    }
    // Not every kernel has each of them.
    let told = "for file in kcore keys timer_list; do [ ! -e /proc/$file ] || wc -c < /proc/$file; done";
    let (_, text) = keeper.exec(1, &["sh", "-c", told]);
    assert!(!text.is_empty() && text.lines().all(|line| line == "0"), "{text}");
}

#[test]
fn the_capabilities_asked_for_are_the_only_ones() {
    let keeper = Keeper::start();
    for (id, user) in [(1, "nobody"), (2, "root")] {
        let capabilities = vec!["NET_RAW".into(), "NET_BIND_SERVICE".into()];
        keeper.run_until_started(InstanceSpec {
            user: user.into(),
            capabilities,
            ..keeper.spec(id, &["sleep", "1000"])
        });
        let facts = keeper.exec(id, &["sh", "-c", FACTS]).1;
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(fact(&facts, set), "0000000000002400", "{set} of {user}");
        }
    }
    let command = ExecSpec { user: Some("root".into()), ..exec_spec(1, &["sh", "-c", FACTS]) };
    assert_eq!(fact(&keeper.exec_as(command).unwrap().1, "CapEff"), "0000000000002400");
}

/// They run as one user, so that nothing but their confinement keeps them apart.
#[test]
fn workloads_cannot_look_into_each_other() {
    let keeper = Keeper::start();
    let first = keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    keeper.run_until_started(keeper.spec(2, &["sleep", "1000"]));
    // Not descriptor 0: for a moment a shell's background process has none, before it is /dev/null.
    for look in
        ["cat /proc/$P/environ", "ls /proc/$P/root/", "readlink /proc/$P/fd/1", "readlink /proc/$P/ns/net"]
    {
        let (status, text) = keeper.exec(2, &["sh", "-c", &format!("P={first}; {look}")]);
        assert!(!status.success(), "{look}: {text}");
        // What it started itself is its own.
        let (status, text) = keeper.exec(2, &["sh", "-c", &format!("sleep 10 & P=$!; {look} && kill $P")]);
        assert!(status.success(), "{look}: {text}");
    }
}

#[test]
fn files_can_be_moved_between_folders() {
    let keeper = Keeper::start();
    let folder = keeper.folder().display();
    fs::set_permissions(keeper.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    // `ln` does not fall back on copying, as `mv` does.
    let script = format!("cd {folder} && mkdir a b && echo x > a/x && ln a/x b/x && rm a/x && cat b/x");
    assert_eq!(keeper.exec(1, &["sh", "-c", &script]).1, "x\n");
}

#[test]
fn a_tmp_of_its_own_is_empty_and_leaves_nothing() {
    let keeper = Keeper::start();
    // As a checkout below the host's /tmp would be.
    let folder = TempDir::with_prefix_in("wabe-of-its-own-", "/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("page"), "a page\n").unwrap();
    let shell = folder.path().join("shell");
    fs::copy("/bin/sh", &shell).unwrap();
    let looks = "ls -A /tmp | wc -l; echo x > /tmp/x && mkdir /tmp/y && mv /tmp/x /tmp/y && cat page; stat -c %a /tmp";
    let limit = "grep -c '^wabe /tmp tmpfs .*[,]size=[1-9]' /proc/mounts";
    let script = format!("{looks}; {limit}; echo end; exec sleep 1000");
    let mut spec = keeper.spec(1, &[shell.to_str().unwrap(), "-c", &script]);
    (spec.private_tmp, spec.working_directory) = (true, folder.path().into());
    keeper.run_until_started(spec);
    eventually("it looks", || keeper.log("test.w1-0").ends_with("end\n"));
    assert_eq!(keeper.log("test.w1-0"), "0\na page\n1777\n1\nend\n");
    assert!(!Path::new("/tmp/y").exists());
    // A command inside sees the same.
    assert_eq!(keeper.exec(1, &["sh", "-c", "ls /tmp/y; cat page"]).1, "x\na page\n");
    let in_tmp = ExecSpec { working_directory: Some("/tmp".into()), ..exec_spec(1, &["ls"]) };
    assert_eq!(keeper.exec_as(in_tmp).expect("can be executed").1, "y\n");
    // Another workload sees the host's.
    keeper.run_until_started(keeper.spec(2, &["sleep", "1000"]));
    let seen = format!("cat {}/page", folder.path().display());
    assert_eq!(keeper.exec(2, &["sh", "-c", &seen]).1, "a page\n");
}

#[test]
fn the_host_keeps_its_mounts() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(" - cgroup2 ").count();
    let before = mounts();
    let keeper = Keeper::start();
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
    assert!(before > 0);
    assert_eq!(mounts(), before);
    assert!(keeper.cgroup(1).exists());
}
