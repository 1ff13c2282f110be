//! Members found by their domain's service records, as etcd's own client finds them: `_etcd-client-ssl._tcp.<domain>` and
//! `_etcd-client._tcp.<domain>` (`etcdDiscoverySrv`, `datamodel.md` §1 of the contract).

use super::dns::{self, Answer, Service};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Who knows the system's names, and the port they are asked at.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// How long one server may take, and how often each is asked; the C library's own 5 s would be half of a request's time.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// The two services, and how their servers are talked to.
const SERVICES: [(&str, &str); 2] = [("https", "_etcd-client-ssl._tcp"), ("http", "_etcd-client._tcp")];

/// Where members are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The domain that lists them.
    pub domain: String,
    /// Name servers.
    pub servers: Vec<SocketAddr>,
}

impl Discovery {
    /// Members of `domain`, asked of the system's name servers.
    pub fn of_system(domain: &str) -> Self {
        let conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        Self { domain: domain.to_owned(), servers: name_servers(&conf) }
    }

    /// The members' addresses, those with TLS first.
    ///
    /// # Errors
    /// When neither service has a server, with what the name servers said.
    pub(super) async fn members(&self) -> Result<Vec<String>, String> {
        let mut members = Vec::new();
        let mut reasons = Vec::new();
        for (scheme, service) in SERVICES {
            let name = format!("{service}.{}", self.domain);
            match self.look_up(&name).await {
                Ok(services) if services.is_empty() => reasons.push(format!("{name}: no servers")),
                Ok(services) => members.extend(
                    services.iter().map(|found| format!("{scheme}://{}:{}", found.target, found.port)),
                ),
                Err(reason) => reasons.push(format!("{name}: {reason}")),
            }
        }
        if members.is_empty() { Err(reasons.join("; ")) } else { Ok(members) }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<Service>, String> {
        let [a, b, ..] = uuid::Uuid::new_v4().into_bytes();
        let question = dns::question(u16::from_be_bytes([a, b]), name)
            .ok_or_else(|| "is not a domain name".to_owned())?;
        let mut last = "there is no name server".to_owned();
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            let asked = match tokio::time::timeout(PATIENCE, ask(*server, &question)).await {
                Ok(asked) => asked.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            match asked {
                Ok(Answer::Services(services)) => return Ok(services),
                Ok(Answer::Refused(3)) => return Err("no such name".to_owned()),
                Ok(Answer::Refused(code)) => last = format!("name server {server} refuses (code {code})"),
                Ok(Answer::Truncated) => last = format!("name server {server} cannot give the whole answer"),
                Err(reason) => last = format!("name server {server}: {reason}"),
            }
        }
        Err(last)
    }
}

/// The servers of a `resolv.conf` (resolv.conf(5)); one on this machine where it names none.
fn name_servers(conf: &str) -> Vec<SocketAddr> {
    let servers = conf.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        // A link-local server has its interface behind a percent sign; without it there is no way there.
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, PORT))
    });
    let servers: Vec<SocketAddr> = servers.collect();
    if servers.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)] } else { servers }
}

async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut message = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut message).await?;
        match dns::answer(question, message.get(..length).unwrap_or_default()) {
            Some(Answer::Truncated) => return ask_over_tcp(server, question).await,
            Some(answer) => return Ok(answer),
            // Of somebody who guesses, perhaps: the true one may still come.
            None => {}
        }
    }
}

async fn ask_over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    dns::answer(question, &message).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_the_system() {
        let conf = "# comment\nsearch a b\nnameserver 10.0.0.1\nnameserver\tfd00::1\nnameserver fe80::1%eth0\nnameservers x\n";
        let texts: Vec<String> = name_servers(conf).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.1:53", "[fd00::1]:53"]);
        assert_eq!(name_servers("").len(), 1);
    }

    /// A name server that knows `<service>.example.org` to be `a.example.org:<port>`, over TCP only for `tcp`.
    async fn server(known: &'static str, port: u16, tcp: bool) -> SocketAddr {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, listener);
            }
        };
        let address = udp.local_addr().unwrap();
        let reply = move |question: &[u8], truncated: bool| {
            let mut message = question.to_vec();
            let knows = question.windows(known.len()).any(|window| window == known.as_bytes());
            message[2] = 0x80 | if truncated { 2 } else { 0 };
            message[3] = if knows { 0 } else { 3 };
            if knows && !truncated {
                message[7] = 1;
                message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 21, 0, 0, 0, 0]);
                message.extend(port.to_be_bytes());
                message.extend(b"\x01a\x07example\x03org\0");
            }
            message
        };
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut bytes).await.unwrap();
                udp.send_to(b"noise", from).await.unwrap();
                udp.send_to(&reply(&bytes[..length], tcp), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let message = reply(&question, false);
                stream.write_u16(message.len() as u16).await.unwrap();
                stream.write_all(&message).await.unwrap();
            }
        });
        address
    }

    fn discovery(servers: &[SocketAddr]) -> Discovery {
        Discovery { domain: "example.org".into(), servers: servers.to_vec() }
    }

    #[tokio::test]
    async fn members_are_found_with_and_without_tls_over_udp_and_tcp() {
        let plain = server("_etcd-client\x04", 2379, false).await;
        assert_eq!(discovery(&[plain]).members().await.unwrap(), ["http://a.example.org:2379"]);
        let secure = server("_etcd-client-ssl\x04", 2380, true).await;
        assert_eq!(discovery(&[secure]).members().await.unwrap(), ["https://a.example.org:2380"]);
        let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(discovery(&[deaf, plain]).members().await.unwrap(), ["http://a.example.org:2379"]);
    }

    #[tokio::test]
    async fn a_domain_without_members_is_explained() {
        let other = server("_ldap", 1, false).await;
        let reason = discovery(&[other]).members().await.unwrap_err();
        assert_eq!(
            reason,
            "_etcd-client-ssl._tcp.example.org: no such name; _etcd-client._tcp.example.org: no such name"
        );
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let reason = discovery(&[closed]).members().await.unwrap_err();
        assert!(reason.contains(&format!("name server {closed}: ")), "{reason}");
        let nowhere = Discovery { domain: "a..b".into(), servers: vec![closed] };
        assert!(nowhere.members().await.unwrap_err().contains("is not a domain name"));
    }
}
