//! Where the frames of a WebSocket begin and end (RFC 6455, section 5.2), told from bytes as they come.

/// Follows one direction. Looks at heads of frames only, and holds nothing else.
#[derive(Debug)]
pub struct Frames {
    /// Who sends masks what it sends: a caller does, a server does not.
    masked: bool,
    place: Place,
    closed: bool,
}

/// Where the next byte belongs.
#[derive(Debug)]
enum Place {
    /// To a head, of which so much was seen: two bytes, up to eight of a longer length, four of a mask.
    Head { seen: usize, bytes: [u8; 14] },
    /// To what a frame carries, of which so much is to come.
    Payload { left: u64, closes: bool },
    /// Nowhere: these are no frames.
    Lost,
}

const NOTHING: Place = Place::Head { seen: 0, bytes: [0; 14] };
/// The operation code of a Close frame.
const CLOSE: u8 = 8;

impl Frames {
    /// From the first byte after the handshake on; `masked` of what a caller sends.
    pub fn new(masked: bool) -> Self {
        Self { masked, place: NOTHING, closed: false }
    }

    /// Follows bytes up to the end of the frame that they begin or go on with, and tells how many these are.
    pub fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            match &mut self.place {
                Place::Head { seen, bytes: head } => {
                    head[*seen] = *byte;
                    *seen += 1;
                    taken += 1;
                    if *seen >= 2 && *seen == length_of_head(head[1]) {
                        self.place = behind_head(*head, self.masked);
                    }
                }
                Place::Payload { left, closes: _ } => {
                    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                    *left -= part as u64;
                    taken += part;
                }
                Place::Lost => return bytes.len(),
            }
            if let Place::Payload { left: 0, closes } = self.place {
                self.closed |= closes;
                self.place = NOTHING;
                return taken;
            }
        }
        taken
    }

    /// Follows all of these bytes.
    pub fn follow_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.follow(bytes)..];
        }
    }

    /// Whether another frame may begin here.
    pub fn is_between(&self) -> bool {
        matches!(self.place, Place::Head { seen: 0, .. })
    }

    /// Whether what comes are no frames: then nothing may be put between them.
    pub fn is_lost(&self) -> bool {
        matches!(self.place, Place::Lost)
    }

    /// Whether a Close frame went by.
    pub fn has_closed(&self) -> bool {
        self.closed
    }
}

fn behind_head(head: [u8; 14], masked: bool) -> Place {
    let length = match head[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
        127 => u64::from_be_bytes([head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9]]),
        short => u64::from(short),
    };
    let is_masked = head[1] & 0x80 != 0;
    if is_masked != masked || length > u64::MAX / 2 {
        return Place::Lost;
    }
    Place::Payload { left: length, closes: head[0] & 0x0f == CLOSE }
}

/// As the second byte says.
fn length_of_head(second: u8) -> usize {
    let longer = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + longer + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Why a WebSocket is closed (RFC 6455, section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Why {
    /// Who closes it goes away.
    GoingAway = 1001,
    /// A policy refuses it.
    Policy = 1008,
}

/// A Close frame that says why. Who sends it to a server masks it.
pub fn close(why: Why, mask: Option<[u8; 4]>) -> Vec<u8> {
    let code = (why as u16).to_be_bytes();
    match mask {
        None => vec![0x80 | CLOSE, 2, code[0], code[1]],
        Some(mask) => {
            let [first, second, third, fourth] = mask;
            vec![0x80 | CLOSE, 0x80 | 2, first, second, third, fourth, code[0] ^ first, code[1] ^ second]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![first];
        let bit = if masked { 0x80 } else { 0 };
        if let (Ok(short), true) = (u8::try_from(length), length < 126) {
            bytes.push(bit | short);
        } else if let Ok(longer) = u16::try_from(length) {
            bytes.push(bit | 126);
            bytes.extend(longer.to_be_bytes());
        } else {
            bytes.push(bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
        if masked {
            bytes.extend([0x88, 0x82, 0x88, 0x82]);
        }
        // What looks like Close frames is none inside of another.
        bytes.extend([0x88, 0x02].iter().cycle().take(length));
        bytes
    }

    /// The ends of frames, when the bytes come in pieces of these lengths.
    fn ends(frames: &mut Frames, mut bytes: &[u8], pieces: &[usize]) -> Vec<usize> {
        let (mut ends, mut place) = (Vec::new(), 0);
        for length in pieces.iter().copied().chain([usize::MAX]) {
            let (mut piece, rest) = bytes.split_at(length.min(bytes.len()));
            bytes = rest;
            while !piece.is_empty() {
                let taken = frames.follow(piece);
                assert!(taken > 0);
                place += taken;
                piece = &piece[taken..];
                if frames.is_between() {
                    ends.push(place);
                }
            }
        }
        ends
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_their_bytes_come(
            masked: bool,
            described in vec((any::<u8>(), prop_oneof![0..200_usize, 65_000..66_000_usize]), 1..8),
            pieces in vec(prop_oneof![1..20_usize, 1..70_000_usize], 0..40),
        ) {
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            for (first, length) in &described {
                bytes.extend(frame(*first, *length, masked));
                wanted.push(bytes.len());
            }
            let mut frames = Frames::new(masked);
            prop_assert_eq!(ends(&mut frames, &bytes, &pieces), wanted);
            prop_assert_eq!(frames.has_closed(), described.iter().any(|it| it.0 & 0x0f == CLOSE));
        }

        #[test]
        fn what_is_no_frame_is_lost_however_its_bytes_come(
            bytes in vec(any::<u8>(), 0..300),
            masked: bool,
            pieces in vec(1..20_usize, 0..40),
        ) {
            let (mut whole, mut split) = (Frames::new(masked), Frames::new(masked));
            prop_assert_eq!(ends(&mut whole, &bytes, &[]), ends(&mut split, &bytes, &pieces));
            prop_assert_eq!(
                (whole.is_lost(), whole.is_between(), whole.has_closed()),
                (split.is_lost(), split.is_between(), split.has_closed())
            );
        }
    }

    #[test]
    fn a_close_frame_has_gone_by_once_all_of_it_has() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let bytes = close(Why::GoingAway, mask);
            let mut frames = Frames::new(mask.is_some());
            for byte in &bytes {
                assert!(!frames.has_closed());
                assert_eq!(frames.follow(&[*byte]), 1);
            }
            assert!(frames.has_closed() && frames.is_between());
        }
    }

    #[test]
    fn who_masks_wrongly_or_says_an_impossible_length_is_not_understood() {
        let far = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
        for (masked, bytes) in [(false, frame(0x81, 5, true)), (true, frame(0x81, 5, false)), (false, far)] {
            let mut frames = Frames::new(masked);
            frames.follow_all(&bytes);
            assert!(frames.is_lost() && !frames.is_between());
        }
    }

    #[test]
    fn a_close_frame_says_that_its_sender_goes_away() {
        assert_eq!(close(Why::GoingAway, None), [0x88, 0x02, 0x03, 0xe9]);
        assert_eq!(close(Why::GoingAway, Some([0xff, 0, 1, 2])), [0x88, 0x82, 0xff, 0, 1, 2, 0xfc, 0xe9]);
        assert_eq!(close(Why::Policy, None), [0x88, 0x02, 0x03, 0xf0]);
    }
}
