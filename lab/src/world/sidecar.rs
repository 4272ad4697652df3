//! Sidecars as Istio has them: a real Envoy on each side with mTLS between them, and the chains that lead to them.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use rustix::thread::{Gid, Uid};

use super::pods::{End, Pods, Role};
use crate::place::Place;

mod certificates;
mod chains;
mod envoy;

/// Where the outbound Envoy accepts what was redirected.
pub(crate) const OUTBOUND: u16 = wabe_lab_datapath::OUTBOUND_PORT;
/// Where the inbound Envoy accepts what was redirected.
pub(crate) const INBOUND: u16 = 15006;
/// Who Envoy is: the chains let its own connections through by that.
pub(crate) const USER: u32 = 1337;

/// How connections get to the sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By Istio's chains.
    Iptables,
    /// By something else, which the caller attaches.
    Other,
}

/// Starts both Envoys and waits until they accept; returns the process id of the server's.
pub(crate) fn start(place: &Place, pods: &mut Pods, envoy: &Path, by: By) -> Result<u32> {
    let certificates = certificates::make()?;
    let folder = pods.folder().to_owned();
    for (name, contents) in certificates.files() {
        let path = folder.join(name);
        std::fs::write(&path, contents).with_context(|| path.display().to_string())?;
        // Keys are for Envoy alone.
        rustix::fs::chown(&path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
    }
    let mut inbound_pid = 0;
    for (role, name, config) in [
        (Role::ClientProxy, "client-envoy", envoy::outbound(&folder)),
        (Role::ServerProxy, "server-envoy", envoy::inbound(&folder)),
    ] {
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)
            .with_context(|| path.display().to_string())?;
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
        command.arg(envoy).arg("-c").arg(path);
        // One worker, as it has one core. No hot restart: two Envoys share a machine.
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        inbound_pid = pods.serve(role, &command, name)?;
    }
    for (end, port) in [(End::Client, OUTBOUND), (End::Server, INBOUND)] {
        pods.listening(place, end, port).context("Envoy")?;
    }
    if by == By::Iptables {
        for end in [End::Client, End::Server] {
            pods.run_in(end, &["iptables-legacy-restore"], Some(&chains::redirect()))
                .context("writing Istio's chains")?;
        }
    }
    Ok(inbound_pid)
}
