use super::attachment::bytes_from_base64;
use super::node::Node;
use super::place::At;
use super::reading::{Fields, Reading};
use crate::Sealed;
use serde_bytes::ByteBuf;

/// A sealed field as it is given.
#[derive(Default, PartialEq)]
struct Draft {
    field: Option<String>,
    key_id: Option<String>,
    algorithm: Option<String>,
    nonce: Option<ByteBuf>,
    ciphertext: Option<ByteBuf>,
}

/// Reads the fields that are encrypted with their subject's key, bytes in base64.
pub(super) fn read(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<Vec<Sealed>>) {
    let Some(drafts) = reading.records::<Draft>(node, at) else { return };
    *slot = drafts.into_iter().map(Draft::finish).collect();
}

impl Draft {
    /// Makes the sealed field, or nothing of one that lacks a part, which `check` has told.
    fn finish(self) -> Option<Sealed> {
        Some(Sealed {
            field: self.field?,
            key_id: self.key_id?,
            algorithm: self.algorithm?,
            nonce: self.nonce?,
            ciphertext: self.ciphertext?,
        })
    }
}

impl Fields for Draft {
    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "field" => reading.text(node, at, &mut self.field),
            "key_id" => reading.text(node, at, &mut self.key_id),
            "algorithm" => reading.text(node, at, &mut self.algorithm),
            "nonce" => bytes(node, at, reading, &mut self.nonce),
            "ciphertext" => bytes(node, at, reading, &mut self.ciphertext),
            _ => return false,
        }
        true
    }

    fn check(&self, at: &At<'_>, reading: &mut Reading) {
        let texts = [&self.field, &self.key_id, &self.algorithm];
        if texts.into_iter().any(Option::is_none) || self.nonce.is_none() || self.ciphertext.is_none() {
            reading.problem(at, "a sealed field needs field, key_id, algorithm, nonce and ciphertext");
        }
    }

    fn names() -> Vec<String> {
        ["field", "key_id", "algorithm", "nonce", "ciphertext"].map(str::to_owned).into()
    }
}

fn bytes(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<ByteBuf>) {
    let mut text = None;
    reading.text(node, at, &mut text);
    let Some(text) = text else { return };
    *slot = bytes_from_base64(&text).map(ByteBuf::from);
    if slot.is_none() {
        reading.problem(at, "not base64");
    }
}
