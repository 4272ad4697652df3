//! What the kernel was at, by the names of its functions. Pure.
//!
//! Rules look at a chain from the innermost function outwards, and the first that knows a function decides: time in
//! netfilter called from `ip_rcv` is netfilter's. Helpers that everybody uses (locks, memory, packet buffers) belong to who
//! called them.

use super::look::Frame;

/// A part of the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Rules, connection tracking, address translation.
    Netfilter,
    /// Programs, their helpers and maps, and what sockmap does in place of TCP.
    Ebpf,
    /// Making a task ready, choosing it, switching to it, and what it waited in.
    WakeUps,
    /// Links between namespaces, and the way of packets to and from any link.
    Links,
    /// The link between applications and proxies of one namespace.
    Loopback,
    /// TCP, UDP, IP, sockets.
    Tcp,
    /// The rest of the kernel: entry, exit, copies, files.
    Calls,
    /// Envoy and its like.
    Proxy,
    /// Encryption in user space.
    Tls,
    /// The server's program.
    Server,
    /// The client's program, if it is none of ours.
    Client,
    /// The load generator.
    Generator,
    /// Processes that are none of the arm's.
    Others,
    /// Nothing was to do. Not counted.
    Idle,
}

impl Class {
    /// For people, and in results.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Netfilter => "netfilter",
            Self::Ebpf => "eBPF",
            Self::WakeUps => "wake-ups and scheduling",
            Self::Links => "bridge and veth",
            Self::Loopback => "loopback",
            Self::Tcp => "TCP/IP",
            Self::Calls => "system calls",
            Self::Proxy => "proxy in user space",
            Self::Tls => "TLS",
            Self::Server => "server",
            Self::Client => "client",
            Self::Generator => "generator",
            Self::Others => "other processes",
            Self::Idle => "idle",
        }
    }
}

/// Whole names that the prefixes below would tell wrongly or not at all.
const NAMES: &[(&str, Class)] = &[
    ("ip_sabotage_in", Class::Netfilter),
    ("ip_route_me_harder", Class::Netfilter),
    ("tcp_mt", Class::Netfilter),
    ("udp_mt", Class::Netfilter),
    ("tcp_in_window", Class::Netfilter),
    ("resolve_normal_ct", Class::Netfilter),
    ("l4proto_manip_pkt", Class::Netfilter),
    ("trie_lookup_elem", Class::Ebpf),
    ("do_xdp_generic", Class::Ebpf),
    ("skb_do_redirect", Class::Ebpf),
    ("do_epoll_wait", Class::WakeUps),
    ("do_epoll_pwait", Class::WakeUps),
    ("do_futex", Class::WakeUps),
    ("do_sys_poll", Class::WakeUps),
    ("do_select", Class::WakeUps),
    // They wake with interrupts off, which is seen at the end of their lock.
    ("sock_def_readable", Class::WakeUps),
    ("sock_def_write_space", Class::WakeUps),
    ("default_wake_function", Class::WakeUps),
    ("autoremove_wake_function", Class::WakeUps),
    ("flush_smp_call_function_queue", Class::WakeUps),
    ("sysvec_reschedule_ipi", Class::WakeUps),
    ("sysvec_call_function_single", Class::WakeUps),
    ("loopback_xmit", Class::Loopback),
    ("rep_movs_alternative", Class::Calls),
];

