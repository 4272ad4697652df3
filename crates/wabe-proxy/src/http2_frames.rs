//! Watches frames of HTTP/2 go by (RFC 9113, section 4.1), for two things that h2 lets pass as long as a connection
//! lasts: a head that does not come to its end, and frames without end that carry nothing.
//!
//! Pure: no clock, no sockets.

/// What comes before the first frame.
const PREFACE: usize = crate::detect::PREFACE.len();
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// Octets of the longer of what these two are answered with.
const ANSWER: u64 = 17;
/// Flags.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Octets that carry nothing, such as those of PING, SETTINGS, PRIORITY, WINDOW_UPDATE and of frames' own headers, for each one that
/// does carry something, one way or the other.
pub(crate) const IDLE_RATIO: u64 = 8;
/// So many more at any time (nginx grants both, too), and so many for each second that the connection lasts: who does nothing
/// but ask fifteen times a second whether the other end lives may do so for ever.
pub(crate) const SPARE: u64 = 1 << 20;
pub(crate) const SPARE_EACH_SECOND: u64 = 256;

/// Where among the frames the reader is, and what they were.
#[derive(Debug)]
pub struct Frames {
    /// So many octets of a payload, or of the preface, are still to come.
    rest: usize,
    /// What came of a frame's own header.
    header: [u8; FRAME_HEADER],
    came: usize,
    /// A block of fields has begun.
    under_way: bool,
    /// The payload that comes is the last one of it.
    is_last: bool,
    /// The payload that comes carries something.
    carries: bool,
    /// Octets that carry something, and all others.
    useful: u64,
    idle: u64,
    /// Octets of what has to be answered to frames that carry nothing.
    answers: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// Of a connection of which nothing was read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rest: PREFACE,
            header: [0; FRAME_HEADER],
            came: 0,
            under_way: false,
            is_last: false,
            carries: true,
            useful: 0,
            idle: 0,
            answers: 0,
        }
    }

    /// The same from an endpoint, which sends no preface.
    #[must_use]
    pub const fn of_answers() -> Self {
        Self { rest: 0, ..Self::new() }
    }

    /// Whether there is a head that has begun and not ended.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Takes note of what comes next; tells whether a head ended with it or in it.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.rest == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(FRAME_HEADER - self.came));
                self.header[self.came..self.came + now.len()].copy_from_slice(now);
                (self.came, bytes) = (self.came + now.len(), later);
                if self.came < FRAME_HEADER {
                    break;
                }
                self.begin();
            } else {
                let now = bytes.len().min(self.rest);
                (self.rest, bytes) = (self.rest - now, &bytes[now..]);
                *(if self.carries { &mut self.useful } else { &mut self.idle }) += now as u64;
            }
            if self.rest == 0 && self.is_last {
                (self.under_way, self.is_last, ended) = (false, false, true);
            }
        }
        ended
    }

    /// A frame's header has come.
    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        let is_head = matches!(kind, HEADERS | CONTINUATION);
        self.rest = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.came = 0;
        self.under_way |= is_head;
        self.is_last = is_head && flags & END_HEADERS != 0;
        self.carries = is_head || kind == DATA;
        self.idle += FRAME_HEADER as u64;
        if flags & ACK == 0 && matches!(kind, PING | SETTINGS) {
            self.answers += ANSWER;
        }
    }

    /// Whether more came that carries nothing than all else is an excuse for: what came and carries something, and the octets that
    /// were `written` to the other end but for answers to such frames. `seconds` tells how long the connection lasts, if it matters.
    #[must_use]
    pub fn is_flood(&self, written: u64, seconds: impl FnOnce() -> u64) -> bool {
        let useful = self.useful + written.saturating_sub(self.answers);
        let spare = self.idle.saturating_sub(useful.saturating_mul(IDLE_RATIO));
        spare > SPARE && spare - SPARE > seconds().saturating_mul(SPARE_EACH_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const BEGUN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// So many octets that carry nothing may come at once behind the preface.
    const BEFORE: u64 = SPARE + PREFACE as u64 * IDLE_RATIO;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// After all of this, in pieces of each size: whether a head is under way, and whether one ended with the last piece.
    #[track_caller]
    fn assert_seen(frames: &[Vec<u8>], under_way: bool, ended: bool) {
        let bytes = [BEGUN, &frames.concat()].concat();
        for size in 1..=bytes.len() {
            let mut watch = Frames::new();
            let last = bytes.chunks(size).map(|it| watch.pass(it)).last();
            assert_eq!(watch.is_under_way(), under_way, "in pieces of {size}");
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
        let mut watch = Frames::new();
        assert!(watch.pass(&[BEGUN, &whole, &first].concat()) && watch.is_under_way(), "the next has begun");
    }

    #[test]
    fn what_a_payload_looks_like_does_not_matter() {
        let data = frame(0, END_HEADERS, &frame(HEADERS, 0, b"no head"));
        assert_seen(&[data.clone(), data], false, false);
        // Not allowed, and h2 says so; here it is no end of a head.
        assert_seen(&[frame(HEADERS, 0, b"fields"), frame(6, END_HEADERS, &[0; 8])], true, false);
    }

    /// How many of these frames may come in the first second of a connection while so much is written to it for each: `None` if
    /// all of a million may.
    fn most(frames: &[Vec<u8>], written_for_each: u64) -> Option<u64> {
        let bytes = frames.concat();
        let mut watch = Frames::new();
        watch.pass(BEGUN);
        (1..1_000_000).find(|turn| {
            watch.pass(&bytes);
            watch.is_flood(turn * written_for_each, || 0)
        })
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_unless_others_come_or_go_with_them() {
        let ping = frame(PING, 0, &[7; 8]);
        let settings = frame(SETTINGS, 0, &[]);
        // What is answered to them is no excuse for them.
        assert_eq!(most(std::slice::from_ref(&ping), 17), Some(BEFORE / 17 + 1));
        assert_eq!(most(std::slice::from_ref(&settings), 9), Some(BEFORE / 9 + 1));
        assert_eq!(most(&[frame(PING, ACK, &[7; 8])], 0), Some(BEFORE / 17 + 1));
        assert_eq!(most(&[frame(DATA, 0, &[])], 0), Some(BEFORE / 9 + 1));
        assert_eq!(most(&[frame(2, 0, &[0; 5])], 0), Some(BEFORE / 14 + 1));
        // A body in small pieces, with a ping for each; small requests; windows for small answers.
        assert_eq!(most(&[frame(DATA, 0, &[0; 5]), ping], 17), None);
        assert_eq!(most(&[frame(HEADERS, END_HEADERS, &[0x82; 4]), frame(3, 0, &[0; 4])], 0), None);
        assert_eq!(most(&[frame(8, 0, &[0; 4]), frame(8, 0, &[0; 4])], 20), None);
    }

    #[test]
    fn time_is_an_excuse_too() {
        let mut watch = Frames::new();
        watch.pass(BEGUN);
        watch.pass(&frame(PING, ACK, &[7; 8]).repeat(100_000));
        let needed = (1_700_000 - BEFORE).div_ceil(SPARE_EACH_SECOND);
        assert!(watch.is_flood(0, || needed - 1) && !watch.is_flood(0, || needed));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            frames in vec((0_u8..12, any::<u8>(), vec(any::<u8>(), 0..40)), 0..12),
            cuts in vec(1_usize..50, 1..8),
        ) {
            let frames: Vec<Vec<u8>> = frames.iter().map(|it| frame(it.0, it.1, &it.2)).collect();
            let bytes = [BEGUN, &frames.concat()].concat();
            let (mut whole, mut parts) = (Frames::new(), Frames::new());
            let mut ended = false;
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
                ended |= parts.pass(now);
                rest = later;
            }
            prop_assert_eq!(whole.pass(&bytes), ended);
            prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
            prop_assert_eq!(whole.useful + whole.idle, bytes.len() as u64);
        }
    }
}
