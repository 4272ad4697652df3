//! Files but those of one folder, which can be read. What is open stays so.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};

use super::ConfineError;

/// With what newer kernels can refuse on top: truncating, devices, binding to a port, sockets of others by name, signals.
/// `connect` stays: whom a socket may reach is decided by the mesh's own programs.
pub(super) fn give_up(readable: &Path) -> Result<(), ConfineError> {
    let folder = PathFd::new(readable)?;
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(ABI::V6))?
        .set_compatibility(CompatLevel::HardRequirement)
        .create()?
        .add_rule(PathBeneath::new(folder, AccessFs::ReadFile | AccessFs::ReadDir))?
        .restrict_self()?;
    Ok(())
}
