//! Shared types as aya wants them.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A type of `wabe-abi` as key or value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, FromBytes)]
pub(crate) struct Wire<T>(pub(crate) T);

// SAFETY: `Pod` asks for a type that is `Copy`, has no padding and is valid for every bit pattern; zerocopy's derives
// prove the latter two.
unsafe impl<T: Copy + FromBytes + IntoBytes + Immutable + 'static> aya::Pod for Wire<T> {}
