use std::io::{Seek as _, SeekFrom, Write as _};

use wabe_proxy::figures::{Answers, BackendFigures, Rule};

use super::*;

/// As the proxy writes it, by another hand: a format that only its writer knows could change unseen.
fn half(number: u64, text: &[u8]) -> Vec<u8> {
    let words = text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let all = [number, text.len() as u64].into_iter().chain(words);
    let sum =
        all.fold(0xcbf2_9ce4_8422_2325_u64, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3));
    let head = [*b"wabefig1", number.to_le_bytes(), (text.len() as u64).to_le_bytes(), sum.to_le_bytes()];
    [head.as_flattened(), text].concat()
}

/// A proxy that writes as long as it is kept.
struct Proxy(File);

struct Scene {
    folder: tempfile::TempDir,
    ledger: Ledger,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::at(folder.path(), &folder.path().join("none"));
        Self { folder, ledger }
    }

    fn proxy(&self, name: &str) -> Proxy {
        let file = File::create_new(self.folder.path().join(name)).expect("a file");
        file.lock().expect("a lock");
        Proxy(file)
    }

    fn count(&self) -> u64 {
        let sums = self.ledger.collect(&known());
        sums.requests.values().flat_map(|it| &it.answers).map(|it| it.count).sum()
    }

    fn files(&self) -> Vec<String> {
        names(self.folder.path()).expect("a list")
    }
}

impl Proxy {
    fn says(&mut self, figures: &Figures) {
        self.0.seek(SeekFrom::Start(0)).expect("a place");
        self.0.write_all(&half(2, &serde_json::to_vec(figures).expect("text"))).expect("written");
    }
}

fn known() -> Known {
    let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    let rule = ["shop/web", "HTTPRoute", "shop/canary", "0"].map(str::to_owned);
    Known {
        workloads: names(&["shop/caller"]),
        services: names(&["shop/web"]),
        routed: Arc::new(Routed {
            rules: BTreeSet::from([rule.into()]),
            backends: BTreeSet::from([(ObjectName::new("shop", "web"), 80)]),
        }),
    }
}

fn subject() -> Subject {
    Subject {
        source: Some(ObjectName::new("shop", "caller")),
        service: Some(ObjectName::new("shop", "web")),
        rule: Some(Rule {
            kind: "HTTPRoute".into(),
            route: ObjectName::new("shop", "canary"),
            rule: "0".into(),
        }),
        destination: Some(ObjectName::new("shop", "caller")),
        grpc: false,
    }
}

fn figures(subject: Subject, count: u64) -> Figures {
    let answers = vec![Answers { code: 200, grpc: None, reason: None, count }];
    let requests = Requests { answers, retries: 1, microseconds: 2500, ..Requests::default() };
    let backend = BackendFigures {
        service: ObjectName::new("shop", "web"),
        port: 80,
        connections: 3,
        pending: 0,
        requests: 2,
        ejections: 1,
        ejected: 0,
        endpoints: Vec::new(),
    };
    let (requests, backends) = (vec![(subject, requests)], vec![backend]);
    Figures { requests, backends, lost_lines: count, ..Figures::default() }
}

#[test]
fn counts_never_go_back_when_proxies_end() {
    let scene = Scene::new();
    let mut first = scene.proxy("1");
    assert_eq!(scene.count(), 0, "it has written nothing");
    first.says(&figures(subject(), 10));
    let mut second = scene.proxy("2");
    second.says(&figures(subject(), 5));
    assert_eq!(scene.count(), 15);
    assert!(!scene.ledger.has_ended());
    first.says(&figures(subject(), 11));
    drop(first);
    assert!(scene.ledger.has_ended());
    assert_eq!(scene.count(), 16, "what it wrote last counts");
    assert_eq!(scene.files(), ["2"], "it is in the sums now");
    second.says(&figures(subject(), 6));
    assert_eq!(scene.count(), 17);
    drop(second);
    assert_eq!(scene.count(), 17);
    assert_eq!(scene.count(), 17, "from the sums only");
    let sums = scene.ledger.collect(&known());
    assert_eq!(sums.ejections.values().sum::<u64>(), 2);
    assert_eq!(sums.lost_lines, 17);
    assert_eq!(sums.requests[&subject()].retries, 2);
    assert!(sums.live.is_empty());
}

