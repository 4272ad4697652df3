//! What the running kernel offers.

use std::path::Path;

use aya::sys::{is_map_supported, is_program_supported};

use crate::{
    attach::clsact,
    features::{KERNEL_FEATURES, KernelFeature, Otherwise, Test},
    sys,
};

/// One thing that the mesh needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// Whether the kernel has it.
    pub present: bool,
    /// What to do if not.
    pub remedy: &'static str,
}

/// Tries what the mesh can't do without, by loading trifles; nothing stays behind.
pub fn probe() -> Vec<Feature> {
    let feature = |it: &KernelFeature| match it.otherwise {
        Otherwise::Refuses(remedy) => Some(Feature { name: it.name, present: is_present(it), remedy }),
        Otherwise::Instead(_) | Otherwise::Weaker(_) => None,
    };
    KERNEL_FEATURES.iter().filter_map(feature).collect()
}

/// What the kernel lacks and the mesh does without, for the current network namespace and user.
pub fn lacking() -> Vec<&'static KernelFeature> {
    let optional = |it: &&KernelFeature| !matches!(it.otherwise, Otherwise::Refuses(_));
    KERNEL_FEATURES.iter().filter(optional).filter(|it| !is_present(it)).collect()
}

impl KernelFeature {
    /// For people: that the kernel lacks it, and what then.
    pub fn lack(&self) -> String {
        let Self { name, since, otherwise, .. } = self;
        let (Otherwise::Refuses(what) | Otherwise::Instead(what) | Otherwise::Weaker(what)) = otherwise;
        format!("this kernel lacks {name} (Linux {since}): {what}")
    }
}

fn is_present(feature: &KernelFeature) -> bool {
    match feature.test {
        Test::Btf => Path::new("/sys/kernel/btf/vmlinux").exists(),
        Test::Program(kind) => is_program_supported(kind).unwrap_or(false),
        Test::Map(kind) => is_map_supported(kind).unwrap_or(false),
        Test::Tcx => !clsact::is_needed(),
        Test::Landlock(version) => sys::landlock_version() >= version,
        Test::Unseen => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_names_the_feature_the_kernel_that_has_it_and_what_then() {
        for feature in &KERNEL_FEATURES {
            let text = feature.lack();
            assert!(text.contains(feature.name) && text.contains(feature.since), "{text}");
        }
    }

    #[test]
    fn every_feature_is_either_needed_or_done_without() {
        let needed = probe();
        for feature in lacking() {
            assert!(needed.iter().all(|it| it.name != feature.name), "{}", feature.name);
        }
    }
}
