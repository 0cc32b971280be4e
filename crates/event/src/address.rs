//! Which addresses a webhook may have. Pure; the resolver that uses it is the dispatcher's.
//!
//! Only https, and only hosts whose every address is public, in any spelling. One setting allows loopback, also over http, for
//! development and tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Position, Url};

/// The endpoint of a webhook address: origin and path, which many addresses may share. Its deliveries are keyed by it, and caps and
/// circuit go by it. A secret in the query never gets into it.
pub fn endpoint_key(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) if url.has_host() => {
            let origin = &url[Position::BeforeHost..Position::AfterPort];
            format!("{}://{origin}{}", url.scheme(), url.path())
        }
        Ok(_) | Err(_) => address.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// What is really called for an address as its owner wrote it: blanks around it are gone, `/a/../b` is `/b`, the host is in small
/// letters, and what stands after `#` is not sent. Two addresses with the same call are the same.
pub fn called(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) => url[..Position::AfterQuery].to_owned(),
        Err(_) => address.to_owned(),
    }
}

/// What is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Whether loopback addresses are allowed, also over http (development and tests only).
    pub allow_loopback: bool,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefusal {
    /// It is not an absolute URL with a host.
    #[error("the endpoint is not an absolute https URL")]
    NotAUrl,
    /// It is not https.
    #[error("the endpoint is not an https URL")]
    NotHttps,
    /// It has a form that only the most lenient of readers take for an address.
    #[error(
        "the endpoint is mistyped; an address begins with https:// and a host, and has neither backslashes nor port 0"
    )]
    Mistyped,
    /// It holds a user name or a password.
    #[error("the endpoint holds a user name or a password")]
    Credentials,
    /// Its host is not a public address.
    #[error("the endpoint's host is not a public address")]
    NotPublic,
}

impl AddressPolicy {
    /// As [`AddressPolicy::check_url`], for an address that is new: what its owner can hardly have meant is refused too.
    ///
    /// # Errors
    /// [`AddressRefusal`].
    pub fn check_new(self, text: &str) -> Result<Url, AddressRefusal> {
        let url = self.check_url(text)?;
        if is_mistyped(text, &url) { Err(AddressRefusal::Mistyped) } else { Ok(url) }
    }

