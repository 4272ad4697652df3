//! What the programs count. Both sides read this file: the programs have it as a module of their own.

/// Connections of the application that were led to its sidecar.
pub const REDIRECTED: u32 = 0;
/// Times that a sidecar asked where a connection had been going, and was told.
pub const ANSWERED: u32 = 1;
/// Arriving connections that were given to the sidecar's listener.
pub const STEERED: u32 = 2;
/// Arriving connections that were refused because the sidecar's listener is gone.
pub const ORPHANED: u32 = 3;
/// Messages that went from socket to socket.
pub const MOVED: u32 = 4;
/// Messages that went by TCP because the receiver has too much unread.
pub const BOUNDED: u32 = 5;
/// Messages that went by TCP because the receiver has not read what went by TCP before them.
pub const ORDERED: u32 = 6;
/// Connections that were refused, or left to TCP, because a table was full.
pub const REFUSED: u32 = 7;
