//! Who calls without a token: from which address, and how often.
//!
//! Forwarding headers count only as far as configured proxies wrote them: from the right, until the first address that is not a
//! proxy's. What a stranger writes there is never looked at.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use ipnet::IpNet;
use moka::future::Cache;
use service::doors::household;

use crate::settings::AccessSettings;

const FORWARDED_FOR: &str = "x-forwarded-for";
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted at once; beyond it those that came least are forgotten.
const ADDRESSES_MAX: u64 = 100_000;

/// See the module.
pub(crate) struct Visitors {
    proxies: Vec<IpNet>,
    per_minute: u32,
    seen: Cache<IpAddr, Arc<AtomicU32>>,
}

impl Visitors {
    pub(crate) fn new(settings: &AccessSettings) -> Self {
        Self {
            proxies: settings.trusted_proxies.clone(),
            per_minute: settings.anonymous_per_minute,
            seen: Cache::builder().max_capacity(ADDRESSES_MAX).time_to_live(WINDOW).build(),
        }
    }

    /// The address that the request comes from.
    pub(crate) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let listed: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .collect();
        let mut address = peer.to_canonical();
        for hop in listed.iter().rev() {
            if !self.proxies.iter().any(|proxy| proxy.contains(&address)) {
                break;
            }
            let Some(before) = read_address(hop) else { break };
            address = before.to_canonical();
        }
        address
    }

    /// Counts a visit; false when the address has come too often in this minute.
    pub(crate) async fn admits(&self, address: IpAddr) -> bool {
        let visits = self.seen.get_with(household(address), async { Arc::default() }).await;
        visits.fetch_add(1, Ordering::Relaxed) < self.per_minute
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn read_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn visitors(proxies: &[&str]) -> Visitors {
        Visitors::new(&AccessSettings {
            trusted_proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
            anonymous_per_minute: 2,
            ..AccessSettings::local("http://127.0.0.1:9")
        })
    }

    fn address(visitors: &Visitors, peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        visitors.address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn forwarding_headers_from_strangers_are_ignored() {
        let nobody = visitors(&[]);
        assert_eq!(address(&nobody, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        let proxies = visitors(&["10.0.0.0/8", "2001:db8::/32"]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.1", "198.51.100.7, 10.2.3.4"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("2001:db8::1", &["[2001:db9::7]:80"], "2001:db9::7"),
            ("10.0.0.1", &["203.0.113.1, nonsense"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(address(&proxies, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[tokio::test]
    async fn an_address_may_come_so_often_a_minute_and_a_network_counts_once() {
        let visitors = visitors(&[]);
        let admits = async |text: &str| visitors.admits(text.parse().unwrap()).await;
        assert!(admits("192.0.2.1").await && admits("192.0.2.1").await);
        assert!(!admits("192.0.2.1").await);
        assert!(admits("192.0.2.2").await);
        assert!(admits("2001:db8::1").await && admits("2001:db8::2").await);
        assert!(!admits("2001:db8::3").await);
        assert!(admits("2001:db8:0:1::3").await);
    }
}
