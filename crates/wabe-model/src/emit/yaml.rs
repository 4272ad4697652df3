//! JSON values as YAML that people like to read.

use std::fmt::Write;

use serde_json::Value;

use crate::manifest::scalar;

/// Block style; text is quoted only where YAML (1.1 or 1.2) would take it for something else.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(&mut text, value, 0, false),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            inline(&mut text, value);
            text.push('\n');
        }
    }
    text
}

/// Lines of a mapping or list. `started`: the first line's indentation is already there, after `- `.
fn block(text: &mut String, value: &Value, indent: usize, started: bool) {
    let mut first = started;
    let mut begin = |text: &mut String| {
        if !std::mem::take(&mut first) {
            text.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in in_order(fields) {
                begin(text);
                scalar_text(text, key);
                text.push(':');
                match value {
                    // Lists stand under their key without indentation, as kubectl writes them.
                    Value::Array(_) if !is_empty(value) => {
                        text.push('\n');
                        block(text, value, indent, false);
                    }
                    Value::Object(_) if !is_empty(value) => {
                        text.push('\n');
                        block(text, value, indent + 2, false);
                    }
                    Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_)
                    | Value::Array(_)
                    | Value::Object(_) => {
                        text.push(' ');
                        inline(text, value);
                        text.push('\n');
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                begin(text);
                text.push_str("- ");
                match item {
                    Value::Object(_) | Value::Array(_) if !is_empty(item) => {
                        block(text, item, indent + 2, true)
                    }
                    Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_)
                    | Value::Array(_)
                    | Value::Object(_) => {
                        inline(text, item);
                        text.push('\n');
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => inline(text, value),
    }
}

/// A manifest's head first: JSON objects here are sorted by name.
fn in_order(fields: &serde_json::Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const HEAD: [&str; 4] = ["apiVersion", "kind", "name", "key"];
    let head = HEAD.iter().filter_map(|key| fields.get_key_value(*key));
    head.chain(fields.iter().filter(|(key, _)| !HEAD.contains(&key.as_str())))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn inline(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(it) => text.push_str(if *it { "true" } else { "false" }),
        Value::Number(it) => text.push_str(&it.to_string()),
        Value::String(it) => scalar_text(text, it),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

fn scalar_text(text: &mut String, word: &str) {
    if is_plain(word) {
        text.push_str(word);
        return;
    }
    text.push('"');
    for c in word.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            // Line breaks to YAML, byte order mark, and what can't stand in YAML at all.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                write!(text, "\\u{:04X}", u32::from(c)).expect("invariant: writing to a String succeeds");
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Words that need no quotes under any reading of YAML.
fn is_plain(word: &str) -> bool {
    let safe = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | '+' | '=' | '@' | '(' | ')' | ';')
    };
    let inner = |c: char| safe(c) || c == ' ';
    word.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_'))
        && word.ends_with(safe)
        && word.chars().all(inner)
        && scalar::is_text(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_blocks_and_quotes_what_is_not_text_otherwise() {
        let value = json!({
            "spec": { "command": ["sh", "-c", "echo hi: there"], "env": { "ON": "yes", "on": "1", "x": "" }, "none": [] },
            "kind": "Workload",
            "rules": [{ "from": [{ "source": { "a": 1 } }] }, {}, [["x"]]],
        });
        let expected = r#"kind: Workload
rules:
- from:
  - source:
      a: 1
- {}
- - - x
spec:
  command:
  - sh
  - "-c"
  - "echo hi: there"
  env:
    "ON": "yes"
    "on": "1"
    x: ""
  none: []
"#;
        assert_eq!(to_yaml(&value), expected);
    }
}
