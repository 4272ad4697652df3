//! What a proxy tells of itself, read by who does not trust it: no file panics the reader or has it believe more than there may be,
//! and what is believed comes back as it is.
//!
//! An input is the text of a half, behind one octet that says whether its head is right.

use wabe_proxy::figures::{
    Answers, BackendFigures, EndpointFigures, Figures, MOST_ANSWERS, MOST_BACKENDS, MOST_ENDPOINTS,
    MOST_SUBJECTS, REASONS, Requests, Rule, Subject, framed, read,
};

use crate::Seed;

/// Reads the file.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Some((right, text)) = input.split_first() else { return };
    let Some(figures) = (if right % 4 == 0 { read(text) } else { read(&framed(1, text)) }) else { return };
    let subjects: Vec<&Requests> = figures.requests.iter().map(|it| &it.1).chain([&figures.other]).collect();
    assert!(subjects.len() <= MOST_SUBJECTS + 1 && figures.backends.len() <= MOST_BACKENDS);
    let endpoints: usize = figures.backends.iter().map(|it| it.endpoints.len()).sum();
    assert!(endpoints <= MOST_ENDPOINTS && subjects.iter().all(|it| it.answers.len() <= MOST_ANSWERS + 1));
    let answers: Vec<&Answers> = subjects.iter().flat_map(|it| &it.answers).collect();
    let known = |it: &&Answers| it.reason.as_ref().is_none_or(|it| REASONS.contains(&it.as_str()));
    assert!(answers.iter().all(known), "a reason that nobody gives");
    let again = serde_json::to_vec(&figures).expect("numbers and texts");
    assert_eq!(read(&framed(2, &again)).as_ref(), Some(&figures));
    // Added up they are sound still: as readers do with those of several workers.
    let mut sum = Requests::default();
    subjects.into_iter().for_each(|it| sum.add(it));
    assert!(sum.answers.len() <= MOST_ANSWERS + 1, "{} kinds of answers", sum.answers.len());
}

/// Of a proxy that did something, and of one that did not.
pub fn seeds() -> Vec<Seed> {
    let name = || wabe_model::ObjectName { namespace: "shop".into(), name: "web".into() };
    let subject = Subject {
        source: Some(name()),
        service: Some(name()),
        rule: Some(Rule { kind: "HTTPRoute".into(), route: name(), rule: "0".into() }),
        destination: None,
        grpc: true,
    };
    let answers = vec![Answers { code: 503, grpc: Some(14), reason: Some("overflow".into()), count: 3 }];
    let endpoint =
        EndpointFigures { workload: 7, weight: 100, under_way: 1, latency: Some(5), ejected_for: None };
    let backend = BackendFigures {
        service: name(),
        port: 80,
        connections: 1,
        pending: 0,
        requests: 1,
        ejections: 2,
        ejected: 1,
        endpoints: vec![endpoint],
    };
    let full = Figures {
        requests: vec![(subject, Requests { answers, retries: 1, ..Requests::default() })],
        other: Requests::default(),
        backends: vec![backend],
        backends_left_out: false,
        generation: 4,
        connections: 9,
        lost_lines: 1,
    };
    let text = |figures: &Figures| serde_json::to_vec(figures).expect("numbers and texts");
    vec![
        ("full".to_owned(), [&[1][..], &text(&full)].concat()),
        ("empty".to_owned(), [&[1][..], &text(&Figures::default())].concat()),
        ("its-own-head".to_owned(), [&[0][..], &framed(9, &text(&Figures::default()))].concat()),
    ]
}
