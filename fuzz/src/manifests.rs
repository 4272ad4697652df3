//! Manifests: no text panics, what is wrong is told with a place that exists, and what is taken for good can be written
//! and read again.

use wabe_model::{Diagnostics, Manifest, Objects, Parsed, Severity, check, parse, to_manifest, to_yaml};

use crate::Seed;

/// Reads a file with that text.
///
/// # Panics
/// If a promise is broken.
pub fn run(text: &[u8]) {
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
}

/// The shop, every kind and field, and texts with much that is wrong.
pub fn seeds() -> Vec<Seed> {
    let texts = [
        ("shop-callers", include_str!("../../examples/shop/callers.yaml")),
        ("shop-catalogue", include_str!("../../examples/shop/catalogue.yaml")),
        ("shop-frontend", include_str!("../../examples/shop/frontend.yaml")),
        ("shop-namespace", include_str!("../../examples/shop/namespace.yaml")),
        ("shop-payment", include_str!("../../examples/shop/payment.yaml")),
        ("good", include_str!("../../crates/wabe-model/tests/good.yaml")),
        ("rare", include_str!("../seeds/manifests/rare.yaml")),
        ("wrong", include_str!("../seeds/manifests/wrong.yaml")),
        ("odd-yaml", include_str!("../seeds/manifests/odd-yaml.yaml")),
    ];
    // Whole files, and each document by itself: what is short is mutated to more effect.
    let documents = texts.iter().flat_map(|(name, text)| {
        let parts = text.split("\n---\n").enumerate();
        parts.map(move |(number, part)| (format!("{name}-{number}"), format!("{part}\n").into_bytes()))
    });
    let whole = texts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
    whole.chain(documents).collect()
}

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
    // YAML's lines: a carriage return alone ends one too.
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    for problem in problems.0.iter().filter(|it| it.severity == Severity::Error) {
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{problem}");
        // What has no field is about the file as a whole: empty, too large, no text.
        assert!(problem.position.is_some() || problem.field.is_none(), "no place: {problem}");
        if let Some(place) = problem.position {
            let line = place.line.checked_sub(1).and_then(|it| lines.get(it));
            let columns = line.unwrap_or_else(|| panic!("no such line: {problem}")).chars().count() + 1;
            assert!((1..=columns).contains(&place.column), "no such column: {problem}");
        }
    }
}
