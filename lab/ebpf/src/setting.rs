//! What the loader writes before the programs are loaded. They stay constant, so that the verifier knows them.

macro_rules! settings {
    ($($(#[$doc:meta])* $read:ident: $name:ident: $kind:ty;)+) => {$(
        #[unsafe(no_mangle)]
        static $name: $kind = 0;
        $(#[$doc])*
        #[inline(always)]
        pub fn $read() -> $kind {
            // SAFETY: a static of our own. Volatile, because the compiler knows only its value at build time.
            unsafe { (&raw const $name).read_volatile() }
        }
    )+};
}

settings! {
    /// Where the caller's sidecar listens, on 127.0.0.1.
    outbound_port: OUTBOUND_PORT: u32;
    /// The workload's address, in network order.
    server_address: SERVER_ADDRESS: u32;
    /// The workload's port.
    server_port: SERVER_PORT: u32;
    /// How many connections may be under way to the caller's sidecar.
    capacity: CAPACITY: u32;
    /// Unread bytes above which messages go by TCP.
    most_unread: MOST_UNREAD: u32;
    /// Offset of `sock.sk_user_data`.
    sk_user_data: SK_USER_DATA: u64;
    /// Offset of `sock.__sk_common.skc_cookie`.
    skc_cookie: SKC_COOKIE: u64;
    /// Offset of `sk_psock.msg_tot_len`.
    msg_tot_len: MSG_TOT_LEN: u64;
    /// Offset of `tcp_sock.write_seq`.
    write_seq: WRITE_SEQ: u64;
    /// Offset of `tcp_sock.copied_seq`.
    copied_seq: COPIED_SEQ: u64;
    /// Offset of `sock.sk_backlog.rmem_alloc`.
    rmem_alloc: RMEM_ALLOC: u64;
    /// Offset of `sock.sk_rcvbuf`.
    sk_rcvbuf: SK_RCVBUF: u64;
}
