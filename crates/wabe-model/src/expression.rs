//! Regular expressions in routes.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Bytes that an expression's compiled form may take.
const MOST_BYTES: usize = 256 << 10;
/// Bytes of its text.
const MOST_TEXT: usize = 1024;

/// A regular expression that was understood: the syntax of the crate `regex`, which is RE2's but for details. It is found out in
/// time that is linear in the text, whatever the expression. Classes such as `\w` mean ASCII.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    whole: Regex,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadExpression(String);

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Its syntax is wrong; it has more than 1024 bytes; its compiled form would take more than 256 KiB, as that of counted
    /// repetitions within each other does.
    pub fn new(text: &str) -> Result<Self, BadExpression> {
        if text.len() > MOST_TEXT {
            return Err(BadExpression(format!("longer than {MOST_TEXT} bytes")));
        }
        // By itself first: `a)|(b` is none, and would be one within brackets.
        compile(text)?;
        let whole = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Self { text: text.to_owned(), whole })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it describes all of a text, from its first byte to its last.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.whole.is_match(text)
    }
}

fn compile(text: &str) -> Result<Regex, BadExpression> {
    let mut builder = RegexBuilder::new(text);
    builder.unicode(false).size_limit(MOST_BYTES).dfa_size_limit(MOST_BYTES);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            BadExpression(format!("too large: it would take more than {} KiB", MOST_BYTES >> 10))
        }
        // Several lines with a picture; the last one says what is wrong.
        other => {
            let told = other.to_string();
            let last = told.lines().last().unwrap_or_default();
            BadExpression(last.trim_start_matches("error: ").to_owned())
        }
    })
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl TryFrom<String> for Expression {
    type Error = BadExpression;

    fn try_from(text: String) -> Result<Self, BadExpression> {
        Self::new(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_the_whole_text() {
        let matches = |expression: &str, text: &str| {
            Expression::new(expression).expect("an expression").matches(text.as_bytes())
        };
        for (expression, text, want) in [
            ("/a.*", "/ab", true),
            ("/a", "/ab", false),
            ("a|ab", "ab", true),
            ("b", "ab", false),
            ("a|b", "ac", false),
            (r"\d+", "12", true),
            (r"\w", "ä", false),
            ("ä", "ä", true),
            ("(?i)A", "a", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(expression, text), want, "{expression} {text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (expression, said) in [
            ("a)|(b", "unopened group"),
            ("(", "unclosed group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(a{1000}){1000}", "too large"),
            (&"a".repeat(1025), "longer than 1024"),
        ] {
            let error = Expression::new(expression).expect_err(expression).to_string();
            assert!(error.contains(said) && error.lines().count() == 1, "{expression}: {error}");
        }
    }
}
