//! Sessions and decisions at the edge, where people and producers without Avro meet them: JSON in and out, and Avro
//! container files.
//!
//! Reading order: `session` (what a session may say, field by field), `reading` (how one field is read, and how every
//! problem of a session is collected), `node` (from text to a tree, with the limits below), `writing` (the way back),
//! `decision` and `record` (what consumers see), `encode` (any record the other way), `container` (Avro files).
//!
//! A stage of a session says three things of a field: a value; nothing, by leaving it out, which keeps what an earlier
//! stage said; and null, which takes it back ([`Session::cleared`](crate::Session)).

mod attachment;
mod attributes;
mod container;
mod decision;
mod encode;
mod error;
mod node;
mod place;
mod reading;
mod record;
mod sealed;
mod session;
mod time;
mod writing;

pub use container::{AvroFileError, sessions_from_avro};
pub use decision::decision_to_json;
pub use encode::{RecordJsonError, record_from_json};
pub use error::{JsonError, JsonProblem};
pub use reading::{AttachmentFile, AttachmentSource};
pub use record::{message_to_json, signal_to_json};
pub use session::{ParsedSession, session_from_json, session_from_value};
pub use time::{is_date, time_from_text, time_to_text};
pub use writing::session_to_json;

/// Most bytes of a session's names and texts together; the content of attachments is not counted.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one text, and of the name of one attribute.
pub const FIELD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of one attachment given in `data`, once decoded: the limit of an image in the topic `images`.
pub const ATTACHMENT_BYTES_MAX: usize = 10_000_000;
/// Most bytes of the whole input: four attachments of the largest size in base64, and the texts.
pub const INPUT_BYTES_MAX: usize = 56 << 20;
/// Deepest nesting; a session itself needs three levels.
pub const DEPTH_MAX: usize = 32;
/// Most members of one object, attributes among them.
pub const MEMBERS_MAX: usize = 300;
/// Most items of one list.
pub const ITEMS_MAX: usize = 100;
/// Most values in a session, at all depths.
pub const VALUES_MAX: usize = 10_000;
/// Most problems that are told of one session; further ones are counted.
pub const PROBLEMS_MAX: usize = 20;
