//! Items that are asked about together, and halved when a neighbour cannot take them together: the culprit ends up alone.
//!
//! The front goes first, so that within the bound on requests the first items are decided even where every one is a culprit.

/// Most requests for the items of one chunk.
pub(crate) const REQUESTS_MAX: usize = 20;

/// Chunks that wait to be asked about.
pub(crate) struct Halving<T> {
    waiting: Vec<Vec<T>>,
    requests: usize,
}

impl<T> Halving<T> {
    pub(crate) fn new(items: Vec<T>) -> Self {
        Self { waiting: vec![items], requests: 0 }
    }

    /// The next items to ask about together; nothing when all is asked or the bound is reached.
    pub(crate) fn next(&mut self) -> Option<Vec<T>> {
        if self.requests == REQUESTS_MAX {
            return None;
        }
        let items = self.waiting.pop().filter(|items| !items.is_empty())?;
        self.requests += 1;
        Some(items)
    }

    /// These could not be asked about together.
    pub(crate) fn halve(&mut self, mut items: Vec<T>) {
        let second = items.split_off(items.len() / 2);
        self.waiting.extend([second, items]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (culprits that were found, others that were cleared, requests)
    fn halved(items: usize, is_culprit: impl Fn(usize) -> bool) -> (Vec<usize>, usize, usize) {
        let mut halving = Halving::new((0..items).collect());
        let (mut found, mut cleared) = (Vec::new(), 0);
        while let Some(items) = halving.next() {
            match items.as_slice() {
                [one] if is_culprit(*one) => found.push(*one),
                items if items.iter().any(|item| is_culprit(*item)) => halving.halve(items.to_vec()),
                items => cleared += items.len(),
            }
        }
        (found, cleared, halving.requests)
    }

    #[test]
    fn one_culprit_among_a_hundred_is_found_and_all_others_are_cleared() {
        for culprit in 0..100 {
            let (found, cleared, requests) = halved(100, |item| item == culprit);
            assert_eq!((found.as_slice(), cleared), ([culprit].as_slice(), 99));
            assert!(requests <= 15, "{requests}");
        }
        assert_eq!(halved(100, |_| false), (vec![], 100, 1));
        assert_eq!(halved(1, |_| true), (vec![0], 0, 1));
    }

    #[test]
    fn where_all_are_culprits_the_first_are_found_within_the_bound() {
        let (found, _, requests) = halved(100, |_| true);
        assert_eq!(requests, REQUESTS_MAX);
        assert!(found.len() >= 5 && found.iter().copied().eq(0..found.len()), "{found:?}");
    }
}
