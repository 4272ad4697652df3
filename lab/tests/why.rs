//! What a look is taken for: made-up chains, and looks of the real profiler.

use std::collections::BTreeMap;

use wabe_lab::{
    results::{Latency, Load},
    tools::{ENVOY_SHA256, Tool},
    why::{self, Frame, Look, Role, Roles, Used},
};

/// What `perf script` printed here: nginx and wrk across a bridge with rules, Envoy with TLS on loopback, and a program of
/// eBPF at a socket; numbers of processes replaced, user space cut short.
const PRINTED: &str = include_str!("why/perf-script.txt");

/// A look at a chain in the kernel, written from the innermost function outwards.
fn look(name: &str, pid: u32, chain: &str) -> Look {
    let frame = |symbol: &str| Frame {
        address: 0xffff_ffff_8100_0000,
        symbol: Some(symbol.to_owned()),
        object: Some("[kernel.kallsyms]".to_owned()),
    };
    let frames = chain.split(" < ").filter(|it| !it.is_empty()).map(frame).collect();
    Look { name: name.to_owned(), pid, tid: pid, core: 0, time: 0.0, frames }
}

fn roles() -> Roles {
    Roles::new(&[(1, Role::Server), (2, Role::Client), (3, Role::Proxy), (4, Role::Generator)])
}

/// Envoy at another path than it was installed at, as in a workload.
fn envoy(sha256: &str) -> Tool {
    let path = "/somewhere/envoy".into();
    Tool { name: "envoy", path, version: "1.40.0".to_owned(), sha256: sha256.to_owned() }
}

#[test]
fn the_innermost_function_that_tells_decides() {
    const RECEIVED: &str =
        "net_rx_action < handle_softirqs < do_softirq.part.0 < __local_bh_enable_ip < __dev_queue_xmit";
    for (chain, class) in [
        // Rules and tracking, wherever they are called from.
        ("ipt_do_table < nf_hook_slow < ip_rcv < process_backlog", "netfilter"),
        ("comment_mt < ipt_do_table < nf_hook_slow < __ip_local_out < __tcp_transmit_skb", "netfilter"),
        ("nft_do_chain < nft_do_chain_ipv4 < nf_hook_slow < ip_output", "netfilter"),
        ("kmem_cache_free < br_nf_dev_queue_xmit < nf_hook_slow < br_forward", "netfilter"),
        ("_raw_spin_lock < __nf_conntrack_confirm < nf_hook_slow < ip_local_deliver", "netfilter"),
        ("skb_ensure_writable < l4proto_manip_pkt < nf_nat_manip_pkt < ip_rcv", "netfilter"),
        ("memcmp < redirect_tg4 < ipt_do_table", "netfilter"),
        // What is called after netfilter let pass is not netfilter's.
        ("tcp_v4_rcv < ip_protocol_deliver_rcu < nf_hook_slow", "TCP/IP"),
        ("br_forward < br_nf_post_routing < nf_hook_slow", "bridge and veth"),
        ("bpf_prog_6deef7357e7b4530_redirect < tcx_run < __netif_receive_skb_core", "eBPF"),
        ("htab_map_hash < __htab_map_lookup_elem < bpf_prog_1_x < cls_bpf_classify < tcp_write_xmit", "eBPF"),
        ("__cgroup_bpf_run_filter_sock_addr < inet_stream_connect < __sys_connect", "eBPF"),
        ("tcp_bpf_sendmsg < sock_sendmsg < ksys_write", "eBPF"),
        ("sk_psock_msg_verdict < tcp_bpf_sendmsg < sock_sendmsg", "eBPF"),
        ("copy_from_kernel_nofault < bpf_probe_read_kernel < bpf_prog_1_x < sk_psock_msg_verdict", "eBPF"),
        // Hooks without a program, and the filter of system calls, are no data path.
        ("bpf_lsm_file_permission < security_file_permission < vfs_write", "system calls"),
        ("bpf_skops_write_hdr_opt.isra.0 < __tcp_transmit_skb < tcp_write_xmit", "TCP/IP"),
        ("bpf_prog_0a0b < __seccomp_filter < syscall_trace_enter < do_syscall_64", "system calls"),
        (
            "try_to_wake_up < ep_poll_callback < __wake_up_common < sock_def_readable < tcp_rcv_established",
            "wake-ups and scheduling",
        ),
        ("_raw_spin_unlock_irqrestore < sock_def_readable < tcp_rcv_established", "wake-ups and scheduling"),
        (
            "finish_task_switch.isra.0 < __schedule < schedule < schedule_hrtimeout_range < ep_poll",
            "wake-ups and scheduling",
        ),
        ("futex_wake < do_futex < __x64_sys_futex < do_syscall_64", "wake-ups and scheduling"),
        // Links: which one, the next function outwards tells.
        (
            "eth_type_trans < loopback_xmit < dev_hard_start_xmit < __dev_queue_xmit < ip_finish_output2",
            "loopback",
        ),
        (
            "enqueue_to_backlog < netif_rx_internal < __netif_rx < loopback_xmit < dev_hard_start_xmit",
            "loopback",
        ),
        (
            "enqueue_to_backlog < netif_rx_internal < __netif_rx < veth_xmit < dev_hard_start_xmit",
            "bridge and veth",
        ),
        ("skb_clone < br_handle_frame < __netif_receive_skb_core.constprop.0", "bridge and veth"),
        (RECEIVED, "bridge and veth"),
        ("__dev_queue_xmit < ip_finish_output2 < ip_output", "bridge and veth"),
        ("skb_release_data < __kfree_skb < tcp_ack < tcp_rcv_established", "TCP/IP"),
        ("ip_finish_output2 < ip_output < __ip_queue_xmit < __tcp_transmit_skb", "TCP/IP"),
        ("udpv6_sendmsg < inet6_sendmsg < __sys_sendto", "TCP/IP"),
        ("kfree_skb_reason < rcu_core", "TCP/IP"),
        ("_copy_to_iter < __skb_datagram_iter < skb_copy_datagram_iter < tcp_recvmsg_locked", "system calls"),
        ("fdget < ksys_write < do_syscall_64 < entry_SYSCALL_64_after_hwframe", "system calls"),
        ("entry_SYSCALL_64_after_hwframe", "system calls"),
    ] {
        for pid in 1..=4 {
            assert_eq!(why::classify(&look("x", pid, chain), &roles()), class, "{chain}");
        }
    }
}

