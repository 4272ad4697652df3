//! The line before a chunk: its size, and extensions, which are dropped (RFC 9112, section 7.1).

use crate::{Refusal, fields::is_token};

/// Of a size. What is larger is no body's.
const DIGITS: usize = 15;

/// The size, and how many octets of extensions follow it.
///
/// `line` is without its line end. Blanks are refused, though the RFC bears them around `;` and `=`.
pub(crate) fn size(line: &[u8]) -> Result<(u64, usize), Refusal> {
    let digits = line.iter().position(|it| !it.is_ascii_hexdigit()).unwrap_or(line.len());
    if digits == 0 {
        return Err(Refusal::ChunkSizeMalformed);
    }
    let (size, extensions) = line.split_at(digits);
    match extensions.first() {
        None => {}
        Some(b';') => self::extensions(extensions)?,
        Some(_) => return Err(Refusal::ChunkSizeMalformed),
    }
    if digits > DIGITS {
        return Err(Refusal::ChunkTooLarge);
    }
    let digit = |it: &u8| u64::from(char::from(*it).to_digit(16).unwrap_or(0));
    Ok((size.iter().fold(0, |sum, it| sum << 4 | digit(it)), extensions.len()))
}

/// `;name`, `;name=token` or `;name="quoted"`, one after the other.
fn extensions(mut rest: &[u8]) -> Result<(), Refusal> {
    while let Some((first, after)) = rest.split_first() {
        let name = token(after);
        if *first != b';' || name == 0 {
            return Err(Refusal::ChunkExtensionMalformed);
        }
        rest = &after[name..];
        if let [b'=', value @ ..] = rest {
            let length = if value.first() == Some(&b'"') { quoted(value) } else { token(value) };
            if length == 0 {
                return Err(Refusal::ChunkExtensionMalformed);
            }
            rest = &value[length..];
        }
    }
    Ok(())
}

/// Octets of the token at the front; 0: there is none.
fn token(text: &[u8]) -> usize {
    text.iter().position(|it| !is_token(*it)).unwrap_or(text.len())
}

/// Octets of the quoted string at the front, with its quotes; 0: it has no end, or a character that it may not have.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(octet) = text.get(at) {
        match octet {
            b'"' => return at + 1,
            b'\\' if text.get(at + 1).is_some_and(|it| is_visible(*it)) => at += 2,
            octet if is_visible(*octet) && *octet != b'\\' => at += 1,
            _ => return 0,
        }
    }
    0
}

fn is_visible(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}