#[test]
fn a_file_in_the_sums_that_could_not_be_removed_is_not_added_again() {
    let scene = Scene::new();
    let mut proxy = scene.proxy("1");
    proxy.says(&figures(subject(), 10));
    let left = fs::read(scene.folder.path().join("1")).expect("read");
    drop(proxy);
    assert_eq!(scene.count(), 10);
    fs::write(scene.folder.path().join("1"), left).expect("written");
    assert_eq!(scene.count(), 10);
    assert!(scene.files().is_empty());
}

#[test]
fn a_proxy_makes_up_no_label() {
    let scene = Scene::new();
    let mut proxy = scene.proxy("1");
    let change: [fn(&mut Subject); 5] = [
        |it| it.source = Some(ObjectName::new("shop", "evil")),
        |it| it.service = Some(ObjectName::new("shop", "evil")),
        |it| it.destination = Some(ObjectName::new("shop", "evil")),
        |it| it.rule.as_mut().expect("a rule").kind = "EvilRoute".into(),
        |it| it.rule.as_mut().expect("a rule").rule = "evil".into(),
    ];
    for change in change {
        let mut subject = subject();
        change(&mut subject);
        proxy.says(&figures(subject, 10));
        assert_eq!(scene.count(), 0);
    }
    let mut wrong = figures(subject(), 10);
    wrong.backends[0].service.name = "evil".into();
    proxy.says(&wrong);
    // Of what there is it has told before.
    let ejections = BTreeMap::from([((ObjectName::new("shop", "web"), 80), 1)]);
    assert_eq!(scene.ledger.collect(&known()).ejections, ejections);
    drop(proxy);
    assert_eq!(scene.count(), 10, "what it says of what there is counts");
    assert_eq!(scene.ledger.collect(&known()).ejections, ejections);
}

#[test]
fn nonsense_counts_for_nothing_and_is_put_aside_with_its_proxy() {
    let scene = Scene::new();
    let all = [&b"{}"[..], &[0xff; 9000], &half(u64::MAX, b"{\"requests\":[[1"), &half(1, b"[]")];
    for (place, nonsense) in all.into_iter().enumerate() {
        let name = place.to_string();
        let mut proxy = scene.proxy(&name);
        proxy.0.write_all(nonsense).expect("written");
        assert_eq!(scene.count(), 0);
        drop(proxy);
        assert_eq!(scene.count(), 0);
        assert!(scene.files().is_empty());
        let kept = fs::read(scene.folder.path().join(format!(".unreadable-{name}"))).expect("put aside");
        assert!(kept == nonsense, "{place}");
    }
}

