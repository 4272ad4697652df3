//! What the kernel makes of rules that look at requests, which it can't see.

use wabe_model::{PolicyAction, Rule};

/// What policies are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Connections. Those to a workload that has rules about requests come from the node's proxy, which judges what they carry
    /// ([`crate::requests`]): the kernel admits whom an ALLOW rule might admit, and leaves it to the proxy to refuse by a DENY
    /// rule or to mark by an AUDIT rule.
    Connections,
    /// Datagrams, which nobody reads: an ALLOW rule about requests never matches, and of others what they say of requests counts
    /// as met. So Istio has it for what is no HTTP.
    Datagrams,
}

impl Traffic {
    /// Whether a rule is left out. What those that stay say of requests is not looked at.
    pub(crate) fn leaves_out(self, action: PolicyAction, rule: &Rule) -> bool {
        let of_these = match (self, action) {
            (Self::Connections, PolicyAction::Allow) => false,
            (Self::Connections, PolicyAction::Deny | PolicyAction::Audit) => true,
            (Self::Datagrams, PolicyAction::Allow) => true,
            (Self::Datagrams, PolicyAction::Deny | PolicyAction::Audit) => false,
        };
        of_these && rule.looks_at_requests()
    }
}
