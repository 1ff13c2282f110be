//! What this host has: links with addresses, and what it would send with.

use kernel::{Kernel, KernelError, Scope};
use model::net::{Family, family_of};
use node_startup::{HostAddress, Nic};
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

/// The links of the namespace, in the order of their indexes.
///
/// # Errors
/// The kernel refuses.
pub async fn nics(kernel: &dyn Kernel) -> Result<Vec<Nic>, KernelError> {
    let (mut links, addresses) = (kernel.links().await?, kernel.addresses(None).await?);
    links.sort_by_key(|link| link.index);
    let nic = |link: kernel::Link| {
        let own =
            addresses.iter().filter(|address| address.link == link.index && address.scope != Scope::Host);
        let addresses =
            own.map(|one| HostAddress { address: one.net.addr, prefix: one.net.prefix }).collect();
        Nic { name: link.name, up: link.up, addresses }
    };
    Ok(links.into_iter().map(nic).collect())
}

/// The source address of packets to a destination. Nothing is sent: a datagram socket only looks for its route.
///
/// # Errors
/// The destination is unknown, or has no route; in words.
pub fn source_to(destination: &str, family: Family) -> Result<IpAddr, String> {
    let addresses = match destination.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => (destination, 0)
            .to_socket_addrs()
            .map_err(|error| error.to_string())?
            .map(|address| address.ip())
            .collect(),
    };
    let to = addresses.into_iter().find(|address| family_of(*address) == family);
    let to = to.ok_or_else(|| format!("it has no {} address", family.name()))?;
    let any = match family {
        Family::V4 => "0.0.0.0:0",
        Family::V6 => "[::]:0",
    };
    let socket = UdpSocket::bind(any).map_err(|error| error.to_string())?;
    // any port will do
    socket.connect((to, 53)).map_err(|error| error.to_string())?;
    socket.local_addr().map(|address| address.ip()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_oneself_is_oneself() {
        assert_eq!(source_to("127.0.0.1", Family::V4), Ok("127.0.0.1".parse().unwrap()));
        assert_eq!(source_to("localhost", Family::V4), Ok("127.0.0.1".parse().unwrap()));
        assert_eq!(source_to("127.0.0.1", Family::V6), Err("it has no IPv6 address".to_owned()));
    }
}
