//! Capabilities: none but those asked for, not even to be gained later.

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, configure_capability_in_ambient_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

/// A set that a process may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(CapabilitySet);

impl Capabilities {
    /// From names without `CAP_`.
    pub(super) fn parse(names: &[String]) -> Result<Self, String> {
        let mut set = CapabilitySet::empty();
        for name in names {
            let upper = name.to_ascii_uppercase();
            let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
            set |= CapabilitySet::from_name(plain).ok_or_else(|| {
                format!("capability {name} does not exist: see capabilities(7) for the names")
            })?;
        }
        Ok(Self(set))
    }

    /// Takes all others out of the bounding set. Needs SETPCAP, so it comes before [`Capabilities::keep_only`].
    pub(super) fn limit(self) -> Result<(), String> {
        let missing = self.0 - permitted()?;
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
            return Err(format!(
                "the keeper itself has no {}: ask for less, or start it with more",
                names.join(", ")
            ));
        }
        for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            match capability_is_in_bounding_set(capability) {
                Ok(true) if !self.0.contains(capability) => {
                    remove_capability_from_bounding_set(capability)
                        .map_err(|error| format!("can't give up a capability: {error}"))?
                }
                Ok(_) => {}
                // The kernel knows no more.
                Err(Errno::INVAL) => break,
                Err(error) => return Err(format!("can't ask for capabilities: {error}")),
            }
        }
        Ok(())
    }

    /// Gives up all others, and lets these pass to the next program if the user is not root (root's do anyway).
    pub(super) fn keep_only(self, ambient: bool) -> Result<(), String> {
        let all = CapabilitySets { effective: self.0, permitted: self.0, inheritable: self.0 };
        clear_ambient_capability_set()
            .and_then(|()| set_capabilities(None, all))
            .map_err(|error| format!("can't give up capabilities: {error}"))?;
        let raised = if ambient { self.0 } else { CapabilitySet::empty() };
        raised
            .iter()
            .try_for_each(|capability| configure_capability_in_ambient_set(capability, true))
            .map_err(|error| format!("can't pass on a capability: {error}"))
    }
}

fn permitted() -> Result<CapabilitySet, String> {
    Ok(capabilities(None).map_err(|error| format!("can't ask for capabilities: {error}"))?.permitted)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    fn parse(names: &[&str]) -> Result<Capabilities, String> {
        Capabilities::parse(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn knows_the_kernels_names() {
        let both = CapabilitySet::NET_RAW | CapabilitySet::NET_BIND_SERVICE;
        assert_eq!(parse(&["NET_RAW", "cap_net_bind_service"]), Ok(Capabilities(both)));
        assert_eq!(parse(&[]), Ok(Capabilities(CapabilitySet::empty())));
    }

    #[test]
    fn refuses_a_name_that_it_does_not_know() {
        assert!(parse(&["NET_RAW", "FLY"]).unwrap_err().contains("FLY does not exist"));
    }
}
