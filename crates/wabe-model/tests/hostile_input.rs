//! Input that nobody writes in good faith, or at all.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::{fs, io::Write};

use proptest::prelude::*;
use wabe_model::{MAX_FILE_BYTES, Manifest, Objects, check, parse, read_path, to_manifest, to_yaml};

const GOOD: &str = include_str!("good.yaml");

fn problems(text: impl Into<Vec<u8>>) -> String {
    parse(&[Manifest::new("x.yaml", "/", text)]).expect_err("it is wrong").to_string()
}

#[test]
fn a_yaml_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=40 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let problems = problems(text);
    assert!(problems.starts_with("x.yaml:6:10:"), "{problems}");
    assert!(problems.contains("more than 200000 values in one file, aliases written out"), "{problems}");
}

#[test]
fn many_keys_and_long_words_stay_cheap_to_refuse() {
    // Each of these took seconds or gigabytes if one step were quadratic.
    let keys: String = (0..90_000).map(|it| format!("k{it}: v\n")).collect();
    assert!(problems(keys).contains("`kind` is missing"));
    let wrong: String = (0..60_000).map(|it| format!("k{it}: v\n")).collect();
    let listed = problems(format!("apiVersion: v1\nkind: Namespace\n{wrong}"));
    assert!(listed.lines().count() <= 101, "{} lines", listed.lines().count());
    assert!(listed.contains("more is wrong than is shown"), "{listed}");
    let long = "x".repeat(1 << 20);
    let told = problems(format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{{long}: {{{long}: 1}}, name: {long}}}\n"
    ));
    assert!(told.len() < 2000, "{} bytes", told.len());
    assert!(problems("[".repeat(1 << 20)).contains("nested more than 64 levels deep"));
    assert!(!problems("{a: ".repeat(1 << 19)).is_empty());
    assert!(!problems("- ".repeat(1 << 20)).is_empty());
    assert!(!problems("? ".repeat(1 << 20)).is_empty());
}

#[test]
fn many_warnings_do_not_become_an_error_nor_hide_one() {
    let blocks = "10.0.0.1/8, ".repeat(300);
    let policy = |rest: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\n\
             spec: {{rules: [{{from: [{{source: {{ipBlocks: [{blocks}]}}}}]}}]{rest}}}\n"
        )
    };
    let parsed = parse(&[Manifest::new("x.yaml", "/", policy(""))]).unwrap();
    assert_eq!(parsed.warnings.len(), 101);
    assert!(problems(policy(", rulez: []")).contains("spec.rulez: unknown field (did you mean `rules`?"));
}

#[test]
fn binary_garbage_is_refused() {
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    assert!(problems(elf).contains("x.yaml:1:1: the character U+007F can't be part of a manifest"));
    let random: Vec<u8> = (0..4096_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(problems(random).contains("not UTF-8 text (line 1)"));
    assert!(problems(b"\xff\xfea\0:\0".to_vec()).contains("not UTF-8 text"));
    // What follows a NUL is not skipped.
    assert!(problems(format!("{GOOD}\0\nkind: Unknown\n")).contains("U+0000"));
}

#[test]
fn empty_files_have_no_manifest() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n", "\u{feff}", "~\n"] {
        assert_eq!(
            problems(text),
            "x.yaml: no manifest in it (write at least one document with apiVersion, kind and metadata)",
            "{text:?}"
        );
    }
}

#[test]
fn a_file_of_50_mb_is_refused_and_so_is_text_that_came_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    fs::File::create(&path).unwrap().set_len(50 << 20).unwrap();
    let told = read_path(&path).unwrap_err().to_string();
    assert!(told.ends_with("large.yaml: larger than 4 MiB, which no manifest is (check that it is the right file, or split it)"), "{told}");
    assert!(problems(vec![b'#'; MAX_FILE_BYTES + 1]).contains("larger than 4 MiB"));
    // It says it is empty, and never ends.
    assert!(read_path("/dev/zero".as_ref()).unwrap_err().to_string().contains("larger than 4 MiB"));
}

#[test]
fn paths_are_read_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read_path(&folder.path().join("missing.yaml")).unwrap_err().to_string();
    assert!(
        missing.ends_with("missing.yaml: no such file or folder (check the path given with -f)"),
        "{missing}"
    );
    fs::write(folder.path().join("README.md"), "x").unwrap();
    fs::create_dir(folder.path().join("sub.yaml")).unwrap();
    let none = read_path(folder.path()).unwrap_err().to_string();
    assert!(none.contains("no manifest is in this folder"), "{none}");
    fs::File::create(folder.path().join("b.yml")).unwrap().write_all(b"b").unwrap();
    fs::write(folder.path().join("a.yaml"), "a").unwrap();
    let read = read_path(folder.path()).unwrap();
    let names: Vec<_> = read.iter().map(|it| it.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.yaml", "b.yml"]);
    assert!(read.iter().all(|it| it.folder == folder.path() && it.folder.is_absolute()));
    std::os::unix::fs::symlink("nowhere", folder.path().join("c.yaml")).unwrap();
    assert!(read_path(folder.path()).unwrap_err().to_string().contains("c.yaml: no such file"));
}

/// Whatever the text is: no panic; and what is taken for good can be written and read again.
fn survives(text: Vec<u8>) -> Result<(), TestCaseError> {
    match parse(&[Manifest::new("x.yaml", "/srv", text)]) {
        Err(problems) => {
            prop_assert!(problems.has_errors());
            let _ = problems.to_string();
        }
        Ok(parsed) => {
            let _ = check(&parsed, &Objects::default());
            for located in &parsed.objects {
                let text = to_yaml(&to_manifest(&located.object));
                let again = parse(&[Manifest::new("y.yaml", "/elsewhere", text.clone())]);
                let again = again.map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?;
                prop_assert_eq!(&again.objects[0].object, &located.object);
            }
        }
    }
    Ok(())
}

/// Pieces that YAML and manifests give a meaning to.
fn token() -> impl Strategy<Value = String> {
    let words: Vec<_> = [
        "- ",
        ": ",
        "\n",
        "\n  ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "|",
        ">",
        "&a ",
        "*a",
        "!",
        "!!str ",
        "#",
        "%",
        "@",
        "? ",
        ", ",
        "---\n",
        "...\n",
        "<<",
        "~",
        "0",
        "-1",
        "65536",
        "1e9",
        "\t",
        "\r",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "ü",
        "\\",
        "spec:",
        "kind: Service\n",
        "None",
        "*",
        "10.0.0.1/33",
        "::/0",
    ]
    .map(str::to_owned)
    .into();
    prop_oneof![4 => prop::sample::select(words), 1 => any::<char>().prop_map(String::from), 1 => "[ -~]{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        survives(bytes)?;
    }

    #[test]
    fn arbitrary_yaml_like_text_never_panics(tokens in prop::collection::vec(token(), 0..60)) {
        survives(tokens.concat().into_bytes())?;
    }

    #[test]
    fn mutated_manifests_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, token()), 1..6)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (place, removed, inserted) in changes {
            let start = place.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        survives(text.into_iter().collect::<String>().into_bytes())?;
    }

    #[test]
    fn manifests_with_lines_moved_never_panic(moves in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..8)) {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        for (from, to) in moves {
            let line = lines.remove(from.index(lines.len()));
            lines.insert(to.index(lines.len()), line);
        }
        survives(lines.join("\n").into_bytes())?;
    }
}

#[test]
fn the_manifest_that_is_mutated_is_good() {
    assert_eq!(parse(&[Manifest::new("good.yaml", "/", GOOD)]).expect("it is good").objects.len(), 6);
}
