//! Regular expressions in routes.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use serde::{Deserialize, Serialize};

/// Bytes of an expression's text, and of its compiled form.
type Limits = (usize, usize);
/// What users may write.
const WRITTEN: Limits = (1024, 256 << 10);
/// What may be made of it: two expressions in a row, and something between them.
const MADE: Limits = (4096, 1 << 20);

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
        Self::read(text, WRITTEN)
    }

    /// The path of a gRPC call, `/SERVICE/METHOD`; what is `None` may be anything.
    ///
    /// # Errors
    /// Each by itself is an expression, and both in a row are none: a group has the same name in both, or groups lie within each
    /// other as deep as they may already.
    pub fn path_of_call(service: Option<&Self>, method: Option<&Self>) -> Result<Self, BadExpression> {
        let part = |it: Option<&Self>| it.map_or("[^/]+".to_owned(), |it| format!("(?:{})", it.text));
        let text = format!("/{}/{}", part(service), part(method));
        Self::read(&text, MADE)
    }

    fn read(text: &str, limits: Limits) -> Result<Self, BadExpression> {
        if text.len() > limits.0 {
            return Err(BadExpression(format!("longer than {} bytes", limits.0)));
        }
        // By itself first: `a)|(b` is none, and would be one within brackets. To read it costs little; compiling is what takes long.
        let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
        parser.parse(text).map_err(|error| BadExpression(last_line(&error.to_string())))?;
        let whole = compile(&format!(r"\A(?:{text})\z"), limits)?;
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

fn compile(text: &str, (_, most): Limits) -> Result<Regex, BadExpression> {
    let mut builder = RegexBuilder::new(text);
    builder.unicode(false).size_limit(most).dfa_size_limit(most);
    builder.build().map_err(|error| {
        if let regex::Error::CompiledTooBig(_) = error {
            return BadExpression(format!("too large: it would take more than {} KiB", most >> 10));
        }
        BadExpression(last_line(&error.to_string()))
    })
}

/// Of several lines with a picture the one that says what is wrong.
fn last_line(told: &str) -> String {
    let last = told.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
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
        Self::read(&text, MADE)
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
    fn two_of_the_largest_make_a_path() {
        let mut parts = (1..).map(|count| Expression::new(&format!("(a{{{}}}b)*", count * 500)));
        let largest = parts.by_ref().take_while(Result::is_ok).last().expect("some").expect("fits");
        let long = Expression::new(&"a".repeat(1024)).expect("fits");
        for (service, method) in [(&largest, &largest), (&long, &long)] {
            let path = Expression::path_of_call(Some(service), Some(method)).expect("it fits");
            let read = serde_json::from_str(&serde_json::to_string(&path).expect("text"));
            assert_eq!(read.ok(), Some(path));
        }
        let any = Expression::path_of_call(None, Some(&Expression::new("Get|List").expect("fits")));
        let any = any.expect("it fits");
        for (path, want) in
            [("/a.B/Get", true), ("/a.B/List", true), ("/a.B/GetX", false), ("/a/b/Get", false)]
        {
            assert_eq!(any.matches(path.as_bytes()), want, "{path}");
        }
    }

    #[test]
    fn two_that_make_no_path_are_told() {
        let expression = |text: &str| Expression::new(text).expect("an expression");
        let same = (expression("(?P<x>a)"), expression("(?P<x>b)"));
        let deep = (1..).map(|depth| format!("{}a{}", "(?:".repeat(depth), ")".repeat(depth)));
        let deepest = deep.map_while(|it| Expression::new(&it).ok()).last().expect("some");
        for (service, method, said) in
            [(&same.0, &same.1, "duplicate capture group name"), (&deepest, &deepest, "nest")]
        {
            let error = Expression::path_of_call(Some(service), Some(method)).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
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