/// Beginnings of names, the special before the general.
const PREFIXES: &[(&str, Class)] = &[
    ("ipt_", Class::Netfilter),
    ("ip6t_", Class::Netfilter),
    ("nft_", Class::Netfilter),
    ("nf_", Class::Netfilter),
    ("xt_", Class::Netfilter),
    ("ebt_", Class::Netfilter),
    ("br_nf_", Class::Netfilter),
    ("iptable_", Class::Netfilter),
    ("ip_vs_", Class::Netfilter),
    ("ipv4_conntrack", Class::Netfilter),
    ("ipv6_conntrack", Class::Netfilter),
    ("hash_conntrack", Class::Netfilter),
    // Places for programs, run through at every call though there is none.
    ("bpf_lsm_", Class::Calls),
    ("bpf_skops_", Class::Tcp),
    ("bpf_", Class::Ebpf),
    ("cgroup_bpf_", Class::Ebpf),
    // As programs read the kernel's own memory; nobody else on a data path does.
    ("copy_from_kernel_", Class::Ebpf),
    ("tcp_bpf_", Class::Ebpf),
    ("udp_bpf_", Class::Ebpf),
    ("sk_psock", Class::Ebpf),
    ("sk_msg_", Class::Ebpf),
    ("sock_map_", Class::Ebpf),
    ("sock_hash_", Class::Ebpf),
    ("cls_bpf_", Class::Ebpf),
    ("tcx_", Class::Ebpf),
    ("htab_", Class::Ebpf),
    ("array_map_", Class::Ebpf),
    ("percpu_array_", Class::Ebpf),
    ("xdp_", Class::Ebpf),
    ("schedule", Class::WakeUps),
    ("sched_", Class::WakeUps),
    ("try_to_wake_up", Class::WakeUps),
    ("ttwu_", Class::WakeUps),
    ("wake_", Class::WakeUps),
    ("ep_", Class::WakeUps),
    ("x64_sys_epoll_wait", Class::WakeUps),
    ("x64_sys_epoll_pwait", Class::WakeUps),
    ("futex", Class::WakeUps),
    ("x64_sys_futex", Class::WakeUps),
    ("finish_task_switch", Class::WakeUps),
    ("finish_wait", Class::WakeUps),
    ("prepare_to_wait", Class::WakeUps),
    ("switch_mm", Class::WakeUps),
    ("switch_to", Class::WakeUps),
    ("enqueue_task", Class::WakeUps),
    ("dequeue_task", Class::WakeUps),
    ("pick_next_", Class::WakeUps),
    ("pick_task", Class::WakeUps),
    ("put_prev_", Class::WakeUps),
    ("select_task_rq", Class::WakeUps),
    ("update_rq_clock", Class::WakeUps),
    ("resched", Class::WakeUps),
    ("preempt_schedule", Class::WakeUps),
    ("do_nanosleep", Class::WakeUps),
    ("tick_nohz_", Class::WakeUps),
    ("veth_", Class::Links),
    ("br_", Class::Links),
    ("copy_user", Class::Calls),
    ("copy_to_", Class::Calls),
    ("copy_from_", Class::Calls),
    ("copy_page_", Class::Calls),
    ("copyin", Class::Calls),
    ("copyout", Class::Calls),
    ("rep_movs", Class::Calls),
    ("tcp_", Class::Tcp),
    ("tcp4_", Class::Tcp),
    ("udp_", Class::Tcp),
    ("ip_", Class::Tcp),
    ("ip6_", Class::Tcp),
    ("ipv6_", Class::Tcp),
    ("inet", Class::Tcp),
    ("fib_", Class::Tcp),
    ("neigh_", Class::Tcp),
    ("arp_", Class::Tcp),
    ("icmp_", Class::Tcp),
    ("sock_", Class::Tcp),
    ("sk_", Class::Tcp),
    ("lock_sock", Class::Tcp),
    ("release_sock", Class::Tcp),
    ("sys_send", Class::Tcp),
    ("sys_recv", Class::Tcp),
    ("sys_accept", Class::Tcp),
    ("sys_connect", Class::Tcp),
    ("sys_socket", Class::Tcp),
];

/// On the way of any packet to or from a link; which one the next function outwards tells.
const ANY_LINK: &[&str] = &[
    "dev_",
    "netdev_",
    "netif_",
    "napi_",
    "gro_",
    "inet_gro_",
    "tcp4_gro_",
    "enqueue_to_backlog",
    "process_backlog",
    "net_rx_action",
    "net_tx_action",
    "sch_",
    "qdisc_",
    "pfifo_fast_",
    "noqueue_",
    "validate_xmit_",
    "eth_",
    "skb_network_protocol",
    "passthru_features_check",
];

/// What the kernel was at.
pub(super) fn kernel(frames: &[Frame]) -> Class {
    // The filter of system calls is a program, too, but no part of any data path.
    if frames.iter().filter_map(name).any(|it| it.starts_with("seccomp_filter")) {
        return Class::Calls;
    }
    let (mut link, mut buffers) = (false, false);
    for name in frames.iter().filter_map(name) {
        if ANY_LINK.iter().any(|prefix| name.starts_with(prefix)) {
            link = true;
            continue;
        }
        match named(name) {
            Some(Class::Loopback) => return Class::Loopback,
            Some(_) if link => return Class::Links,
            Some(class) => return class,
            None => buffers |= is_buffer(name),
        }
    }
    match (link, buffers) {
        (true, _) => Class::Links,
        (false, true) => Class::Tcp,
        (false, false) => Class::Calls,
    }
}

/// Whether a look at a core without a process, or in one that is none of ours, saw work for the network or a wake-up.
pub(super) fn is_interrupted(frames: &[Frame]) -> bool {
    // The last is how kernels before 6.9 name it.
    let softirq = ["handle_softirqs", "do_softirq", "softirqentry_text_start"];
    frames.iter().filter_map(name).any(|it| softirq.contains(&it))
}

/// Whether the core without a process was made to run one.
pub(super) fn is_waking(frames: &[Frame]) -> bool {
    let woken =
        ["schedule", "sched_ttwu_pending", "flush_smp_call_function_queue", "sysvec_", "common_interrupt"];
    frames.iter().filter_map(name).any(|it| woken.iter().any(|prefix| it.starts_with(prefix)))
}

fn named(name: &str) -> Option<Class> {
    let whole = NAMES.iter().find(|(known, _)| *known == name);
    let rule = whole.or_else(|| PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)));
    // Matches and targets of iptables end like this: `comment_mt`, `redirect_tg4`.
    let extension = || ["_mt", "_mt4", "_mt6", "_tg", "_tg4", "_tg6"].iter().any(|end| name.ends_with(end));
    rule.map(|(_, class)| *class).or_else(|| extension().then_some(Class::Netfilter))
}

/// Buffers of packets, if nobody who called is known.
fn is_buffer(name: &str) -> bool {
    ["skb_", "alloc_skb", "kfree_skb", "consume_skb"].iter().any(|prefix| name.starts_with(prefix))
}

/// A function's name without what compilers and habits add: `__tcp_push.part.0` is `tcp_push`.
fn name(frame: &Frame) -> Option<&str> {
    let symbol = frame.symbol.as_deref()?.trim_start_matches('_');
    Some(symbol.split('.').next().unwrap_or(symbol))
}
