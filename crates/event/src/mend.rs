//! What is put right at the door, once, so that no reader after it has to: members that are null go, a time's letters are written large,
//! and a resource of the old form gets its present name. Pure; every other byte stays as it came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::resource;

type Member<'a> = (Cow<'a, str>, &'a RawValue);

enum Change {
    Nothing,
    Removed,
    Text(String),
}

/// The mended text of an object with these members; nothing when it is right as it is.
pub(crate) fn mended(text: &str, members: &[Member<'_>]) -> Option<String> {
    let is_base64 = |(name, value): &Member<'_>| name == "data_base64" && value.get() != "null";
    let has_base64 = members.iter().any(is_base64);
    let changes: Vec<Change> =
        members.iter().map(|(name, value)| change(name, value.get(), has_base64)).collect();
    if changes.iter().all(|change| matches!(change, Change::Nothing)) {
        return None;
    }
    rewritten(text, members, &changes)
}

/// A null is an absent member. Only null data is data (CloudEvents JSON format §3.1), unless the data stand beside it.
fn change(name: &str, raw: &str, has_base64: bool) -> Change {
    match name {
        "data" if raw == "null" && !has_base64 => Change::Nothing,
        _ if raw == "null" => Change::Removed,
        "time" => changed(raw, |text| {
            let has_small = text.contains(['t', 'z']);
            has_small.then(|| text.to_ascii_uppercase())
        }),
        "resource" => changed(raw, resource::of_legacy),
        _ => Change::Nothing,
    }
}

fn changed(raw: &str, new: impl Fn(&str) -> Option<String>) -> Change {
    let text = serde_json::from_str::<Cow<'_, str>>(raw).ok();
    let new = text.and_then(|text| new(&text));
    new.map_or(Change::Nothing, |text| Change::Text(serde_json::Value::String(text).to_string()))
}

/// Nothing where a value does not stand in the text, which does not happen.
fn rewritten(text: &str, members: &[Member<'_>], changes: &[Change]) -> Option<String> {
    let mut new = String::with_capacity(text.len());
    new.push('{');
    let mut from = new.len();
    for ((_, value), change) in members.iter().zip(changes) {
        let raw = value.get();
        let start = raw.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let (before, end) = (text.get(from..start)?, start + raw.len());
        from = end;
        let value = match change {
            Change::Removed => continue,
            Change::Nothing => raw,
            Change::Text(text) => text,
        };
        let is_first = new.len() == 1;
        let bare = before.trim_start_matches([' ', '\t', '\r', '\n']).strip_prefix(',');
        new.push_str(bare.filter(|_| is_first).unwrap_or(before));
        new.push_str(value);
    }
    new.push_str(text.get(from..)?);
    Some(new)
}
