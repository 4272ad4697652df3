//! The file: two halves, each with a head that says which was written later and whether it is whole.

use std::io;

use rustix::{
    fs::{SeekFrom, seek},
    io::write,
};

use super::Figures;

/// Bytes of a half.
const HALF: usize = 2 << 20;
/// Bytes of the file, at most.
pub const FILE: usize = 2 * HALF;
/// Also names the form of what follows.
const MAGIC: [u8; 8] = *b"wabefig1";
/// Magic, number, length, checksum.
const HEAD: usize = 32;

/// Where figures go.
#[derive(Debug)]
pub(super) struct Writer {
    file: std::os::fd::OwnedFd,
    /// Of the half that was written last.
    number: u64,
}

impl Writer {
    pub(super) fn new(file: std::os::fd::OwnedFd) -> Self {
        Self { file, number: 0 }
    }

    /// Writes one half: `lseek` and `write`, which the proxy may.
    pub(super) fn write(&mut self, figures: &Figures) -> io::Result<()> {
        self.number += 1;
        let bytes = encode(self.number, figures)?;
        let _ = seek(&self.file, SeekFrom::Start((self.number % 2) * HALF as u64))?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            rest = match write(&self.file, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => &rest[length..],
                Err(rustix::io::Errno::INTR) => rest,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(())
    }
}

fn encode(number: u64, figures: &Figures) -> io::Result<Vec<u8>> {
    let bytes = framed(number, &serde_json::to_vec(figures)?);
    if bytes.len() > HALF {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The newest whole half of a file's bytes. `None` if there is none, or it is not what a proxy of ours writes.
pub fn read(bytes: &[u8]) -> Option<Figures> {
    let halves = [bytes.get(..HALF.min(bytes.len())), bytes.get(HALF..)];
    let whole = halves.into_iter().flatten().filter_map(half);
    let (_, text) = whole.max_by_key(|it| it.0)?;
    let mut figures: Figures = serde_json::from_slice(text).ok()?;
    if !figures.is_sound() {
        return None;
    }
    figures.forget_unknown_reasons();
    Some(figures)
}

fn half(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let word = |place: usize| Some(u64::from_le_bytes(head.get(place * 8..place * 8 + 8)?.try_into().ok()?));
    let (number, length, sum) = (word(1)?, usize::try_from(word(2)?).ok()?, word(3)?);
    let text = rest.get(..length).filter(|_| length <= HALF - HEAD && head.starts_with(&MAGIC))?;
    (checksum(number, text) == sum).then_some((number, text))
}

/// A half with this text, of whatever kind.
#[must_use]
pub fn framed(number: u64, text: &[u8]) -> Vec<u8> {
    let (length, sum) = (text.len() as u64, checksum(number, text));
    let head = [MAGIC, number.to_le_bytes(), length.to_le_bytes(), sum.to_le_bytes()];
    [head.as_flattened(), text].concat()
}

/// FNV-1a by words of 8 bytes: whether a half is whole, not whether it is true.
fn checksum(number: u64, text: &[u8]) -> u64 {
    let words = text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    [number, text.len() as u64]
        .into_iter()
        .chain(words)
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::OwnedFd};

    use super::*;
    use crate::figures::{Answers, MOST_SUBJECTS, Requests, Subject};

    fn figures(count: u64) -> Figures {
        let answers = vec![Answers { code: 200, grpc: None, reason: None, count }];
        let subject = Subject { source: None, service: None, rule: None, destination: None, grpc: false };
        let requests = vec![(subject, Requests { answers, ..Requests::default() })];
        Figures { requests, ..Figures::default() }
    }

    /// A file with `count` writes.
    fn written(count: u64) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut writer = Writer::new(OwnedFd::from(file.reopen().expect("open")));
        (1..=count).for_each(|it| writer.write(&figures(it)).expect("written"));
        fs::read(file.path()).expect("read")
    }

    #[test]
    fn the_newest_is_read() {
        assert_eq!(read(&written(0)), None);
        for count in 1..5 {
            assert_eq!(read(&written(count)), Some(figures(count)), "after {count} writes");
        }
    }

    #[test]
    fn a_half_that_is_torn_leaves_the_other() {
        let bytes = written(4);
        // The fourth is in the first half.
        for place in [0, 8, 16, 24, HEAD, HEAD + 20] {
            let mut torn = bytes.clone();
            torn[place] ^= 1;
            assert_eq!(read(&torn), Some(figures(3)), "byte {place}");
        }
        assert_eq!(read(&bytes[..HEAD + 3]), None);
    }

    #[test]
    fn what_ours_never_writes_is_refused() {
        let read_back = |figures: &Figures| read(&encode(1, figures).expect("it fits"));
        assert!(read_back(&figures(1)).is_some());
        let mut more = figures(1);
        more.requests = vec![more.requests[0].clone(); MOST_SUBJECTS + 1];
        assert_eq!(read_back(&more), None, "more subjects");
        for (code, grpc, reason) in [(99, None, None), (1000, None, None), (200, Some(17), None)] {
            let mut wrong = figures(1);
            wrong.requests[0].1.answers[0] = Answers { code, grpc, reason, count: 1 };
            assert_eq!(read_back(&wrong), None, "{code} {grpc:?}");
        }
        let mut lying = encode(1, &figures(1)).expect("it fits");
        lying[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&lying), None, "a length beyond the file");
        for bytes in [&b""[..], b"wabefig1", &[0; 64], &[255; 4096]] {
            assert_eq!(read(bytes), None);
        }
    }

    proptest::proptest! {
        /// Bytes that bear a right head, so that what is behind it is looked at.
        #[test]
        fn whatever_is_behind_a_right_head_is_sound_or_refused(text in ".{0,300}", cut in 0_usize..400, byte: u8) {
            let mut good = serde_json::to_vec(&figures(7)).expect("text");
            let place = cut % good.len();
            good[place] = byte;
            for text in [text.as_bytes(), &good] {
                let read = read(&framed(1, text));
                proptest::prop_assert!(read.is_none_or(|it| it.is_sound()));
            }
        }
    }

    #[test]
    fn what_a_newer_proxy_tells_besides_is_passed_over() {
        for reason in ["newer", "x\" 1\nevil", "", "x\" 1\nevil", "overflow"] {
            let mut newer = serde_json::to_value(figures(1)).expect("JSON");
            newer["more"] = true.into();
            newer["requests"][0][0]["more"] = true.into();
            newer["requests"][0][1]["more"] = true.into();
            newer["requests"][0][1]["answers"][0]["reason"] = reason.into();
            let read = read(&framed(1, newer.to_string().as_bytes())).expect("it is understood");
            let told = read.requests[0].1.answers[0].reason.as_deref();
            assert_eq!(told, Some(if reason == "overflow" { reason } else { "other" }));
        }
        let mut both = figures(1);
        let answer =
            |reason: &str| Answers { reason: Some(reason.into()), ..both.requests[0].1.answers[0].clone() };
        both.requests[0].1.answers = vec![answer("new"), answer("newer"), answer("other")];
        let read = read(&encode(1, &both).expect("it fits")).expect("it is understood");
        let told: Vec<_> = read.requests[0].1.answers.iter().map(|it| it.count).collect();
        assert_eq!(told, [3], "each is told once");
    }

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let mut huge = figures(1);
        huge.requests[0].0.service =
            Some(wabe_model::ObjectName { namespace: "a".repeat(HALF), name: "b".into() });
        assert!(encode(1, &huge).is_err());
    }
}
