//! Several tests on one mesh: starting one costs seconds.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// A step's name and what it does.
pub type Step<T> = (&'static str, fn(&T));

/// Runs all, also after a failure, and fails if one failed. `WABE_STEP=word,word` runs those with one of these words in
/// their names, `WABE_SKIP_STEPS=name,name` all but those that end with one of these names.
///
/// # Panics
/// With the names of those that failed; what each had to say was printed before.
pub fn run<T>(subject: &T, steps: &[Step<T>]) {
    let only = env::var("WABE_STEP").unwrap_or_default();
    let skip = env::var("WABE_SKIP_STEPS").unwrap_or_default();
    let skip: Vec<&str> = skip.split(',').filter(|it| !it.is_empty()).collect();
    let is_asked_for = |name: &str| only.split(',').any(|it| name.contains(it));
    let left_out = |name: &str| skip.iter().any(|it| name.ends_with(it));
    let chosen: Vec<_> = steps.iter().filter(|(name, _)| is_asked_for(name) && !left_out(name)).collect();
    assert!(!chosen.is_empty(), "WABE_STEP={only} is in the name of no step");
    let mut failed = Vec::new();
    for (name, step) in chosen {
        let name = name.replace(' ', "");
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| step(subject)));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("step {name} ... {word} ({:.1?})", start.elapsed());
        if outcome.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} of {} steps failed: {failed:?}", failed.len(), steps.len());
}

/// The steps' functions with their names, for [`run`].
#[macro_export]
macro_rules! steps {
    ($($($module:ident)::+),+ $(,)?) => { [$((stringify!($($module)::+), $($module)::+ as fn(&_))),+] };
}