#[test]
fn whose_the_work_is_depends_on_who_was_there() {
    const SOFTIRQ: &str = "tcp_v4_rcv < ip_rcv < process_backlog < net_rx_action < handle_softirqs";
    for (name, pid, chain, class) in [
        ("nginx", 1, "", "server"),
        ("wrk", 2, "", "client"),
        ("wrk:worker_0", 3, "", "proxy in user space"),
        ("wabe", 4, "", "generator"),
        ("swapper", 0, "pv_native_safe_halt < default_idle < do_idle < cpu_startup_entry", "idle"),
        ("swapper", 0, "", "idle"),
        ("swapper", 0, "tick_nohz_idle_enter < do_idle < cpu_startup_entry", "idle"),
        (
            "swapper",
            0,
            "finish_task_switch.isra.0 < __schedule < schedule_idle < do_idle",
            "wake-ups and scheduling",
        ),
        ("swapper", 0, SOFTIRQ, "TCP/IP"),
        ("ksoftirqd/1", 20, "tcp_v4_rcv < ip_rcv < run_ksoftirqd", "TCP/IP"),
        // A stranger was interrupted by our packets, or did something for itself.
        ("rustc", 99, SOFTIRQ, "TCP/IP"),
        ("rustc", 99, "tcp_sendmsg < ksys_write", "other processes"),
        ("rustc", 99, "", "other processes"),
        ("kworker/0:1-events", 21, "schedule < worker_thread", "other processes"),
    ] {
        assert_eq!(why::classify(&look(name, pid, chain), &roles()), class, "{name}: {chain}");
    }
}

#[test]
fn real_looks_are_read_and_told_apart() {
    let looks = why::parse(PRINTED);
    let mut roles = Roles::new(&[(1000, Role::Client), (1002, Role::Server), (1003, Role::Proxy)]);
    assert!(roles.know_envoy(&envoy(ENVOY_SHA256)));
    let told: Vec<(&str, u32, &str)> =
        looks.iter().map(|it| (it.name.as_str(), it.pid, why::classify(it, &roles))).collect();
    let expected = [
        ("wrk", 1000, "netfilter"),
        ("nginx", 1002, "netfilter"),
        ("nginx", 1002, "bridge and veth"),
        ("nginx", 1002, "bridge and veth"),
        ("swapper", 0, "idle"),
        ("nginx", 1002, "wake-ups and scheduling"),
        ("wrk", 1000, "TCP/IP"),
        ("wrk", 1000, "system calls"),
        ("nginx", 1002, "system calls"),
        ("nginx", 1002, "server"),
        ("wrk", 1000, "client"),
        ("wrk:worker_0", 1003, "loopback"),
        ("wrk:worker_0", 1003, "TLS"),
        ("wrk:worker_0", 1003, "proxy in user space"),
        ("python3", 1005, "eBPF"),
    ];
    assert_eq!(told, expected);
    let first = &looks[0];
    assert_eq!((first.tid, first.core, first.time), (1001, 0, 73398.632856));
    assert_eq!(first.frames[0].symbol.as_deref(), Some("ipt_do_table"));
    assert_eq!(first.frames[0].address, 0xffff_ffff_820f_21d2);
    assert_eq!(looks[9].frames[0].object.as_deref(), Some("/usr/sbin/nginx"));
    assert_eq!(looks[9].frames[1].symbol, None);
}

