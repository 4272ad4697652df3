//! Routes of requests (Gateway API, attached to Services): compiled to tables, matched as a pure function.
//!
//! A table holds a row for each match of each rule, in the standard's order of precedence. Of `HTTPRoute`s: exact paths, then
//! expressions, then prefixes, each by their length; then rows that name a method, then those with more headers, with more
//! parameters. Of `GRPCRoute`s: by the length of the service's name, then of the method's, then by the number of headers. Then
//! the routes' names, and the order in which rules were written. The first row that matches decides.

mod conditions;
mod cors;
mod find;
mod table;

pub use conditions::{About, Condition, Reason, Status, conditions};
pub use cors::{allows, is_preflight};
pub use find::{HttpRequest, HttpRouter, Routed, joined};
pub use table::{Guards, HttpTable, TableBackend, TableRow, TableRule, attached};
pub use wabe_model::InvalidBackend;
