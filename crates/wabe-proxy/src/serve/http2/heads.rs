//! Watches a caller's frames go by (RFC 9113, section 4.1), for a head that does not come to its end: h2 waits for that as long as
//! the connection lasts.

/// What comes before the first frame.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where among the frames the reader is.
#[derive(Debug)]
pub(super) struct Heads {
    /// So many octets of a payload, or of the preface, are still to come.
    rest: usize,
    /// What came of a frame's own header.
    header: [u8; FRAME_HEADER],
    came: usize,
    /// A block of fields has begun.
    under_way: bool,
    /// The payload that comes is the last one of it.
    is_last: bool,
}

impl Heads {
    pub(super) const fn new() -> Self {
        Self { rest: PREFACE, header: [0; FRAME_HEADER], came: 0, under_way: false, is_last: false }
    }

    /// Whether there is a head that has begun and not ended.
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Takes note of what comes next; tells whether a head ended with it or in it.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.rest == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(FRAME_HEADER - self.came));
                self.header[self.came..self.came + now.len()].copy_from_slice(now);
                (self.came, bytes) = (self.came + now.len(), later);
                if self.came < FRAME_HEADER {
                    break;
                }
                let [high, middle, low, kind, flags, ..] = self.header;
                let is_head = matches!(kind, HEADERS | CONTINUATION);
                self.rest = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.came = 0;
                self.under_way |= is_head;
                self.is_last = is_head && flags & END_HEADERS != 0;
            } else {
                let now = bytes.len().min(self.rest);
                (self.rest, bytes) = (self.rest - now, &bytes[now..]);
            }
            if self.rest == 0 && self.is_last {
                (self.under_way, self.is_last, ended) = (false, false, true);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// After all of this, in pieces of each size: whether a head is under way, and whether one ended with the last piece.
    #[track_caller]
    fn assert_seen(frames: &[Vec<u8>], under_way: bool, ended: bool) {
        let bytes = [BEGUN, &frames.concat()].concat();
        for size in 1..=bytes.len() {
            let mut heads = Heads::new();
            let last = bytes.chunks(size).map(|it| heads.pass(it)).last();
            assert_eq!(heads.is_under_way(), under_way, "in pieces of {size}");
            if ended || size == bytes.len() {
                assert_eq!(last, Some(ended), "in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_head_is_under_way_until_all_of_its_last_frame_has_come() {
        let settings = frame(4, 0, &[0; 6]);
        let first = frame(HEADERS, 1, b"some fields");
        let whole = frame(HEADERS, END_HEADERS, b"all fields");
        let more = frame(CONTINUATION, 0, b"");
        let last = frame(CONTINUATION, END_HEADERS, b"the rest");
        let empty = frame(CONTINUATION, END_HEADERS, b"");
        assert_seen(&[], false, false);
        assert_seen(std::slice::from_ref(&settings), false, false);
        assert_seen(&[settings.clone(), first.clone()], true, false);
        assert_seen(&[first.clone(), more.clone()], true, false);
        assert_seen(&[first.clone(), more, last.clone()], false, true);
        assert_seen(&[first.clone(), empty], false, true);
        assert_seen(std::slice::from_ref(&whole), false, true);
        for missing in 1..=10 {
            let mut cut = whole.clone();
            cut.truncate(whole.len() - missing);
            assert_seen(&[settings.clone(), cut], true, false);
        }
        // Only of its header: nothing to keep has come, and nothing says what it is.
        assert_seen(&[whole[..8].to_vec()], false, false);
        let mut heads = Heads::new();
        assert!(heads.pass(&[BEGUN, &whole, &first].concat()) && heads.is_under_way(), "the next has begun");
    }

    #[test]
    fn what_a_payload_looks_like_does_not_matter() {
        let data = frame(0, END_HEADERS, &frame(HEADERS, 0, b"no head"));
        assert_seen(&[data.clone(), data], false, false);
        // Not allowed, and h2 says so; here it is no end of a head.
        assert_seen(&[frame(HEADERS, 0, b"fields"), frame(6, END_HEADERS, &[0; 8])], true, false);
    }
}
