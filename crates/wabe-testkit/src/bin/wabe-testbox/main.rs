//! Small programs for the live tests to run inside workloads: servers, callers, and attacks.
//!
//! Each prints one JSON value a line, and leaves judging to the test. Only tests run it.

mod args;
mod attack;
mod connect;
mod grpc;
mod hold;
mod lasting;
mod ping;
mod places;
mod quic;
mod report;
mod rogue;
mod serve;
mod sockets;
mod tcp_semantics;
mod udp;
mod web;
mod websocket;

use anyhow::{Result, bail};
use args::Args;

const USAGE: &str = "\
wabe-testbox PROGRAM, one of:
  echo --listen ADDR [--udp]                 sends back what it gets
  id --listen ADDR [--delay MS] [--udp]      answers with WABE_WORKLOAD/WABE_REPLICA (after MS) and closes
  reset --listen ADDR                        accepts, and resets at once
  web --listen ADDR [--grpc ADDR [--tell]]   answers HTTP/1 with what was asked, as JSON; /status/N, /delay/MS and /drop
                                             do what they say, /chat echoes on WebSockets; --grpc: the echo of the
                                             Gateway API's conformance tests (--tell: prints its calls), and one of
                                             streams
  grpc ADDR [--count N] [NAME:VALUE...]      N calls of that echo with these headers
  lasting ADDR ADDR [--count W] [--parallel S]   keeps W WebSockets to the one and S gRPC streams to the other, begins those
                                             anew that end; on stdin: count, quit
  connect ADDR [--count N] [--parallel P | --rate R] [--timeout MS] [--source-mapped] [--no-read] [--summary]
          [--resolve-each]                   asks for the name before each connection
          [--failures]                       with --summary: a line for each failure too, with its times
  ping ADDR [--parallel P] [--count N] [--delay MS]   keeps P connections, N echoes on each
  connect-each ADDR... [--timeout MS]        one connection to each, one after the other
  udp ADDR... [--count N] [--timeout MS] [--delay MS] [--source-mapped] [--connected] [--wait] [--summary]
          [--stay]                           to each in turn, from one socket; --wait: then receives once more,
                                             --stay: until stdin ends,
                                             --until-quit: goes on until a line comes from stdin
  quic-echo --listen ADDR
  quic ADDR... [--parallel P] [--count N] [--bytes EACH] [--delay MS] [--timeout MS]
                                             P connections to each over one socket, N echoes on each connection
  hold ADDR --count N [--source-mapped]      keeps N connections; on stdin: count, quit
  resolve NAME                               asks the C library's resolver
  sockets | raw-socket | raw-socket6 | packet-socket | mptcp [ADDR] | udp-lite | icmp | icmp6 | sctp
  spoof SRC DST PORT [--mac MAC] [--udp]     a SYN (a datagram) with a forged source, by raw and by packet socket
  setns PID                                  tries to enter that process's namespaces
  intrude PID                                tries to signal, trace, read and rob that process
  options                                    tries socket options that need a privilege
  foreign-bind SRC ADDR [--timeout MS]       connects from an address that is not ours
  inherited ADDR [--timeout MS]              connects the socket that is stdin
  proxy --snapshot FILE                      takes the place of the node's proxy, confined as that is, and tries what it must not
  mounts                                     what is mounted where
  tcp-semantics serve --listen ADDR
  tcp-semantics check ADDR [--case NAME] [--count CONNECTIONS] [--bytes EACH] [--timeout MS]
";

fn main() -> Result<()> {
    let mut args = Args::parse(std::env::args().skip(1))?;
    let program = args.word("a program; run wabe-testbox help")?;
    match program.as_str() {
        "help" => print!("{USAGE}"),
        "echo" => serve::echo(&args)?,
        "id" => serve::id(&args)?,
        "reset" => serve::reset(&args)?,
        "web" => web::run(&args)?,
        "connect" => connect::run(&mut args)?,
        "connect-each" => connect::each(&mut args)?,
        "udp" => udp::call(&mut args)?,
        "quic-echo" => quic::serve(&args)?,
        "quic" => quic::call(&mut args)?,
        "grpc" => grpc::call(&mut args)?,
        "hold" => hold::run(&mut args)?,
        "lasting" => lasting::run(&mut args)?,
        "ping" => ping::run(&mut args)?,
        "resolve" => connect::resolve(&mut args)?,
        "spoof" => attack::spoof(&mut args)?,
        "setns" => attack::setns(&mut args)?,
        "intrude" => attack::intrude(&mut args)?,
        "options" => attack::options()?,
        "foreign-bind" => attack::foreign_bind(&mut args)?,
        "inherited" => attack::inherited(&mut args)?,
        "proxy" => rogue::run(&args)?,
        "mounts" => places::mounts()?,
        "tcp-semantics" => tcp_semantics::run(&mut args)?,
        kind if sockets::knows(kind) => sockets::run(kind, &mut args)?,
        other => bail!("no program {other:?}\n{USAGE}"),
    }
    Ok(())
}
