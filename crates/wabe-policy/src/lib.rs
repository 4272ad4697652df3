//! Authorization policies compiled to the tables that the kernel reads, and routes of requests compiled to those that the
//! proxy reads ([`http`], [`stream`]); policies that look at requests ([`requests`]), which only the proxy sees; and what both
//! compute alike of shares ([`spread`]). Of policies:
//!
//! Policies are lists of rules, and rules lists of alternatives; the kernel should walk neither. It needs not, because
//! a rule looks at three things only: who calls (identity), what for (port), where from (source address). Each of them
//! takes many values, but a workload's policies tell few of those apart. So for each of the three:
//!
//! 1. Values that no rule can tell apart form a *class*. What the rules ask of an identity, a port or an address is
//!    written down as a vector (one place a rule, or a pair of address lists); equal vectors are one class.
//! 2. The rules are applied once to each combination of classes, in Istio's order of decision.
//! 3. Classes that get the same verdicts in all combinations are merged, which makes them as few as they can be.
//!
//! What remains is {class of identity x class of port x class of address} -> verdict, complete, and three small tables
//! that say which class a value is in. A verdict is then at most four look-ups whatever the number of policies: the
//! identity's class (hash), the port's class (hash; no row is class 0, "a port that no rule names"), the address's class
//! (longest prefix; no row is class 0, "an address that no rule names") and the verdict (hash).
//!
//! Addresses: IPv4 lies in the trie as `::ffff:0:0/96`. Blocks of one family never match addresses of the other, so
//! under an IPv6 block that covers that range (`::/0`) the range gets an entry of its own. A block that is *written*
//! as a mapped one (`::ffff:10.0.0.0/104`) is the IPv4 block: else it would be a rule that never matches.
//!
//! Callers without identity (strangers) have empty names. No ALLOW rule admits them unless it names their address: the
//! alternative of `from` that matches, or a condition of `when`, has `ipBlocks`.
//!
//! [`evaluate`] interprets the policies directly and shares no matching code with [`compile`]: it is the specification,
//! and a property test holds the tables against it. This crate never does I/O, keeps no state and knows neither table
//! ids in use nor maps; the agent, the proxy and the command line may depend on it.
#![forbid(unsafe_code)]

mod applicable;
mod compile;
mod error;
mod evaluate;
pub mod http;
pub mod requests;
mod rule_ref;
pub mod spread;
pub mod stream;
mod table;
mod traffic;

pub use applicable::applicable;
pub use compile::{ROW_LIMIT, compile};
pub use error::CompileError;
pub use evaluate::{Decision, Evaluation, evaluate};
pub use rule_ref::RuleRef;
pub use table::CompiledPolicy;
pub use traffic::Traffic;
