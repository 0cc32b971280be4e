//! Whose turn it is to be looked up: at most [`EACH`] hosts of one owner at once, and a bound over all.
//!
//! An owner is a registrable domain: what the public suffix list says that one person registered, also below a provider
//! (`one.azurewebsites.net`). The last two labels alone would put strangers into one line there. Who waits in an owner's line holds
//! nothing of the bound over all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

/// Look-ups of one owner's hosts at once.
pub(super) const EACH: usize = 4;

/// All lines. Bound: an owner has one while somebody stands in it.
#[derive(Debug)]
pub(super) struct Lines {
    all: Semaphore,
    owners: Mutex<HashMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    permits: Arc<Semaphore>,
    /// Who waits or is looked up.
    standing: usize,
}

impl Lines {
    /// At most so many look-ups at once.
    pub(super) fn new(most: usize) -> Self {
        Self { all: Semaphore::new(most), owners: Mutex::default() }
    }

    /// Does the work when it is this host's turn; nothing when that takes longer than `wait`.
    pub(super) async fn take_turn<T>(
        &self,
        host: &str,
        wait: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let place = Place::new(self, owner(host));
        let turn = async {
            let of_owner = place.permits.acquire().await.expect("a line is never closed");
            (of_owner, self.all.acquire().await.expect("a line is never closed"))
        };
        let _turn = timeout(wait, turn).await.ok()?;
        Some(work.await)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in an owner's line; left when dropped.
struct Place<'a> {
    lines: &'a Lines,
    owner: &'a str,
    permits: Arc<Semaphore>,
}

impl<'a> Place<'a> {
    fn new(lines: &'a Lines, owner: &'a str) -> Self {
        let mut owners = lines.owners();
        let line = owners
            .entry(owner.to_owned())
            .or_insert_with(|| Line { permits: Arc::new(Semaphore::new(EACH)), standing: 0 });
        line.standing += 1;
        let permits = Arc::clone(&line.permits);
        Self { lines, owner, permits }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut owners = self.lines.owners();
        let Some(line) = owners.get_mut(self.owner) else { return };
        line.standing -= 1;
        if line.standing == 0 {
            owners.remove(self.owner);
        }
    }
}

/// The registrable domain of a host; a host that is a public suffix itself stands alone.
fn owner(host: &str) -> &str {
    let host = host.trim_end_matches('.');
    psl::domain_str(host).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    #[test]
    fn an_owner_is_who_registered_the_domain() {
        for (host, expected) in [
            ("hooks.example.com", "example.com"),
            ("a.b.example.com.", "example.com"),
            ("example.com", "example.com"),
            ("hooks.example.co.uk", "example.co.uk"),
            ("a.one.azurewebsites.net", "one.azurewebsites.net"),
            ("post.oslo.kommune.no", "oslo.kommune.no"),
            ("azurewebsites.net", "azurewebsites.net"),
            ("localhost", "localhost"),
            ("a.b.nonsense", "b.nonsense"),
        ] {
            assert_eq!(owner(host), expected, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_gone_when_nobody_stands_in_it() {
        let lines = Lines::new(100);
        let host = "a.example.com";
        let mut held: Vec<_> =
            (0..EACH).map(|_| Box::pin(lines.take_turn(host, WAIT, pending::<()>()))).collect();
        assert!(held.iter_mut().all(|held| held.now_or_never().is_none()));
        assert_eq!(lines.take_turn(host, WAIT, ready(())).await, None, "others are before it");
        held.pop();
        assert_eq!(lines.take_turn(host, WAIT, ready(())).await, Some(()), "one has left");
        assert_eq!(lines.owners().len(), 1);
        held.clear();
        assert_eq!(lines.owners().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_owners_together_have_a_bound() {
        let lines = Lines::new(2);
        let mut held =
            ["a.example", "b.example"].map(|host| Box::pin(lines.take_turn(host, WAIT, pending::<()>())));
        assert!(held.iter_mut().all(|held| held.now_or_never().is_none()));
        assert_eq!(lines.take_turn("c.example", WAIT, ready(())).await, None);
        drop(held);
        assert_eq!(lines.take_turn("c.example", WAIT, ready(())).await, Some(()));
    }
}
