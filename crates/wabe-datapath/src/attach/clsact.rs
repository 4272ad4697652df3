//! The source guard where the kernel has no tcx (before 6.6): a filter of the interface's clsact qdisc.
//!
//! No link stands for a filter, so nothing is pinned. It is found again by its priority and handle, and goes with its
//! interface; until then it stays, so that a workload that ends is guarded to the last packet. The program is the same
//! one: with the flag *direct action*, which aya sets, its return codes have the numbers of tcx (`TCX_NEXT` is
//! `TC_ACT_UNSPEC`, and so on: include/uapi/linux/bpf.h).

use std::mem;

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
};

/// Before every other filter; the interface is the mesh's own, so there is none.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Whether the kernel has tcx, asked of the loopback interface. A kernel without it does not know the question; any
/// other answer leaves it to attaching to say what is wrong.
pub(crate) fn is_needed() -> bool {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Err(ProgramError::SyscallError(error)) => error.io_error.raw_os_error() == Some(libc::EINVAL),
        Ok(_) | Err(_) => false,
    }
}

/// Makes `program` the guard of an interface. One that an earlier agent left is replaced without a moment in which
/// there is none (`cls_bpf_change` swaps the two under RCU).
pub(super) fn attach(program: &mut SchedClassifier, interface: &str) -> Result<(), ProgramError> {
    if let Err(error) = qdisc_add_clsact(interface)
        && !exists(&error)
    {
        return Err(error.into());
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let made =
        program.attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    let link = match made {
        Err(ProgramError::TcError(error)) if exists(&error) => {
            let earlier =
                SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
                    .map_err(TcError::IoError)?;
            program.attach_to_link(earlier)
        }
        made => made,
    }?;
    // Dropping it would remove the filter. It owns nothing but numbers.
    mem::forget(program.take_link(link)?);
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "aya's enum: every other error is another one")]
fn exists(error: &TcError) -> bool {
    match error {
        TcError::NetlinkError(error) => error.raw_os_error() == Some(libc::EEXIST),
        TcError::AlreadyAttached => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, UdpSocket},
        thread,
    };

    use aya::{Ebpf, programs::Program};
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    use wabe_abi::{DropReason, Ip, VethRecord, maps::counter};

    use super::attach;
    use crate::{OBJECT, Write, attach::load_programs, kernel::Tables, object::GUARD};

    /// The loopback interface of every network namespace.
    const LOOPBACK: u32 = 1;

    /// One agent's programs and tables, attached to the loopback interface of the current namespace.
    struct Agent {
        _ebpf: Ebpf,
        tables: Tables,
    }

    impl Agent {
        fn start() -> Self {
            let mut ebpf = Ebpf::load(OBJECT).expect("the object");
            load_programs(&mut ebpf).expect("every program loads");
            let tables = Tables::of(&mut ebpf, Default::default()).expect("tables");
            let Some(Program::SchedClassifier(guard)) = ebpf.program_mut(GUARD) else {
                panic!("the guard is a classifier")
            };
            attach(guard, "lo").expect("it attaches");
            Self { _ebpf: ebpf, tables }
        }

        fn lets_in(&mut self, address: Ipv4Addr) {
            let record = VethRecord { v4: Ip::from(std::net::IpAddr::V4(address)), ..VethRecord::default() };
            self.tables.write(&Write::Veth(LOOPBACK, Some(record))).expect("write");
        }

        fn refusals(&self, reason: DropReason) -> u64 {
            self.tables.counters().expect("counters")[(counter::REASONS + reason as u32) as usize]
        }
    }

    /// Whether a datagram from this machine to itself arrives. On the loopback interface it does so before `send`
    /// returns.
    fn arrives() -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("not blocking");
        socket.connect(socket.local_addr().expect("its address")).expect("connected to itself");
        socket.send(b"?").expect("sent");
        socket.recv(&mut [0; 1]).is_ok()
    }

    fn in_a_fresh_namespace(test: fn()) {
        let run = move || {
            // SAFETY: the thread shares no file descriptors or memory maps less than before: only its network changes.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests need root");
            // As a workload with the address 127.0.0.1 would have it.
            let set = ["link", "set", "lo", "address", "02:77:7f:00:00:01", "up"];
            let up = std::process::Command::new("ip").args(set).status();
            assert!(up.expect("ip(8)").success());
            test();
        };
        thread::spawn(run).join().expect("the test's thread");
    }

    #[test]
    fn a_filter_decides_as_a_tcx_program_does() {
        in_a_fresh_namespace(|| {
            assert!(arrives(), "without a guard");
            let mut agent = Agent::start();
            assert!(!arrives(), "the guard knows no workload here");
            assert_eq!(agent.refusals(DropReason::UnknownWorkload), 1);
            agent.lets_in(Ipv4Addr::LOCALHOST);
            assert!(arrives(), "the address is the workload's");
            agent.lets_in(Ipv4Addr::new(10, 0, 0, 1));
            assert!(!arrives(), "the address is another's");
            assert_eq!(agent.refusals(DropReason::ForgedSource), 1);
        });
    }

    #[test]
    fn a_second_agent_takes_the_filters_place() {
        in_a_fresh_namespace(|| {
            let first = Agent::start();
            let mut second = Agent::start();
            second.lets_in(Ipv4Addr::LOCALHOST);
            assert!(arrives(), "only the second one is asked");
            assert_eq!(first.refusals(DropReason::UnknownWorkload), 0);
            drop(second);
            drop(first);
            assert!(arrives(), "the filter outlives the agents, and so do the tables that it uses");
            let third = Agent::start();
            assert!(!arrives());
            assert_eq!(third.refusals(DropReason::UnknownWorkload), 1);
        });
    }
}
