//! Keeping workloads from each other's processes.
//!
//! Workloads may well run as one user (nobody, unless written otherwise), and a process may look into another of its
//! user: trace it, read its environment, take its sockets by `pidfd_getfd`, and thus act with its identity. A process
//! in a Landlock domain may do that to processes of its own domain only, so each gets a domain. Where the kernel can
//! (6.12), signals are kept in, too, but for commands run beside a workload: `nginx -s reload` is to work there.

use landlock::{
    AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope,
};

/// Makes a domain of this process and those that it will start. Has no other effect on files: a domain must restrict
/// something, so it is one thing, which is then allowed everywhere. It is linking and moving files between folders,
/// because that is refused in any domain that doesn't say otherwise.
pub(super) fn isolate(keeps_signals_in: bool) -> Result<(), String> {
    let root = PathFd::new("/").map_err(|error| format!("can't open /: {error}"))?;
    domain(root, keeps_signals_in).map_err(|error| {
        format!(
            "can't be kept apart from other workloads: {error}; Wabe needs a kernel of 5.19 or later with Landlock \
             (CONFIG_SECURITY_LANDLOCK, and `landlock` in `lsm=` of its command line)"
        )
    })
}

fn domain(root: PathFd, keeps_signals_in: bool) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort);
    if keeps_signals_in {
        rules = rules.scope(Scope::Signal)?;
    }
    rules
        .set_compatibility(CompatLevel::HardRequirement)
        .create()?
        .add_rule(PathBeneath::new(root, AccessFs::Refer))?
        .restrict_self()?;
    Ok(())
}
