//! Counts of calls, by who answered and by what went wrong.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;

use crate::call::Answer;

/// Calls counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    answers: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one call.
    pub(crate) fn count(&mut self, outcome: Result<Answer>) {
        let (map, key) = match outcome {
            Ok(answer) => (&mut self.answers, answer.served_by),
            Err(error) => (&mut self.failures, format!("{error:#}")),
        };
        *map.entry(key).or_default() += 1;
    }

    /// Adds another tally's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.answers, &other.answers), (&mut self.failures, &other.failures)] {
            for (key, count) in theirs {
                *mine.entry(key.clone()).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ok, failed): (u64, u64) = (self.answers.values().sum(), self.failures.values().sum());
        write!(f, "calls {:>5}  ok {ok:>5}  failed {failed:>3}", ok + failed)?;
        for (name, count) in &self.answers {
            write!(f, "  {name} {count:>4}")?;
        }
        for (reason, count) in &self.failures {
            write!(f, "  [{count} x {reason}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use hyper::StatusCode;

    use super::*;

    fn answer(served_by: &str) -> Result<Answer> {
        Ok(Answer { status: StatusCode::OK, served_by: served_by.into() })
    }

    #[test]
    fn counts_by_who_answered_and_by_what_failed() {
        let mut tally = Tally::default();
        for outcome in
            [answer("catalogue-v1"), answer("catalogue-v2"), answer("catalogue-v1"), Err(anyhow!("no"))]
        {
            tally.count(outcome);
        }
        let mut total = Tally::default();
        total.add(&tally);
        total.add(&tally);
        assert_eq!(
            total.to_string(),
            "calls     8  ok     6  failed   2  catalogue-v1    4  catalogue-v2    2  [2 x no]"
        );
    }
}