#[test]
fn what_is_not_understood_takes_nothing_else_along() {
    let scene = Scene::new();
    let kept = || {
        let all =
            fs::read_dir(scene.folder.path()).expect("a list").map(|it| it.expect("an entry").file_name());
        let all = all.map(|it| it.into_string().expect("a name"));
        let mut all: Vec<String> = all.filter(|it| it.starts_with(".unreadable")).collect();
        all.sort();
        all
    };
    let mut proxy = scene.proxy("0");
    proxy.says(&figures(subject(), 10));
    // Another version's sums.
    fs::write(scene.folder.path().join(".ended"), r#"{"form":2}"#).expect("written");
    assert_eq!(scene.count(), 10, "those that live count");
    assert_eq!(kept(), [".unreadable-ended"]);
    drop(proxy);
    assert_eq!(scene.count(), 10, "there are sums again");
    for ended in 1..7 {
        let mut proxy = scene.proxy(&ended.to_string());
        proxy.0.write_all(b"another version's").expect("written");
        drop(proxy);
        assert_eq!(scene.count(), 10);
        assert!(scene.files().is_empty());
    }
    assert_eq!(kept().len(), 4, "they are few");
    assert!(kept().contains(&".unreadable-6".to_owned()), "{:?}", kept());
}

#[test]
fn sums_that_can_not_be_read_for_now_are_left_as_they_are() {
    let scene = Scene::new();
    let mut ended = scene.proxy("1");
    ended.says(&figures(subject(), 10));
    drop(ended);
    // What can't be read as a file: a folder.
    fs::create_dir(scene.folder.path().join(".ended")).expect("made");
    assert_eq!((scene.count(), scene.count()), (10, 10), "what ended is told, and not summed up");
    assert_eq!(scene.files(), ["1"]);
    fs::remove_dir(scene.folder.path().join(".ended")).expect("removed");
    assert_eq!(scene.count(), 10);
    assert!(scene.files().is_empty());
}

#[test]
fn what_the_mesh_has_no_more_is_told_no_more() {
    let scene = Scene::new();
    let mut proxy = scene.proxy("1");
    proxy.says(&figures(subject(), 10));
    let without = Known { routed: Arc::default(), ..known() };
    assert!(scene.ledger.collect(&without).requests.is_empty());
    assert_eq!(scene.count(), 10, "it is there again");
}

#[test]
fn ejections_go_on_when_a_backend_leaves_and_is_back() {
    let mut scene = Scene::new();
    let ejections = |scene: &Scene, known: &Known| {
        let sums = scene.ledger.collect(known);
        sums.ejections.get(&(ObjectName::new("shop", "web"), 80)).copied()
    };
    let told = |count: Option<u64>| {
        let mut figures = figures(subject(), 0);
        match count {
            Some(count) => figures.backends[0].ejections = count,
            None => figures.backends.clear(),
        }
        figures
    };
    let without = Known { routed: Arc::default(), ..known() };
    let mut proxy = scene.proxy("1");
    proxy.says(&told(Some(0)));
    assert_eq!(ejections(&scene, &known()), Some(0), "it is known");
    assert!(!scene.folder.path().join(".ended").exists(), "there is nothing to remember");
    for (step, count, sum) in [
        ("the first", Some(3), 3),
        ("one more", Some(4), 4),
        ("it has left", None, 4),
        ("it is back", Some(0), 4),
        ("and fails", Some(2), 6),
        ("it left and came between two looks", Some(1), 7),
        ("it has left again", None, 7),
        ("as many as before it left", Some(1), 8),
    ] {
        proxy.says(&told(count));
        let before = ejections(&scene, &known());
        assert_eq!(before.unwrap_or(sum), sum, "{step}");
        if count.is_none() {
            assert_eq!(ejections(&scene, &without), None, "what the mesh has not is not told");
        }
        // Another agent.
        scene.ledger = Ledger::at(scene.folder.path(), &scene.folder.path().join("none"));
        assert_eq!(ejections(&scene, &known()), before, "{step}");
    }
    let mut second = scene.proxy("2");
    second.says(&told(Some(5)));
    assert_eq!(ejections(&scene, &known()), Some(13));
    proxy.says(&told(Some(2)));
    drop(proxy);
    assert_eq!(ejections(&scene, &known()), Some(14), "what it told last counts");
    assert_eq!(ejections(&scene, &without), None);
    second.0.set_len(0).expect("emptied");
    drop(second);
    assert_eq!(ejections(&scene, &known()), Some(14), "what it told before it could not be read counts");
    assert_eq!(ejections(&scene, &known()), Some(14), "from the sums only");
}

#[test]
fn the_snapshot_is_read_again_once_another_one_takes_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::new();
    let ledger = Ledger { snapshot: folder.path().join("snapshot"), ..scene.ledger };
    let backends = || ledger.routed().map(|it| it.backends.iter().map(|it| it.1).collect::<Vec<_>>());
    let put = |port: u16| {
        let backend = serde_json::json!({ "service": { "namespace": "shop", "name": "web" }, "port": port, "endpoints": [] });
        let snapshot =
            serde_json::json!({ "generation": 1, "workloads": {}, "ports": [], "backends": [backend] });
        let new = folder.path().join("new");
        fs::write(&new, snapshot.to_string()).expect("written");
        fs::rename(&new, &ledger.snapshot).expect("replaced");
    };
    assert_eq!(backends(), None);
    put(80);
    assert_eq!(backends(), Some(vec![80]));
    let first = ledger.routed().expect("read");
    assert!(Arc::ptr_eq(&first, &ledger.routed().expect("read")), "it is not read again");
    put(81);
    assert_eq!(backends(), Some(vec![81]));
}

#[test]
fn the_generation_of_a_snapshot_is_found_whatever_else_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    assert_eq!(generation_of(&path), None);
    for (text, generation) in [
        (serde_json::to_string(&Snapshot { generation: 7, ..<Snapshot>::default() }).expect("text"), Some(7)),
        (r#"{"newer":[{}],"generation":8}"#.into(), Some(8)),
        (r#"{"generation":"#.into(), None),
    ] {
        fs::write(&path, text).expect("written");
        assert_eq!(generation_of(&path), generation);
    }
}
