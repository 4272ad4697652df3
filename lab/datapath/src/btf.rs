//! Where a field is in one of the kernel's structures, from the kernel's own description of its types (BTF).

use std::{fs, path::Path};

use crate::Error;

/// The kernel's.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;

/// A BTF blob. https://docs.kernel.org/bpf/btf.html
pub(crate) struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Btf {
    /// The running kernel's.
    pub(crate) fn of_kernel() -> Result<Self, Error> {
        let path = Path::new(KERNEL);
        let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse(&bytes).ok_or(Error::NoField(KERNEL))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let magic = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
        let [header, types, types_length, strings, strings_length] =
            [4, 8, 12, 16, 20].map(|it| word(bytes, it));
        let section = |from: u32, length: u32| {
            let start = header?.checked_add(from)? as usize;
            bytes.get(start..start.checked_add(length as usize)?).map(<[u8]>::to_vec)
        };
        if magic != MAGIC {
            return None;
        }
        Some(Self { types: section(types?, types_length?)?, strings: section(strings?, strings_length?)? })
    }

    /// Bytes from the start of a structure to a field of its own; `None` if it has no such field, or a part of a byte.
    pub(crate) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let mut at = 0;
        while let (Some(name), Some(info)) = (word(&self.types, at), word(&self.types, at + 4)) {
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let has_bits = info >> 31 == 1;
            let rest = at + 12;
            if kind == STRUCT && self.is(name, structure) {
                let found = (0..count)
                    .map(|it| rest + it * 12)
                    .find(|it| word(&self.types, *it).is_some_and(|name| self.is(name, field)));
                if let Some(member) = found {
                    let bits = word(&self.types, member + 8)?;
                    // With bit fields the upper byte is a size.
                    let bits = if has_bits { bits & 0x00ff_ffff } else { bits };
                    return (bits % 8 == 0).then_some(bits / 8);
                }
            }
            at = rest + tail(kind, count)?;
        }
        None
    }

    fn is(&self, name: u32, expected: &str) -> bool {
        let text = self.strings.get(name as usize..).unwrap_or_default();
        text.strip_prefix(expected.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes that follow a type's three words; `None` of a kind that is not known.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables, declaration tags: one word.
        1 | 14 | 17 => 4,
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags: none.
        2 | 7..=12 | 16 | 18 => 0,
        // Arrays: three.
        3 => 12,
        // Structures, unions, data sections, enumerations of 64 bits: three each.
        4 | 5 | 15 | 19 => count * 12,
        // Enumerations, parameters: two each.
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_running_kernel_are_found() {
        let btf = Btf::of_kernel().expect("the kernel describes its types");
        // A socket begins with what all kinds of sockets have.
        assert_eq!(btf.offset("sock", "__sk_common"), Some(0));
        for (structure, field) in
            [("sock", "sk_user_data"), ("sk_psock", "msg_tot_len"), ("sock_common", "skc_cookie")]
        {
            assert!(btf.offset(structure, field).is_some_and(|it| it > 0), "{structure}.{field}");
        }
        assert_eq!(btf.offset("sock", "no_such_field"), None);
        assert_eq!(btf.offset("no_such_structure", "field"), None);
    }

    #[test]
    fn what_is_no_description_is_none() {
        assert!(Btf::parse(b"").is_none());
        assert!(Btf::parse(&[0; 64]).is_none());
    }
}
