//! A panic that belongs to one record is caught, so that this record is parked and the loop goes on.
//!
//! What is caught borrows the record and nothing else that outlives it half done: locks hold no half-made step, and what hangs
//! on a value gives it back when it is dropped. A panic anywhere else drops records unfinished, which ends the process.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;

/// The work on one record panicked; the panic itself stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// The reason with which such a record is parked.
pub(crate) const REASON: &str = "a fault of the dispatcher's own: it panicked";

/// Does work on one record.
///
/// # Errors
/// [`Panicked`].
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Does work on one record that waits for something.
///
/// # Errors
/// [`Panicked`].
pub(crate) async fn caught_in<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_what_was_lent_is_still_there() {
        let mut lent = vec![1];
        assert_eq!(caught(|| lent.push(2)), Ok(()));
        let sync = caught(|| {
            lent.push(3);
            panic!("on purpose")
        });
        let waiting = caught_in(async {
            tokio::task::yield_now().await;
            lent.push(4);
            panic!("on purpose")
        });
        assert_eq!((sync, waiting.await), (Err::<(), _>(Panicked), Err::<(), _>(Panicked)));
        assert_eq!(lent, [1, 2, 3, 4]);
    }
}
