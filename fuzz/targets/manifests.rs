//! Manifests: no text panics, what is wrong is told with a place that exists, and what is taken for good can be written
//! and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wabe_model::{Diagnostics, Manifest, Objects, Parsed, Severity, check, parse, to_manifest, to_yaml};

fuzz_target!(|text: &[u8]| {
    match parse(&[Manifest::new("x.yaml", "/srv", text)]) {
        Ok(parsed) => {
            survives_writing(&parsed);
            match check(&parsed, &Objects::default()) {
                Ok(_) => {}
                Err(problems) => told(&problems, text),
            }
        }
        Err(problems) => told(&problems, text),
    }
});

fn survives_writing(parsed: &Parsed) {
    for located in &parsed.objects {
        let text = to_yaml(&to_manifest(&located.object));
        let again = parse(&[Manifest::new("y.yaml", "/elsewhere", text.clone())]);
        let again = again.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(again.objects[0].object, located.object, "{text}");
    }
}

fn told(problems: &Diagnostics, text: &[u8]) {
    assert!(problems.has_errors());
    let text = String::from_utf8_lossy(text);
    let lines = text.split('\n').count();
    for problem in problems.0.iter().filter(|it| it.severity == Severity::Error) {
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{problem}");
        // What has no field is about the file as a whole: empty, too large, no text.
        assert!(problem.position.is_some() || problem.field.is_none(), "no place: {problem}");
        if let Some(place) = problem.position {
            assert!((1..=lines + 1).contains(&place.line) && place.column >= 1, "no such place: {problem}");
        }
    }
}
