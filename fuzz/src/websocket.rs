//! Bytes of a WebSocket: frames end where RFC 6455 says, read here once more from the whole, however the bytes come; what are no
//! frames is never taken for some later on.
//!
//! An input is what one end sends, behind two octets: whether it masks, and how long the pieces are that it comes in.

use wabe_proxy::frames::{Frames, Why, close};

use crate::Seed;

/// Where frames end, whether one of them is Close, and whether the bytes stopped being frames.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    ends: Vec<usize>,
    closed: bool,
    lost: bool,
}

/// Follows the bytes as a whole, and in pieces.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let [masked, piece, bytes @ ..] = input else { return };
    let masked = masked % 2 == 1;
    let wanted = read(bytes, masked);
    for length in [bytes.len().max(1), usize::from(*piece).max(1), 1] {
        assert_eq!(follow(bytes, masked, length), wanted, "in pieces of {length}");
    }
    let mut frames = Frames::new(masked);
    frames.follow_all(bytes);
    assert_eq!((frames.has_closed(), frames.is_lost()), (wanted.closed, wanted.lost));
}

fn follow(bytes: &[u8], masked: bool, length: usize) -> Told {
    let (mut frames, mut told, mut place) = (Frames::new(masked), Told::default(), 0);
    for mut piece in bytes.chunks(length) {
        while !piece.is_empty() {
            let taken = frames.follow(piece);
            assert!(taken > 0 && taken <= piece.len(), "{taken} of {}", piece.len());
            assert!(
                !frames.is_lost() || !frames.is_between(),
                "something could be put between what are no frames"
            );
            place += taken;
            piece = &piece[taken..];
            if frames.is_between() {
                told.ends.push(place);
            }
        }
    }
    (told.closed, told.lost) = (frames.has_closed(), frames.is_lost());
    told
}

/// RFC 6455, section 5.2, as simple as can be.
fn read(bytes: &[u8], masked: bool) -> Told {
    let (mut told, mut place) = (Told::default(), 0_usize);
    loop {
        let rest = &bytes[place..];
        let [first, second, ..] = rest else { return told };
        let (extended, masks) = (second & 0x7f, second & 0x80 != 0);
        let long = match extended {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head = 2 + long + if masks { 4 } else { 0 };
        if rest.len() < head {
            return told;
        }
        let number = rest[2..2 + long].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let length = if long == 0 { u64::from(extended) } else { number };
        // The most significant bit must be 0.
        if masks != masked || length >> 63 == 1 {
            told.lost = true;
            return told;
        }
        let Some(end) = usize::try_from(length).ok().and_then(|it| it.checked_add(place + head)) else {
            return told;
        };
        if end > bytes.len() {
            return told;
        }
        place = end;
        told.ends.push(place);
        told.closed |= first & 0x0f == 8;
    }
}

/// Frames of each length and kind, whole and broken off.
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, masked: u8, bytes: &[u8]| (name.to_owned(), [&[masked, 3], bytes].concat());
    let text = [&[0x81, 0x05][..], b"hello"].concat();
    let masked = [&[0x81, 0x85, 1, 2, 3, 4][..], b"hello"].concat();
    let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
    let longer = [&[0x02, 127, 0, 0, 0, 0, 0, 0, 1, 0][..], &[7; 256], &[0x80, 0]].concat();
    vec![
        seed("text", 0, &text),
        seed("masked", 1, &[&masked[..], &close(Why::GoingAway, Some([1, 2, 3, 4]))].concat()),
        seed("wrongly-masked", 0, &masked),
        seed("long", 0, &[&long[..], &close(Why::Policy, None)].concat()),
        seed("longer", 0, &longer),
        seed("ping-and-broken-off", 0, &[&[0x89, 0][..], &long[..40]].concat()),
        seed("endless", 0, &[&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat()),
        seed("nearly-endless", 0, &[&[0x82, 127][..], &(u64::MAX / 2).to_be_bytes(), b"abc"].concat()),
    ]
}
