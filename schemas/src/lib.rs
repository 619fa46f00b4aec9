//! The contract: one Avro schema a topic or table, the types made from them, and the codecs between bytes and types.
//!
//! Nothing outside this crate turns bytes into types. Reading order: `avro/` (the schemas), [`codec`] (the registry's
//! wire format), [`message`] (what travels on which topic), [`json`] (sessions and decisions at the edge), [`key`]
//! (how records are keyed and partitioned), [`merge`] (how a later stage adds to a session), [`leaf`] (the flat view
//! that the rules read).

pub mod codec;
pub mod json;
pub mod key;
mod leaf;
pub mod merge;
pub mod message;
mod scalar;
pub mod topic;

mod types {
    include!(concat!(env!("OUT_DIR"), "/types.rs"));
}

pub use codec::{Codec, DecodeError, SchemaAnswer, SchemaSource};
pub use key::Key;
pub use leaf::{Leaf, LeafKind, LeafValue, session_leaves};
pub use message::{Message, Payload};
pub use scalar::Scalar;
pub use topic::{Cleanup, TopicSpec};
pub use types::*;

use serde::{Serialize, de::DeserializeOwned};

/// A record with a published schema.
pub trait Record: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static {
    /// Place of its schema in [`PUBLISHED`].
    const INDEX: usize;

    /// Returns its schema in the newest version.
    fn published() -> &'static Published {
        &PUBLISHED[Self::INDEX]
    }
}

/// A schema in its newest version.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Name and version, as in `session.v1`.
    pub file: &'static str,
    /// The whole schema, every part in place.
    pub json: &'static str,
}

/// Milliseconds since 1970-01-01T00:00:00Z, as the broker stamps records.
pub type TimeMs = i64;

/// Returns the lower-case hex of a SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}

/// Returns lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