#[test]
fn an_envoy_whose_places_are_not_known_has_its_tls_told_as_its_own() {
    let mut roles = Roles::new(&[(1003, Role::Proxy)]);
    assert!(!roles.know_envoy(&envoy("00")));
    assert_eq!(why::classify(&why::parse(PRINTED)[12], &roles), "proxy in user space");
}

#[test]
fn names_with_spaces_and_broken_lines_do_no_harm() {
    let text = "perf: warning of something
dog of two words    7/8     [001]  12.500000: 
\t         6143bcc <a::B as c::D<e (f)>>::visit (/usr/lib/lib (x).so)
\tnot a frame
\tffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])

\t            1234 nobody's ([unknown])

x 9/9 [000] 13.0: 
";
    let looks = why::parse(text);
    assert_eq!(looks.len(), 2);
    let (dog, x) = (&looks[0], &looks[1]);
    assert_eq!(
        (dog.name.as_str(), dog.pid, dog.tid, dog.core, dog.time),
        ("dog of two words", 7, 8, 1, 12.5)
    );
    assert_eq!(dog.frames.len(), 2);
    assert!(dog.frames[0].symbol.as_deref().is_some_and(|it| it.starts_with("<a::B as c::D")));
    assert_eq!(dog.kernel().len(), 2);
    assert!(x.frames.is_empty() && x.pid == 9);
    assert_eq!(why::parse(""), []);
}

#[test]
fn shares_are_of_what_was_not_idle_and_the_time_is_the_processes() {
    let used = Used { processes: 1.5, switches: 4000 };
    let chains = ["ipt_do_table", "", "", "", "tcp_ack", "tcp_ack", "loopback_xmit", "__schedule"];
    let mut looks: Vec<Look> = chains.iter().map(|chain| look("envoy", 3, chain)).collect();
    looks.extend([look("swapper", 0, "default_idle"), look("swapper", 0, "default_idle")]);
    let told = why::breakdown(
        "sidecar-iptables",
        "p",
        &looks,
        &roles(),
        &Load { user: 0.25, system: 0.25, ..load(10_000) },
        &used,
    );
    let told = told.expect("a breakdown");
    let shares: BTreeMap<&str, f64> = told.shares.iter().map(|it| (it.what.as_str(), it.share)).collect();
    let expected = [
        ("TCP/IP", 0.25),
        ("loopback", 0.125),
        ("netfilter", 0.125),
        ("proxy in user space", 0.375),
        ("wake-ups and scheduling", 0.125),
    ];
    assert_eq!(shares, BTreeMap::from(expected));
    assert_eq!(told.shares[0].what, "proxy in user space");
    assert_eq!((told.looks, told.rate, told.per_request, told.switches), (8, 5000.0, 200.0, 0.4));

    let saving = why::could_be_saved(&told);
    let limits = (saving.redirection, saving.sockets, saving.untouched, saving.rest);
    assert_eq!(limits, (0.125, 0.375, 0.5, 0.0));
    assert_eq!(
        saving.sentence,
        "Of 200.0 µs of processor time for one request, redirection by eBPF in place of iptables could save 25.0 µs \
         (12.5 %) at most, which is all that netfilter takes; passing data from socket to socket could save 75.0 µs \
         (37.5 %) more at most, if all of TCP/IP and of links were between applications and their proxies. Neither touches 75.0 µs in \
         proxies and TLS (37.5 %), nor 25.0 µs of wake-ups (12.5 %)."
    );
}

#[test]
fn without_answers_or_work_there_is_no_breakdown() {
    let roles = roles();
    let busy = [look("nginx", 1, "")];
    assert!(why::breakdown("a", "p", &busy, &roles, &load(0), &Used::default()).is_err());
    let idle = [look("swapper", 0, "default_idle")];
    assert!(why::breakdown("a", "p", &idle, &roles, &load(1), &Used::default()).is_err());
}

/// A load of two seconds.
fn load(answered: u64) -> Load {
    let latency = Latency {
        count: 0,
        mean: 0.0,
        deviation: 0.0,
        min: 0,
        p5: 0,
        p25: 0,
        p50: 0,
        p75: 0,
        p90: 0,
        p95: 0,
        p99: 0,
        p999: 0,
        max: 0,
        histogram: String::new(),
    };
    Load {
        answers: answered,
        intended_rate: None,
        sent: answered,
        answered,
        failed: BTreeMap::new(),
        seconds: 2.0,
        bytes: 0,
        latency,
        lateness: None,
        set_up: None,
        user: 0.0,
        system: 0.0,
    }
}
