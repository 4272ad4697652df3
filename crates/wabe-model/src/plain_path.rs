//! Paths of requests that everybody reads alike.

use std::borrow::Cow;

/// Whether all servers take this path (of a request, without its query) for the same: one that begins with `/`, or `*`.
///
/// No empty segment but the last, none that is `.` or `..` (nor with parameters, as `..;a`), no backslash, no control
/// character, space or byte beyond ASCII; and no escape of a slash, a backslash, a control character or of one that needs
/// none (RFC 3986, section 2.3). What is left can be compared as text, once escapes are written alike ([`same_escapes`]).
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    if path == "*" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or_default();
        let is_last = segments.peek().is_none();
        if (segment.is_empty() && !is_last) || name == "." || name == ".." || !is_plain_segment(segment) {
            return false;
        }
    }
    true
}

/// The path with all escapes in capitals, as `%C3%A9`; borrowed if they are.
#[must_use]
pub fn same_escapes(path: &str) -> Cow<'_, str> {
    let escaped = |place: usize| {
        let before = &path.as_bytes()[place.saturating_sub(2)..place];
        before.contains(&b'%')
    };
    let is_small = |(place, it): (usize, u8)| it.is_ascii_lowercase() && escaped(place);
    if !path.contains('%') || !path.bytes().enumerate().any(is_small) {
        return Cow::Borrowed(path);
    }
    let capital = |(place, it): (usize, char)| if escaped(place) { it.to_ascii_uppercase() } else { it };
    Cow::Owned(path.char_indices().map(capital).collect())
}

fn is_plain_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'%' => {
                let escape =
                    bytes.get(place + 1..place + 3).filter(|it| it.iter().all(u8::is_ascii_hexdigit));
                let value = escape.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
                if value.is_none_or(is_told_otherwise) {
                    return false;
                }
                place += 3;
            }
            b'\\' | b'?' | b'#' | ..=b' ' | 0x7f.. => return false,
            b'!'..=b'~' => place += 1,
        }
    }
    true
}

/// Whether some servers take an escape for the byte itself, and others for something else, or nothing.
fn is_told_otherwise(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"-._~/\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_everybody_reads_alike() {
        for path in [
            "/",
            "*",
            "/a",
            "/a/",
            "/a.b/..c/.well-known",
            "/a;v=1/b",
            "/a%20b/%C3%A9",
            "/%25",
            "/pkg.Service/Method",
            "/a:b@c,d(e)!$&'*+=",
        ] {
            assert!(is_plain_path(path), "{path}");
        }
    }

    #[test]
    fn paths_that_may_mean_another() {
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./a",
            "/a/../b",
            "/a/..",
            "/..;/a",
            "/a/.;x=1/b",
            "/%2e%2e/a",
            "/%2E",
            "/a%2Fb",
            "/a%2fb",
            "/a%5cb",
            "/%61dmin",
            "/%7Ea",
            "/%00",
            "/a%0d",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/a\\b",
            "/a b",
            "/caf\u{e9}",
            "/a\u{7f}",
            "example.com:80",
        ] {
            assert!(!is_plain_path(path), "{path}");
        }
    }

    #[test]
    fn escapes_are_written_alike() {
        assert!(matches!(same_escapes("/abc/%C3%A9"), Cow::Borrowed(_)));
        assert!(matches!(same_escapes("/abc"), Cow::Borrowed(_)));
        assert_eq!(same_escapes("/ab%c3%a9cd%20ef"), "/ab%C3%A9cd%20ef");
        assert_eq!(same_escapes("/%c3"), "/%C3");
    }
}