    /// Checks what can be known without a look-up: scheme, credentials, and a host that is written as a number.
    ///
    /// # Errors
    /// [`AddressRefusal`].
    pub fn check_url(self, text: &str) -> Result<Url, AddressRefusal> {
        let url = Url::parse(text).map_err(|_| AddressRefusal::NotAUrl)?;
        let local_http = url.scheme() == "http" && self.allow_loopback && is_loopback(&url);
        if url.scheme() != "https" && !local_http {
            return Err(AddressRefusal::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefusal::Credentials);
        }
        let permitted = match url.host() {
            None => return Err(AddressRefusal::NotAUrl),
            Some(Host::Ipv4(ip)) => self.permits_ip(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => self.permits_ip(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => self.permits_name(name),
        };
        if permitted { Ok(url) } else { Err(AddressRefusal::NotPublic) }
    }

    fn permits_name(self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        let local = name == "localhost" || name.ends_with(".localhost");
        let inner = [".local", ".internal", ".home.arpa"].iter().any(|end| name.ends_with(end));
        if local { self.allow_loopback } else { name.contains('.') && !inner }
    }

    /// Whether requests may go to this address.
    pub fn permits_ip(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.permits_v4(ip),
            IpAddr::V6(ip) => match inner_v4(ip) {
                Some(inner) => self.permits_v4(inner),
                None => (ip.is_loopback() && self.allow_loopback) || is_public_v6(ip),
            },
        }
    }

    fn permits_v4(self, ip: Ipv4Addr) -> bool {
        (ip.is_loopback() && self.allow_loopback) || is_public_v4(ip)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// `https:host`, `https:///host`, `https:\\host`, a backslash for a slash, port 0: readers of addresses make something of them.
fn is_mistyped(text: &str, url: &Url) -> bool {
    let text = text.trim();
    let place = text.split(['?', '#']).next().unwrap_or_default();
    let after_scheme = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
    let has_host = after_scheme.is_some_and(|rest| !rest.starts_with('/'));
    !has_host || place.contains('\\') || url.port() == Some(0)
}

/// The IPv4 address that an IPv6 one leads to: mapped, compatible, NAT64 (64:ff9b::/96), 6to4 (2002::/16).
fn inner_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(g, h)),
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(join(g, h)),
        [0x2002, high, low, _, _, _] => Some(join(high, low)),
        [_, _, _, _, _, _] => None,
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    // The host's own services on a large cloud, on an address that looks public.
    if [a, b, c, d] == [168, 63, 129, 16] {
        return false;
    }
    let special = match (a, b, c) {
        // This network, private, loopback, link-local, multicast, reserved and broadcast.
        (0 | 10 | 127 | 224..=255, _, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Shared (100.64/10), protocol assignments, documentation, 6to4 relay, AS112, benchmarking.
        (100, 64..=127, _) | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => true,
        (192, 88, 99) | (192, 31, 196) | (192, 52, 193) | (192, 175, 48) | (198, 18 | 19, _) => true,
        (_, _, _) => false,
    };
    !special
}

/// Only global unicast (2000::/3) less what is carved out of it.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, _, _, _, _, _, _] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    // 2001::/23 protocol assignments (Teredo among them), documentation.
    let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: AddressPolicy = AddressPolicy { allow_loopback: false };
    const LOCAL: AddressPolicy = AddressPolicy { allow_loopback: true };

    #[test]
    fn an_endpoint_is_origin_and_path_and_holds_no_secret() {
        let check = |address: &str, expect: &str| assert_eq!(endpoint_key(address), expect);
        check("https://Example.com:443/Hook?code=secret#x", "https://example.com/Hook");
        check("https://user:secret@example.com:8443/a/../b", "https://example.com:8443/b");
        check("https://example.com", "https://example.com/");
        check("no address?code=secret", "no address");
    }

    #[test]
    fn public_https_addresses_are_allowed() {
        for url in
            ["https://example.com/hook?code=1", "https://93.184.216.34/", "https://[2606:2800:220:1::1]/x"]
        {
            assert!(STRICT.check_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn every_spelling_of_an_inner_address_is_refused() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "127。0。0。1",
            "１２７.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[fc00::1]",
            "[fd12::1]",
            "[fe80::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[2001::1]",
            "[3fff::1]",
            "localhost",
            "a.localhost",
            "LOCALHOST.",
            "intranet",
            "https",
            "metadata.google.internal",
            "printer.local",
        ] {
            let url = format!("https://{host}/hook");
            assert!(STRICT.check_url(&url).is_err(), "{url} was allowed");
        }
    }

    #[test]
    fn only_https_without_credentials() {
        assert_eq!(STRICT.check_url("http://example.com/"), Err(AddressRefusal::NotHttps));
        assert_eq!(STRICT.check_url("ftp://example.com/"), Err(AddressRefusal::NotHttps));
        assert_eq!(STRICT.check_url("https://u:p@example.com/"), Err(AddressRefusal::Credentials));
        assert_eq!(STRICT.check_url("/relative"), Err(AddressRefusal::NotAUrl));
    }

    #[test]
    fn the_setting_allows_loopback_and_nothing_else() {
        for url in ["http://127.0.0.1:8080/x", "http://localhost/x", "https://[::1]/x"] {
            assert!(LOCAL.check_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1/x",
            "http://example.com/x",
            "http://93.184.216.34/x",
            "http://localhost.example.com/x",
            "https://169.254.169.254/",
            "https://[fd00::1]/",
        ] {
            assert!(LOCAL.check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_mistyped_endpoint_is_refused() {
        for text in [
            "https:example.com/x",
            "https:/example.com/x",
            "https:///example.com/x",
            "https:\\\\example.com\\x",
            "https://example.com\\x",
            "https://example.com:0/x",
        ] {
            assert_eq!(STRICT.check_new(text), Err(AddressRefusal::Mistyped), "{text}");
        }
        assert_eq!(STRICT.check_new("https://https://example.com/x"), Err(AddressRefusal::NotPublic));
        for good in [
            "HTTPS://Example.com/x",
            " https://example.com/x ",
            "https://example.com?a=\\",
            "https://example.com:8443",
        ] {
            assert!(STRICT.check_new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_called_is_told_apart_from_what_was_written() {
        for (written, call) in [
            (" https://Example.com:443/a/../b?x=%7e#top", "https://example.com/b?x=%7e"),
            ("https://example.com", "https://example.com/"),
            ("https://example.com/a b", "https://example.com/a%20b"),
            ("no address", "no address"),
        ] {
            assert_eq!(called(written), call, "{written}");
        }
    }
}
