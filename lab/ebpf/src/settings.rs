//! What user space decides before the programs are loaded.

/// All words, so that both sides lay it out alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Settings {
    /// Where the client's Envoy accepts, on 127.0.0.1.
    pub outbound: u32,
    /// The port of the application that the server's Envoy stands before.
    pub application: u32,
    /// Not 0: data goes from socket to socket.
    pub sockmap: u32,
    /// Bytes from the start of a `struct sock` to its `sk_user_data`, from the kernel's BTF.
    pub sk_user_data: u32,
    /// Bytes from the start of a `struct sock` to its cookie.
    pub cookie: u32,
    /// Bytes from the start of a `struct sk_psock` to its `msg_tot_len`.
    pub unread: u32,
}

#[unsafe(no_mangle)]
static SETTINGS: Settings =
    Settings { outbound: 0, application: 0, sockmap: 0, sk_user_data: 0, cookie: 0, unread: 0 };

/// Read anew each time, as the compiler believes in zeros.
#[inline(always)]
pub fn settings() -> Settings {
    // SAFETY: a valid static; user space wrote it before the program was loaded.
    unsafe { (&raw const SETTINGS).read_volatile() }
}
