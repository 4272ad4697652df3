//! Things that selectors choose among: each selector looks at few of them.

use std::collections::BTreeMap;

/// Things by their namespaces, their labels' keys and their values.
#[derive(Clone, Debug)]
pub struct ByLabels<'a, T>(Named<'a, Named<'a, Named<'a, Vec<T>>>>);

type Named<'a, T> = BTreeMap<&'a str, T>;

impl<'a, T> ByLabels<'a, T> {
    /// From things with their namespaces and labels.
    pub fn of(things: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>, T)>) -> Self
    where
        T: Copy,
    {
        let mut all: Named<'_, Named<'_, Named<'_, Vec<T>>>> = BTreeMap::new();
        for (namespace, labels, thing) in things {
            let by_key = all.entry(namespace).or_default();
            for (key, value) in labels {
                by_key.entry(key).or_default().entry(value).or_default().push(thing);
            }
        }
        Self(all)
    }

    /// All that a selector may choose in a namespace, in the order in which they were given: those with the rarest of its labels.
    /// Whether they have the others is left to the caller. None, if it has no label.
    pub fn candidates(&self, namespace: &str, selector: &BTreeMap<String, String>) -> &[T] {
        let Some(by_key) = self.0.get(namespace) else { return &[] };
        let mut rarest: Option<&[T]> = None;
        for (key, value) in selector {
            let found = by_key.get(key.as_str()).and_then(|it| it.get(value.as_str()));
            let found = found.map_or(&[][..], Vec::as_slice);
            if rarest.is_none_or(|it| found.len() < it.len()) {
                rarest = Some(found);
            }
        }
        rarest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_the_rarest_label_in_the_namespace() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split_terminator(',').map(|it| (it[..1].to_owned(), it[1..].to_owned())).collect()
        };
        let (one, two, three) = (labels("ax,bx"), labels("ax,by"), labels("ax"));
        let all = [("shop", &one, 1), ("shop", &two, 2), ("bank", &one, 3), ("shop", &three, 4)];
        let found = ByLabels::of(all);
        for (namespace, selector, want) in [
            ("shop", "ax", &[1, 2, 4][..]),
            ("shop", "ax,bx", &[1]),
            ("shop", "ay,bx", &[]),
            ("shop", "cx", &[]),
            ("bank", "ax", &[3]),
            ("shop", "", &[]),
        ] {
            assert_eq!(found.candidates(namespace, &labels(selector)), want, "{namespace} {selector}");
        }
    }
}
