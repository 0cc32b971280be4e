//! How large an event and its parts may be (`schemas/event.schema.json`).

/// Longest id, source, type, subject, alternative subject, resource instance, in bytes.
pub const ATTRIBUTE_MAX: usize = 512;
/// Longest resource and data schema, in bytes.
pub const RESOURCE_MAX: usize = 1_024;
/// Longest name of an extension, in bytes.
pub const NAME_MAX: usize = 64;
/// Most members of an event, attributes and extensions and data together.
pub const MEMBERS_MAX: usize = 128;
/// Largest event, in bytes of its JSON text.
pub const EVENT_MAX: usize = 64 * 1_024;
/// Objects and arrays within each other, the event itself included.
pub const DEPTH_MAX: usize = 64;
