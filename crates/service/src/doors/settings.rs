//! What can be set about the doors.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::pulse::Limits;
use crate::{descriptors, env::Env};

/// How long the rest of a request is dropped after an answer that came early.
const LINGER: Duration = Duration::from_secs(5);
/// Looks at each connection in its shortest time, and the longest time between two.
const LOOKS: u32 = 8;
const LOOK_MAX: Duration = Duration::from_secs(1);

/// The bounds of a port.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Connections at once; a new one beyond is closed.
    pub connections_max: usize,
    /// Connections at once of one address (of IPv6: of one /64), unless it is a proxy's; a new one beyond is closed.
    pub connections_per_address: usize,
    /// Networks of proxies, behind whose addresses many clients stand.
    pub proxies: Vec<IpNet>,
    /// Longest wait for the head of a request.
    pub head_timeout: Duration,
    /// Longest wait for the body of a request. Handlers answer 408 after it; a connection on which nothing came for twice as long is closed.
    pub body_timeout: Duration,
    /// Longest time of a connection without a request.
    pub idle_timeout: Duration,
    /// Longest wait for a peer to take 64 KiB of an answer, or what is left of it.
    pub write_timeout: Duration,
}

impl DoorSettings {
    /// `HTTP_CONNECTIONS_MAX` (never more than a quarter of the descriptors), `HTTP_CONNECTIONS_PER_ADDRESS` (never more than half of
    /// that), `HTTP_HEAD_TIMEOUT_MS`, `HTTP_BODY_TIMEOUT_MS`, `HTTP_IDLE_TIMEOUT_MS`, `HTTP_WRITE_TIMEOUT_MS`.
    pub fn from_env(env: &Env, proxies: &[IpNet]) -> Self {
        let count = |name, default| {
            let count: usize = env.parsed(name, "a whole number from 1", default);
            if count == 0 {
                env.mistake(name, &format!("is 0; nobody could ever connect; example: {default}"));
            }
            count
        };
        let checked = |name, time: Duration| {
            if time.is_zero() {
                env.mistake(name, "is 0; nobody is that fast; example: 10000");
            }
            time
        };
        let time = |name, default| checked(name, env.duration_ms(name, default));
        let connections_max = descriptors::for_callers(count("HTTP_CONNECTIONS_MAX", "32768"));
        let per_address = count("HTTP_CONNECTIONS_PER_ADDRESS", "1024");
        Self {
            connections_max,
            connections_per_address: per_address.min(connections_max.div_ceil(2)),
            proxies: proxies.to_vec(),
            head_timeout: time("HTTP_HEAD_TIMEOUT_MS", 10_000),
            body_timeout: checked("HTTP_BODY_TIMEOUT_MS", body_timeout(env)),
            idle_timeout: time("HTTP_IDLE_TIMEOUT_MS", 150_000),
            write_timeout: time("HTTP_WRITE_TIMEOUT_MS", 20_000),
        }
    }

    /// Those of a port that only operators reach: the same times, and a hundred connections.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        Self { connections_max: 100, connections_per_address: 50, ..self.clone() }
    }

    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|proxy| proxy.contains(&address))
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            head: self.head_timeout,
            idle: self.idle_timeout,
            body: 2 * self.body_timeout,
            write: self.write_timeout,
            linger: LINGER,
        }
    }

    /// Time between two looks at the connections.
    pub(super) fn look_every(&self) -> Duration {
        let times = [self.head_timeout, self.body_timeout, self.idle_timeout, self.write_timeout];
        let shortest = times.into_iter().min().unwrap_or(LOOK_MAX);
        (shortest / LOOKS).clamp(Duration::from_millis(10), LOOK_MAX)
    }
}

/// `HTTP_BODY_TIMEOUT_MS`: the longest wait for the whole body of a request.
pub fn body_timeout(env: &Env) -> Duration {
    env.duration_ms("HTTP_BODY_TIMEOUT_MS", 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_impossible_bounds_are_mistakes() {
        let env = Env::from_pairs([]);
        let settings = DoorSettings::from_env(&env, &[]);
        assert!(env.finish().is_ok());
        assert!(settings.connections_per_address <= settings.connections_max.div_ceil(2));
        assert!(settings.connections_max <= descriptors::limit() / 4);
        let names = [
            "HTTP_CONNECTIONS_MAX",
            "HTTP_CONNECTIONS_PER_ADDRESS",
            "HTTP_HEAD_TIMEOUT_MS",
            "HTTP_BODY_TIMEOUT_MS",
            "HTTP_IDLE_TIMEOUT_MS",
            "HTTP_WRITE_TIMEOUT_MS",
        ];
        let env = Env::from_pairs(names.map(|name| (name, "0")));
        DoorSettings::from_env(&env, &[]);
        assert_eq!(env.finish().map_err(|error| error.0.len()), Err(names.len()));
    }

    #[test]
    fn a_proxy_is_known_in_either_spelling_of_its_address() {
        let settings = DoorSettings::from_env(&Env::from_pairs([]), &["192.0.2.0/24".parse().unwrap()]);
        for (address, is_proxy) in
            [("192.0.2.7", true), ("::ffff:192.0.2.7", true), ("192.0.3.7", false), ("2001:db8::1", false)]
        {
            assert_eq!(settings.is_proxy(address.parse().unwrap()), is_proxy, "{address}");
        }
    }
}
