//! How long the kernel takes for routes when nothing has to be decided: `route_floor COUNT LINK GATEWAY` hands prebuilt
//! messages to `netlink-proto`, a batch a datagram, and prints the seconds until the last is acknowledged. Everything that
//! writes routes is measured against it.

use futures::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_proto::sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::RouteMessageBuilder;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Instant;

/// Messages a datagram: as many as have their acknowledgements fit the receive buffer.
const BATCH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, link, gateway] = arguments.as_slice() else {
        return Err("route_floor COUNT LINK GATEWAY".into());
    };
    let index = nix::net::if_::if_nametoindex(link.as_str())?;
    let (count, gateway): (u32, Ipv4Addr) = (count.parse()?, gateway.parse()?);
    let messages: Vec<_> = (0..count).map(|n| message(n, index, gateway)).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut connection, handle, _) = netlink_proto::new_connection(NETLINK_ROUTE)?;
        connection.set_forward_ack(true);
        connection.socket_mut().socket_ref().set_cap_ack(true)?;
        tokio::spawn(connection);
        let batches: Vec<Vec<_>> = messages.chunks(BATCH).map(<[_]>::to_vec).collect();
        let begun = Instant::now();
        for batch in batches {
            let mut answers = handle.request_batch(batch, SocketAddr::new(0, 0))?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload
                    && error.code.is_some()
                {
                    return Err(error.to_io().into());
                }
            }
        }
        println!("{}", begun.elapsed().as_secs_f64());
        Ok(())
    })
}

/// The n-th prefix /24 of 16.0.0.0/4, in an order that scatters them.
fn message(n: u32, link: u32, gateway: Ipv4Addr) -> NetlinkMessage<RouteNetlinkMessage> {
    let scattered = n.wrapping_mul(647_453) & 0xf_ffff;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::from(0x1000_0000 + (scattered << 8)), 24)
        .gateway(gateway)
        .output_interface(link)
        .protocol(RouteProtocol::Other(81))
        .priority(1024)
        .build();
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(route));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    message
}
