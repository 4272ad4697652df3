//! What a mesh has in the host's network namespace.

use std::os::fd::AsFd as _;

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use rustix::io::Errno;

use crate::{
    layout::{Mesh, traces::has_table},
    net::{NetError, delete_table, namespace, nft, rtnl::Rtnl},
};

/// Number of the mesh's interface, if it is there and is the mesh's.
pub(super) fn interface(mesh: &Mesh) -> Result<Option<u32>, NetError> {
    let name = mesh.host_interface();
    let link = match Rtnl::open().and_then(|rtnl| rtnl.link(&name)) {
        Ok(link) => link,
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(None),
        Err(error) => return Err(NetError::kernel(format!("look for the interface {name}"))(error)),
    };
    let mut veth = false;
    // It has no alias yet if the mesh died in the moment between making it and describing it.
    let mut ours = true;
    for attribute in &link.attributes {
        if let LinkAttribute::LinkInfo(infos) = attribute {
            veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
        } else if let LinkAttribute::IfAlias(alias) = attribute {
            ours = *alias == mesh.host_interface_alias();
        }
    }
    Ok((veth && ours).then_some(link.header.index))
}

/// Removes it, if it is there.
pub(super) fn remove_interface(mesh: &Mesh) -> Result<(), NetError> {
    let Some(index) = interface(mesh)? else { return Ok(()) };
    match Rtnl::open().and_then(|rtnl| rtnl.delete_link(index)) {
        // It went by itself, with the node namespace.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
        other => other.map_err(NetError::kernel(format!("remove the interface {}", mesh.host_interface()))),
    }
}

/// Name of the mesh's table, if it is there and is the mesh's.
pub(super) fn table(mesh: &Mesh) -> Result<Option<String>, NetError> {
    let is_there = has_table(mesh).map_err(NetError::kernel("run nft"))?;
    Ok(is_there.then(|| mesh.nft_table()))
}

/// Removes it, if it is there.
pub(super) fn remove_table(mesh: &Mesh) -> Result<(), NetError> {
    let Some(name) = table(mesh)? else { return Ok(()) };
    let host = namespace::current().map_err(NetError::kernel("open the host's network namespace"))?;
    nft(host.as_fd(), &delete_table(&name))
}
