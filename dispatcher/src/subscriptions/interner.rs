//! Texts that many subscriptions share, each kept once and named by a number. Counts users, and forgets a text with its last.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// The number of a text. [`NONE`] stands for no text.
pub(crate) type TextId = u32;

/// No text.
pub(crate) const NONE: TextId = u32::MAX;

/// The texts.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: Vec<Text>,
    free: Vec<TextId>,
    by_text: HashTable<TextId>,
    // Keyed by chance: the texts come from outside.
    hasher: RandomState,
    heap: usize,
}

#[derive(Debug, Default)]
struct Text {
    text: Box<str>,
    users: u32,
}

impl Interner {
    /// The number of a text, with one more user.
    pub(crate) fn add(&mut self, text: &str) -> TextId {
        let hash = self.hasher.hash_one(text);
        if let Some(id) = self.by_text.find(hash, |id| text_of(&self.texts, *id) == text).copied() {
            if let Some(entry) = self.texts.get_mut(id as usize) {
                entry.users += 1;
            }
            return id;
        }
        let entry = Text { text: text.into(), users: 1 };
        self.heap += heap_size(text.len());
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.texts.get_mut(id as usize) {
                    *place = entry;
                }
                id
            }
            None => {
                push_tight(&mut self.texts, entry);
                TextId::try_from(self.texts.len() - 1).expect("fewer than 2^32 texts fit into memory")
            }
        };
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.by_text.insert_unique(hash, id, |id| hasher.hash_one(text_of(texts, *id)));
        id
    }

    /// The number of a text, or [`NONE`] for no text.
    pub(crate) fn add_optional(&mut self, text: Option<&str>) -> TextId {
        text.map_or(NONE, |text| self.add(text))
    }

    /// One user less.
    pub(crate) fn remove(&mut self, id: TextId) {
        let Some(entry) = self.texts.get_mut(id as usize) else { return };
        entry.users = entry.users.saturating_sub(1);
        if entry.users > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*entry.text);
        if let Ok(found) = self.by_text.find_entry(hash, |other| *other == id) {
            found.remove();
            self.heap -= heap_size(entry.text.len());
            *entry = Text::default();
            self.free.push(id);
        }
    }

    /// The number of a text, if anyone uses it.
    pub(crate) fn find(&self, text: &str) -> Option<TextId> {
        self.by_text.find(self.hasher.hash_one(text), |id| text_of(&self.texts, *id) == text).copied()
    }

    /// The text of a number; empty for [`NONE`].
    pub(crate) fn text(&self, id: TextId) -> &str {
        text_of(&self.texts, id)
    }

    /// Bytes in use, the allocator's rounding included.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.capacity() * size_of::<Text>()
            + self.free.capacity() * size_of::<TextId>()
            + self.by_text.allocation_size()
            + self.heap
    }
}

/// Pushes with little room to spare: doubling would waste up to half of the largest tables we have.
pub(crate) fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(64));
    }
    list.push(item);
}

fn text_of(texts: &[Text], id: TextId) -> &str {
    texts.get(id as usize).map_or("", |entry| &entry.text)
}

/// What an allocator takes for a text: whole sixteens and a word of its own.
fn heap_size(len: usize) -> usize {
    (len + 8).next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_forgotten_with_its_last_user() {
        let mut texts = Interner::default();
        let (a, again, b) = (texts.add("a"), texts.add("a"), texts.add("b"));
        assert_eq!(a, again);
        assert_ne!(a, b);
        texts.remove(a);
        assert_eq!(texts.find("a"), Some(a));
        texts.remove(a);
        assert_eq!(texts.find("a"), None);
        assert_eq!(texts.add("c"), a);
        assert_eq!((texts.text(a), texts.text(b), texts.text(NONE)), ("c", "b", ""));
    }
}
