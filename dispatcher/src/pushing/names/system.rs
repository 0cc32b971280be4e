//! The directory of the system: `/etc/hosts` first, then DNS as `/etc/resolv.conf` says, search domains included.
//!
//! Both files are read when they are first needed, and again when they have changed, as the C library does; it also asks the name
//! server on loopback where no other is named. Asking needs no thread of its own, however many names hang.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

use super::{Directory, Found, KEPT_MAX, NoAddress};

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest wait for a name server before it, or another, is asked again.
const SERVER_MAX: Duration = Duration::from_secs(3);
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The system's directory. It is set up at the first look-up.
#[derive(Debug, Default)]
pub(crate) struct SystemNames {
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    sources: Arc<Sources>,
    files: Changed,
    looked: Instant,
}

/// When each of the files was last changed.
type Changed = [Option<SystemTime>; FILES.len()];

impl SystemNames {
    async fn sources(&self) -> Result<Arc<Sources>, NoAddress> {
        let mut made = self.made.lock().await;
        if let Some(made) = made.as_mut().filter(|made| made.looked.elapsed() < LOOK_EVERY) {
            return Ok(Arc::clone(&made.sources));
        }
        let before = made.take();
        let now = spawn_blocking(|| Made::again(before)).await.map_err(|_| NoAddress::Unknown)??;
        let sources = Arc::clone(&now.sources);
        *made = Some(now);
        Ok(sources)
    }
}

impl Directory for SystemNames {
    fn look_up(&self, host: String) -> BoxFuture<'_, Result<Found, NoAddress>> {
        Box::pin(async move { self.sources().await?.look_up(&host).await })
    }
}

impl Made {
    /// As before, where no file has changed.
    fn again(before: Option<Self>) -> Result<Self, NoAddress> {
        let files = FILES.map(|file| fs::metadata(Path::new(file)).and_then(|file| file.modified()).ok());
        let sources = match before.filter(|before| before.files == files) {
            Some(before) => before.sources,
            None => Arc::new(Sources::of_system()?),
        };
        Ok(Self { sources, files, looked: Instant::now() })
    }
}

/// What is asked.
#[derive(Debug)]
struct Sources {
    hosts: Hosts,
    dns: TokioResolver,
}

impl Sources {
    fn of_system() -> Result<Self, NoAddress> {
        let (config, options) = read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system names no name server; the one on loopback is asked");
            let server = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
        });
        Self::new(Hosts::from_system().unwrap_or_default(), config, options)
    }

    fn new(hosts: Hosts, config: ResolverConfig, options: ResolverOpts) -> Result<Self, NoAddress> {
        let mut dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let to = dns.options_mut();
        *to = options;
        to.timeout = to.timeout.min(SERVER_MAX);
        // Where there is no way to an IPv6 address, no time is lost with it.
        to.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        to.use_hosts_file = ResolveHosts::Never;
        // What is known is kept by who asks.
        to.cache_size = 0;
        let dns = dns.build().map_err(|_| NoAddress::Unknown)?;
        Ok(Self { hosts, dns })
    }

    async fn look_up(&self, host: &str) -> Result<Found, NoAddress> {
        // The host of a URL is ASCII; with underscores, which the rules for new names do not allow and people have.
        let name = Name::from_ascii(host).map_err(|_| NoAddress::Unknown)?;
        if let Some(addresses) = self.in_hosts(&name) {
            return Ok(Found { addresses, holds: KEPT_MAX });
        }
        let found = self.dns.lookup_ip(name).await.map_err(|_| NoAddress::Unknown)?;
        let holds = found.valid_until().saturating_duration_since(std::time::Instant::now());
        Ok(Found { addresses: found.iter().collect(), holds })
    }

    /// What the file says of a host, if anything; then nobody else is asked.
    fn in_hosts(&self, name: &Name) -> Option<Arc<[IpAddr]>> {
        let of_kind = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_kind);
        let addresses: Vec<IpAddr> = found
            .flat_map(|found| {
                found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect();
        if addresses.is_empty() { None } else { Some(addresses.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_resolver::proto::{
        op::{Message, ResponseCode},
        rr::{RData, Record, rdata::A},
    };
    use tokio::{net::UdpSocket, task::JoinSet};

    use super::*;

    /// A name server on loopback that knows one host, for so many seconds.
    async fn name_server(known: &'static str, seconds: u32, tasks: &mut JoinSet<()>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tasks.spawn(async move {
            let mut buffer = vec![0; 4_096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = Message::response(question.id, question.op_code);
                answer.add_query(query.clone());
                if query.name().to_ascii() != known {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                } else if query.query_type() == RecordType::A {
                    let address = RData::A(A::new(93, 184, 216, 34));
                    answer.add_answer(Record::from_rdata(query.name().clone(), seconds, address));
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    fn sources(server: SocketAddr, hosts: &str) -> Sources {
        let mut at = NameServerConfig::udp(server.ip());
        at.connections.iter_mut().for_each(|connection| connection.port = server.port());
        let mut config = ResolverConfig::from_name_servers(vec![at]);
        config.add_search(Name::from_ascii("inner.example.").unwrap());
        let mut file = Hosts::default();
        file.read_hosts_conf(hosts.as_bytes()).unwrap();
        Sources::new(file, config, ResolverOpts::default()).unwrap()
    }

    #[tokio::test]
    async fn the_file_of_hosts_is_read_first_and_then_nobody_is_asked() {
        // Nobody answers there.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sources = sources(
            silent.local_addr().unwrap(),
            "192.0.2.1 Hooks.Example.com other\n2001:db8::1 hooks.example.com",
        );
        let found = sources.look_up("hooks.example.com").await.unwrap();
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!((&*found.addresses, found.holds), (expected.as_slice(), KEPT_MAX));
        assert!(silent.try_recv(&mut [0]).is_err(), "a question was asked");
    }

    #[tokio::test]
    async fn this_machine_is_known_without_asking_anybody() {
        let names = SystemNames::default();
        for host in ["localhost", "LOCALHOST.", "hooks.localhost"] {
            let found = names.look_up(host.to_owned()).await.unwrap();
            assert!(!found.addresses.is_empty(), "{host}");
            assert!(found.addresses.iter().all(IpAddr::is_loopback), "{host}: {:?}", found.addresses);
        }
    }

    #[tokio::test]
    async fn dns_is_asked_below_the_search_domains_too_and_tells_how_long_it_holds() {
        let mut tasks = JoinSet::new();
        let server = name_server("hooks_1.branch.inner.example.", 17, &mut tasks).await;
        let sources = sources(server, "");
        for host in ["hooks_1.branch", "hooks_1.branch.inner.example", "hooks_1.branch.inner.example."] {
            let found = sources.look_up(host).await.unwrap();
            let expected: [IpAddr; 1] = ["93.184.216.34".parse().unwrap()];
            assert_eq!(&*found.addresses, expected.as_slice(), "{host}");
            let told = Duration::from_secs(17);
            assert!(found.holds > Duration::ZERO && found.holds <= told, "{host}: {:?}", found.holds);
        }
        let none = sources.look_up("nobody.example").await.map(|found| found.addresses);
        assert_eq!(none, Err(NoAddress::Unknown));
    }
}
