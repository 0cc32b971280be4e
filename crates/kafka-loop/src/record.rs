//! One record as it came from the log, owned.

use std::sync::Arc;

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

/// A record of the log. Sizes are bounded by the topic's `max.message.bytes`.
#[derive(Clone, Debug)]
pub struct Record {
    /// The topic's short name, without the platform's prefix.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The broker's append time, milliseconds since 1970; 0 when the broker gave none.
    pub timestamp_ms: i64,
    /// The key; empty when there is none.
    pub key: Vec<u8>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers in order; a header without a value has an empty one.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub(crate) fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect()
        });
        Self {
            topic: Arc::from(""),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// All headers as borrowed pairs.
    pub fn header_pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// What the record weighs in a budget, in bytes.
    pub fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + headers + 128
    }
}
