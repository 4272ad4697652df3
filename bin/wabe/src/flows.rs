//! `wabe flows`: connections that were opened, closed and refused.

use std::process::ExitCode;

use wabe_agent::api::{End, Flow, FlowKind, Reply, Request};
use wabe_keeper::layout::Mesh;

use crate::{
    ask,
    cli::{Flows, Output},
    failure::Failure,
    screen::{Colour, bytes, duration, json, line, paint},
};

pub(crate) fn run(mesh: &Mesh, arguments: &Flows) -> Result<ExitCode, Failure> {
    let request = Request::Flows { follow: arguments.follow, last: arguments.last };
    let mut replies = ask::conversation(mesh, &request)?;
    loop {
        match replies.reply()? {
            Some(Reply::Flow(flow)) if arguments.refused && flow.kind != FlowKind::Refused => {}
            Some(Reply::Flow(flow)) => match arguments.plain.output {
                Output::Json => json(&flow)?,
                Output::Text | Output::Yaml => line(&text(&flow))?,
            },
            Some(Reply::FlowsEnd { lost }) => {
                if lost > 0 {
                    eprintln!("{lost} lines were lost by slow readers");
                }
                return Ok(ExitCode::SUCCESS);
            }
            Some(Reply::Refused { message }) => return Err(Failure::refused(message)),
            Some(other) => return Err(ask::unexpected(&other)),
            None => return Err(ask::broken()),
        }
    }
}

fn text(flow: &Flow) -> String {
    let (kind, colour) = match flow.kind {
        FlowKind::Opened => ("opened ", Colour::Green),
        FlowKind::Closed => ("closed ", Colour::Dim),
        FlowKind::Refused => ("refused", Colour::Red),
        FlowKind::Failed => ("failed ", Colour::Yellow),
    };
    let mut text =
        format!("{} {} {} -> {}", clock(flow.time), paint(kind, colour), end(&flow.from), end(&flow.to));
    if let Some(service) = &flow.service {
        text += &format!(" ({service}:{})", flow.dialled_port);
    }
    text += &format!(" {}", flow.lane);
    match flow.kind {
        FlowKind::Closed => {
            text += &format!(
                " {} out, {} in, {}, RTT {}",
                bytes(flow.bytes_sent),
                bytes(flow.bytes_received),
                duration(flow.duration),
                duration(flow.rtt.into())
            );
            if flow.retransmits > 0 {
                text += &format!(", {} sent again", flow.retransmits);
            }
            if flow.reset {
                text += ", reset";
            }
        }
        FlowKind::Refused | FlowKind::Failed => {
            text += &format!(" {}", flow.reason.as_deref().unwrap_or("nobody answered"));
        }
        FlowKind::Opened => {}
    }
    if let Some(rule) = &flow.rule {
        text += &format!(", {rule}");
    }
    if flow.suppressed > 0 {
        text += &format!(", and {} more like it", flow.suppressed);
    }
    text
}

fn end(end: &End) -> String {
    match (&end.workload, end.replica, end.address) {
        (Some(workload), Some(replica), _) => format!("{workload}-{replica}"),
        (Some(workload), None, _) => workload.to_string(),
        (None, _, Some(address)) if address.is_ipv6() => format!("[{address}]:{}", end.port),
        (None, _, Some(address)) => format!("{address}:{}", end.port),
        (None, _, None) => "?".into(),
    }
}

/// Time of day in UTC.
fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_whom_and_why() {
        let end = |workload: &str| End {
            workload: Some(workload.into()),
            replica: Some(0),
            address: None,
            port: 0,
        };
        let flow = Flow {
            time: 3_723_004,
            kind: FlowKind::Refused,
            reporters: vec!["source".into()],
            protocol: "tcp".into(),
            from: end("shop/thief"),
            to: end("shop/payment"),
            service: Some("shop/payment".into()),
            dialled: None,
            dialled_port: 80,
            lane: "refused".into(),
            verdict: "refused".into(),
            reason: Some("policy_no_match".into()),
            rule: None,
            generation: 3,
            bytes_sent: 0,
            bytes_received: 0,
            duration: 0,
            rtt: 0,
            retransmits: 0,
            reset: false,
            suppressed: 4,
        };
        assert_eq!(
            text(&flow),
            "01:02:03.004 refused shop/thief-0 -> shop/payment-0 (shop/payment:80) refused policy_no_match, \
             and 4 more like it"
        );
    }
}
