//! Routes of requests (Gateway API, attached to Services): compiled to tables, matched as a pure function.
//!
//! A table holds a row for each match of each rule, in the standard's order of precedence: exact paths, then prefixes by
//! their length, then rows that name a method, then those with more headers, with more parameters; then the routes' names, and
//! the order in which rules were written. The first row that matches decides.

mod find;
mod table;

pub use find::{HttpRequest, HttpRouter, Routed, joined};
pub use table::{HttpTable, TableBackend, TableRow, TableRule, attached};
pub use wabe_model::InvalidBackend;
