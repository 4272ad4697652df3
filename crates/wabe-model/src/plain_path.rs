//! Paths of requests that everybody reads alike.

use std::borrow::Cow;

/// Whether all servers take this path (of a request, without its query) for the same: one that begins with `/`, or `*`.
///
/// No empty segment but the last, none that is `.` or `..` (nor with parameters, as `..;a` and `..%3Ba`), no backslash, no control
/// character, space or byte beyond ASCII; and no escape of a slash, a backslash, a control character or of one that needs
/// none (RFC 3986, section 2.3). What is left can be compared as text, once escapes are written alike ([`same_escapes`]), but for
/// characters that may be escaped or not, as `:` may: see [`without_escapes`].
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    if path == "*" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let read = without_escapes(segment);
        let name = read.split(';').next().unwrap_or_default();
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

/// The path with the characters themselves where visible ones of ASCII are escaped, as `:` in `/a%3Ab`; borrowed if none is.
///
/// RFC 3986 (section 2.2) says that the two forms differ, and most servers take them for the same. Escapes of `%` stay, since
/// what follows would become one, and so do those that no plain path has.
#[must_use]
pub fn without_escapes(path: &str) -> Cow<'_, str> {
    let itself = |part: &str| {
        escaped(part).filter(|it| it.is_ascii_graphic() && *it != b'%' && !is_told_otherwise(*it))
    };
    let mut parts = path.split('%');
    let first = parts.next().unwrap_or_default();
    if !parts.clone().any(|part| itself(part).is_some()) {
        return Cow::Borrowed(path);
    }
    let mut out = first.to_owned();
    for part in parts {
        if let Some(byte) = itself(part) {
            out.push(char::from(byte));
            out.push_str(&part[2..]);
        } else {
            out.push('%');
            out.push_str(part);
        }
    }
    Cow::Owned(out)
}

/// What is escaped by a `%` and this text behind it; `None` if that is no escape.
fn escaped(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn is_plain_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'%' => {
                if escaped(&segment[place + 1..]).is_none_or(is_told_otherwise) {
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
            "/a%3Ab%40c%3B/..a%3Bb",
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
            "/a/..%3B/b",
            "/a/.%3bx=1",
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
    fn visible_characters_are_themselves() {
        for (path, want) in [
            ("/a%3Ab%40c", "/a:b@c"),
            ("/%21%22%23%24%26%27%28%29%2A%2B%2C", "/!\"#$&'()*+,"),
            ("/%3B%3C%3D%3E%3F%5B%5D%5E%60%7B%7C%7D", "/;<=>?[]^`{|}"),
            ("/%3a%3A", "/::"),
            ("/%C3%A9%3A", "/%C3%A9:"),
            ("/\u{e9}%3A\u{e9}", "/\u{e9}:\u{e9}"),
        ] {
            assert_eq!(without_escapes(path), want, "{path}");
        }
        for same in [
            "/",
            "*",
            "/a:b",
            "/%25",
            "/%253A",
            "/%2F%5C",
            "/%61%7E%2E%2D%5F",
            "/%20%00%7F",
            "/%",
            "/%3",
            "/%\u{e9}",
        ] {
            assert!(matches!(without_escapes(same), Cow::Borrowed(it) if it == same), "{same}");
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
