//! Where the kernel keeps what bounds socket to socket redirection, read from the kernel's own description of its types
//! (Documentation/bpf/btf.rst). aya reads it too, but tells no offsets.

use std::fs;

use crate::Error;

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_STRUCT` and `BTF_KIND_UNION`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Of a member: its name, type and offset.
const MEMBER: usize = 12;

/// Offsets, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) sk_user_data: u64,
    pub(crate) skc_cookie: u64,
    pub(crate) msg_tot_len: u64,
    pub(crate) write_seq: u64,
    pub(crate) copied_seq: u64,
    pub(crate) rmem_alloc: u64,
    pub(crate) sk_rcvbuf: u64,
}

impl Offsets {
    /// Those of the running kernel.
    pub(crate) fn of_kernel() -> Result<Self, Error> {
        let bytes = fs::read(PATH).map_err(Error::place(PATH))?;
        let types = Types::parse(&bytes).ok_or(Error::Unbounded("types that can be read"))?;
        let find = |of, member, name| types.offset(of, &[member]).ok_or(Error::Unbounded(name));
        let rmem_alloc = types.offset("sock", &["sk_backlog", "rmem_alloc"]);
        Ok(Self {
            sk_user_data: find("sock", "sk_user_data", "sock.sk_user_data")?,
            skc_cookie: find("sock_common", "skc_cookie", "sock_common.skc_cookie")?,
            msg_tot_len: find("sk_psock", "msg_tot_len", "sk_psock.msg_tot_len")?,
            write_seq: find("tcp_sock", "write_seq", "tcp_sock.write_seq")?,
            copied_seq: find("tcp_sock", "copied_seq", "tcp_sock.copied_seq")?,
            rmem_alloc: rmem_alloc.ok_or(Error::Unbounded("sock.sk_backlog.rmem_alloc"))?,
            sk_rcvbuf: find("sock", "sk_rcvbuf", "sock.sk_rcvbuf")?,
        })
    }
}

/// Structures and unions, by their number; nothing for types of another kind.
struct Types<'a> {
    strings: &'a [u8],
    all: Vec<Option<Composite<'a>>>,
}

#[derive(Clone, Copy)]
struct Composite<'a> {
    name: &'a [u8],
    is_union: bool,
    /// Whether the upper byte of a member's offset is the size of a bit field.
    has_bit_fields: bool,
    members: &'a [u8],
}

impl<'a> Types<'a> {
    /// `None` if the bytes are not such a description, or one with a kind of type that is newer than this reader.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = u32_at(bytes, 4)? as usize;
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let section = |at: usize| -> Option<&[u8]> {
            let start = header.checked_add(u32_at(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(u32_at(bytes, at + 4)? as usize)?)
        };
        let (mut rest, strings) = (section(8)?, section(16)?);
        // Number 0 is `void`, which is not written.
        let mut all = vec![None];
        while !rest.is_empty() {
            let info = u32_at(rest, 4)?;
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let more = rest.get(12..12 + trailing(kind, count)?)?;
            all.push((kind == STRUCT || kind == UNION).then_some(Composite {
                name: text_at(strings, u32_at(rest, 0)?)?,
                is_union: kind == UNION,
                has_bit_fields: info >> 31 == 1,
                members: more,
            }));
            rest = &rest[12 + more.len()..];
        }
        Some(Self { strings, all })
    }

    /// The offset of a member of a member and so on, bytes; also of one inside a member without name.
    fn offset(&self, structure: &str, path: &[&str]) -> Option<u64> {
        let named = |it: &&Composite<'_>| !it.is_union && it.name == structure.as_bytes();
        let mut inside = self.all.iter().flatten().find(named);
        path.iter().try_fold(0, |offset, wanted| {
            let (further, kind) = self.within(inside?, wanted, 8)?;
            inside = self.all.get(kind as usize).and_then(Option::as_ref);
            Some(offset + further)
        })
    }

    /// Where a member is, and the number of its type.
    fn within(&self, composite: &Composite<'_>, wanted: &str, depth: u32) -> Option<(u64, u32)> {
        composite.members.chunks_exact(MEMBER).find_map(|member| {
            let bits = u32_at(member, 8)?;
            let bits = if composite.has_bit_fields { bits & 0xff_ffff } else { bits };
            let (name, kind) = (text_at(self.strings, u32_at(member, 0)?)?, u32_at(member, 4)?);
            if name == wanted.as_bytes() {
                return Some((u64::from(bits / 8), kind));
            }
            let inner = self.all.get(kind as usize)?.as_ref();
            let inner = inner.filter(|_| name.is_empty() && depth > 0)?;
            let (further, kind) = self.within(inner, wanted, depth - 1)?;
            Some((u64::from(bits / 8) + further, kind))
        })
    }
}

/// Bytes that follow a type of this kind.
fn trailing(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array, and structures and unions.
        3 => 12,
        STRUCT | UNION | 19 => 12 * count,
        // Enumeration, prototype.
        6 | 13 => 8 * count,
        // Section.
        15 => 12 * count,
        // Pointer, forward, alias, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn text_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    let text = strings.get(at as usize..)?;
    text.split(|byte| *byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_them() {
        let offsets = Offsets::of_kernel().expect("BTF");
        assert!(offsets.skc_cookie < offsets.sk_user_data, "{offsets:?}");
        assert!(offsets.write_seq != offsets.copied_seq && offsets.msg_tot_len > 0, "{offsets:?}");
    }

    #[test]
    fn finds_a_member_inside_one_without_name() {
        // struct outer { u32 a; union { u32 b; }; }
        let strings = b"\0outer\0a\0b\0";
        let mut types = Vec::new();
        let mut word = |value: u32| types.extend(value.to_ne_bytes());
        [1, STRUCT << 24 | 2, 8, 7, 9, 0, 0, 2, 32].into_iter().for_each(&mut word);
        [0, UNION << 24 | 1, 4, 9, 9, 0].into_iter().for_each(&mut word);
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for value in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(&types);
        bytes.extend(strings);
        let types = Types::parse(&bytes).expect("well formed");
        assert_eq!(types.offset("outer", &["b"]), Some(4));
        assert_eq!(types.offset("outer", &["c"]), None);
        assert!((0..bytes.len()).all(|length| Types::parse(&bytes[..length]).is_none()), "cut short");
    }
}
