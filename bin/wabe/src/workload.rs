//! Which workload a word on the command line means.

use std::{collections::BTreeSet, fmt};

use wabe_keeper::{client::Client, layout::Mesh, protocol::InstanceState};
use wabe_model::{Kind, ObjectName};

use crate::{ask, failure::Failure};

/// `NAME` or `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    namespace: Option<String>,
    name: String,
}

impl Word {
    pub(crate) fn new(text: &str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) => Self { namespace: Some(namespace.into()), name: name.into() },
            None => Self { namespace: None, name: text.into() },
        }
    }

    /// Whether it may mean this one (`namespace/name`).
    pub(crate) fn may_mean(&self, full: &str) -> bool {
        let (namespace, name) = full.split_once('/').unwrap_or(("", full));
        self.name == name && self.namespace.as_deref().is_none_or(|it| it == namespace)
    }

    /// The only one of these that it may mean.
    pub(crate) fn only<'a>(
        &self,
        what: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, Failure> {
        let known: BTreeSet<&str> = known.into_iter().collect();
        let meant: Vec<&str> = known.iter().copied().filter(|full| self.may_mean(full)).collect();
        match meant.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(Failure::refused(format!("there is no {what} {self}; {}", list(&known)))),
            several => Err(Failure::refused(format!(
                "{self} may be {}; write the namespace too",
                several.join(" or ")
            ))),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The workload of the mesh's objects that is meant.
pub(crate) fn object(mesh: &Mesh, text: &str) -> Result<ObjectName, Failure> {
    let objects = ask::objects(mesh, Some(Kind::Workload))?;
    let names: Vec<String> = objects.workloads().map(|workload| workload.name.to_string()).collect();
    Ok(name(&Word::new(text).only("workload", names.iter().map(String::as_str))?))
}

/// The running replica that is meant: the one with this number, else the first that is ready, else the first. Asks the
/// keeper, so that it works without an agent.
pub(crate) fn instance(mesh: &Mesh, text: &str, replica: Option<u32>) -> Result<InstanceState, Failure> {
    let all = Client::connect(mesh)?.list()?;
    let full = Word::new(text).only("running workload", all.iter().map(|it| it.spec.workload.as_str()))?;
    let of_it = all.into_iter().filter(|it| it.spec.workload == full);
    let mut fitting: Vec<InstanceState> =
        of_it.filter(|it| replica.is_none_or(|number| it.spec.replica == number)).collect();
    // A successor is ready before its predecessor ends; the later one of a place is the one that stays.
    fitting.sort_by_key(|it| (!it.ready, it.spec.replica, std::cmp::Reverse(it.spec.id)));
    let none = || Failure::refused(format!("{full} has no replica {}", replica.unwrap_or_default()));
    fitting.into_iter().next().ok_or_else(none)
}

/// From `namespace/name`.
pub(crate) fn name(full: &str) -> ObjectName {
    let (namespace, name) = full.split_once('/').unwrap_or(("default", full));
    ObjectName::new(namespace, name)
}

fn list(known: &BTreeSet<&str>) -> String {
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let some: Vec<&str> = known.iter().copied().take(10).collect();
    let more = if known.len() > some.len() { ", ..." } else { "" };
    format!("there are {}{more}", some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suffices_where_it_is_the_only_one() {
        let known = ["shop/a", "shop/b", "bank/b"];
        assert_eq!(Word::new("a").only("workload", known).expect("the only one"), "shop/a");
        assert_eq!(Word::new("bank/b").only("workload", known).expect("the only one"), "bank/b");
        let two = Word::new("b").only("workload", known).expect_err("two of them");
        assert!(two.message().contains("bank/b or shop/b"), "{}", two.message());
        let none = Word::new("c").only("workload", known).expect_err("none of them");
        assert!(
            none.message().contains("there is no workload c; there are bank/b, shop/a"),
            "{}",
            none.message()
        );
    }
}
