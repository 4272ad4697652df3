//! Routes, rules and tables of the network namespace that this thread is in.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::system::check;

/// One entry per IPv4 and IPv6 route, in any routing table: `<family> <number>`. Numbered, not described: routes carry
/// ages, which would make the same route look like two.
pub(super) fn routes() -> Vec<String> {
    per_family(libc::RTM_GETROUTE)
}

/// One entry per IPv4 and IPv6 routing rule.
pub(super) fn rules() -> Vec<String> {
    per_family(libc::RTM_GETRULE)
}

/// One entry per nftables table, of any family.
pub(super) fn nft_tables() -> Vec<String> {
    let get_table = u16::try_from((libc::NFNL_SUBSYS_NFTABLES << 8) | libc::NFT_MSG_GETTABLE);
    // struct nfgenmsg: family (0 for all), version, resource.
    let count = dump(libc::NETLINK_NETFILTER, get_table.expect("invariant: 16 bits"), &[0, 0, 0, 0]);
    (1..=count.expect("nf_tables can be listed by root")).map(|number| number.to_string()).collect()
}

fn per_family(kind: u16) -> Vec<String> {
    let mut all = Vec::new();
    for (name, family) in [("IPv4", libc::AF_INET), ("IPv6", libc::AF_INET6)] {
        // struct rtmsg and struct fib_rule_hdr: the family, and eleven bytes that select nothing.
        let mut body = [0; 12];
        body[0] = u8::try_from(family).expect("invariant: small");
        let count = dump(libc::NETLINK_ROUTE, kind, &body).expect("routes can be listed");
        all.extend((1..=count).map(|number| format!("{name} {number}")));
    }
    all
}

/// The number of messages in a dump.
fn dump(protocol: libc::c_int, kind: u16, body: &[u8]) -> io::Result<usize> {
    // SAFETY: no memory is passed.
    let socket = check(
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) }.into(),
    )?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket =
        unsafe { OwnedFd::from_raw_fd(i32::try_from(socket).expect("invariant: descriptors are ints")) };
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).expect("invariant: 16 bits");
    let length = u32::try_from(16 + body.len()).expect("invariant: small");
    let request =
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat();
    // SAFETY: the buffer is as long as said and lives until the call returns.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    check(sent as libc::c_long)?;
    let mut count = 0;
    loop {
        let mut buffer = vec![0_u8; 64 << 10];
        // SAFETY: the buffer is as long as said and lives until the call returns.
        let read = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let read = usize::try_from(check(read as libc::c_long)?).expect("invariant: not negative");
        let mut rest = &buffer[..read];
        while let Some((length, kind)) = header(rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(count),
                libc::NLMSG_ERROR => {
                    let code =
                        rest.get(16..20).and_then(|it| it.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => count += 1,
            }
            // Messages begin at multiples of four.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn header(message: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(message.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    // Shorter than its own header would never end.
    usize::try_from(length).ok().filter(|it| *it >= 16).map(|it| (it, kind))
}
