//! The lines in which endpoints with something to start wait for their turn. Pure.
//!
//! Each endpoint stands in one place. Those that a host's or a consumer's share holds up stand aside until it has a permit back, so
//! that nobody looks at them in vain.

use std::collections::{HashMap, VecDeque};

use crate::pushing::{
    endpoint::EndpointKey,
    permits::{Class, Holder},
};

/// The lines. Stale entries are possible: an endpoint stands where it says itself.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    proven: VecDeque<EndpointKey>,
    unproven: VecDeque<EndpointKey>,
    slow: VecDeque<EndpointKey>,
    aside: HashMap<Holder, Vec<(Class, EndpointKey)>>,
}

impl Lines {
    /// Puts an endpoint at the end of a line.
    pub(crate) fn stand(&mut self, class: Class, key: EndpointKey) {
        self.line(class).push_back(key);
    }

    /// Puts an endpoint at the head of a line.
    pub(crate) fn stand_first(&mut self, class: Class, key: EndpointKey) {
        self.line(class).push_front(key);
    }

    /// Takes the first of a line.
    pub(crate) fn first(&mut self, class: Class) -> Option<EndpointKey> {
        self.line(class).pop_front()
    }

    /// Puts an endpoint aside until this one has a permit back.
    pub(crate) fn aside(&mut self, holder: Holder, class: Class, key: EndpointKey) {
        self.aside.entry(holder).or_default().push((class, key));
    }

    /// This one has a permit back.
    pub(crate) fn back(&mut self, holder: Holder) {
        for (class, key) in self.aside.remove(&holder).into_iter().flatten() {
            self.stand(class, key);
        }
    }

    /// Takes all away.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn line(&mut self, class: Class) -> &mut VecDeque<EndpointKey> {
        match class {
            Class::Proven => &mut self.proven,
            Class::Unproven | Class::Validation => &mut self.unproven,
            Class::Slow => &mut self.slow,
        }
    }
}
