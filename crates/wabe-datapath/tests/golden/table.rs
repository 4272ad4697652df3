//! A checked-in table of numbers of programs.

use std::collections::BTreeMap;

/// Programs and what compiled them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Golden {
    /// Lines about compiler, linker and, where it counts, kernel.
    pub(crate) tools: Vec<String>,
    /// Instructions of each.
    pub(crate) programs: BTreeMap<String, u64>,
}

impl Golden {
    /// The file, with `head` before all.
    pub(crate) fn render(&self, head: &str) -> String {
        let tools = self.tools.iter().map(|line| format!("tool: {line}"));
        let programs = self.programs.iter().map(|(name, count)| format!("{name} {count}"));
        let lines: Vec<String> = [head.to_owned()].into_iter().chain(tools).chain(programs).collect();
        lines.join("\n") + "\n"
    }

    /// Reads what [`Golden::render`] wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let mut golden = Self { tools: Vec::new(), programs: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(tool) = line.strip_prefix("tool: ") {
                golden.tools.push(tool.to_owned());
            } else if let Some((name, count)) = line.rsplit_once(' ')
                && let Ok(count) = count.parse()
            {
                golden.programs.insert(name.to_owned(), count);
            }
        }
        golden
    }

    /// What is wrong with `built`, one line for each program.
    pub(crate) fn complaints(&self, built: &Self) -> Vec<String> {
        let exact = self.tools == built.tools;
        let mut names: Vec<&String> = self.programs.keys().chain(built.programs.keys()).collect();
        names.sort();
        names.dedup();
        let judge = |name: &String| match (self.programs.get(name), built.programs.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) if !exact && old.abs_diff(*new) * 10 <= *old => None,
            (Some(old), Some(new)) => Some(format!("{name} has {new} instructions, not {old}")),
            (None, Some(new)) => Some(format!("{name} is new, with {new} instructions")),
            (Some(_), None) => Some(format!("{name} is gone")),
            (None, None) => None,
        };
        names.into_iter().filter_map(judge).collect()
    }
}

#[test]
fn the_golden_file_reads_as_it_was_written() {
    let golden = golden(&["rustc 1", "linker 2"], &[("wabe_a", 7), ("wabe_b", 100)]);
    assert_eq!(Golden::parse(&golden.render("# a head")), golden);
}

#[test]
fn the_same_tools_must_make_the_same_programs() {
    let old = golden(&["rustc 1"], &[("wabe_a", 100)]);
    assert!(old.complaints(&golden(&["rustc 1"], &[("wabe_a", 100)])).is_empty());
    assert_eq!(old.complaints(&golden(&["rustc 1"], &[("wabe_a", 101)])).len(), 1);
    assert_eq!(old.complaints(&golden(&["rustc 1"], &[("wabe_b", 100)])).len(), 2);
}

#[test]
fn other_tools_may_differ_by_a_tenth() {
    let old = golden(&["rustc 1"], &[("wabe_a", 100)]);
    for (count, complaints) in [(90, 0), (110, 0), (89, 1), (111, 1)] {
        assert_eq!(old.complaints(&golden(&["rustc 2"], &[("wabe_a", count)])).len(), complaints, "{count}");
    }
    assert_eq!(old.complaints(&golden(&["rustc 2"], &[])).len(), 1);
}

fn golden(tools: &[&str], programs: &[(&str, u64)]) -> Golden {
    Golden {
        tools: tools.iter().map(ToString::to_string).collect(),
        programs: programs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}
