use super::ATTACHMENT_BYTES_MAX;
use super::node::Node;
use super::place::At;
use super::reading::{AttachmentFile, AttachmentSource, Fields, Reading, Table, first_segments};
use crate::{Attachment, AttachmentKind, sha256_hex};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 of the standard alphabet, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An attachment as it is given, with its bytes or where they are.
#[derive(Default, PartialEq)]
struct Draft {
    id: Option<String>,
    kind: Option<AttachmentKind>,
    media_type: Option<String>,
    size: Option<i64>,
    sha256: Option<String>,
    reference: Option<String>,
    path: Option<String>,
    data: Option<Vec<u8>>,
}

/// Reads the attachments; the bytes of those that come with some go to `reading.files`.
pub(super) fn read(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<Vec<Attachment>>) {
    if matches!(node, Node::Null) {
        return reading.clear(at);
    }
    let problems = reading.error.count();
    let Some(mut drafts) = reading.records::<Draft>(node, at) else { return };
    if reading.error.count() > problems {
        return;
    }
    name_all(&mut drafts);
    let mut attachments: Vec<Attachment> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let place = at.item(index);
        let Some((attachment, file)) = draft.finish(&place, reading) else { continue };
        if attachments.iter().any(|other| other.id == attachment.id) {
            reading.problem(&place.field("id"), "given to another attachment too");
        }
        attachments.push(attachment);
        reading.files.extend(file);
    }
    *slot = Some(attachments);
}

/// Gives an attachment without an id the first free one of its kind, as in `selfie-1`: the same from stage to stage, so
/// that a later selfie replaces an earlier one.
fn name_all(drafts: &mut [Draft]) {
    for index in 0..drafts.len() {
        let Draft { id: None, kind: Some(kind), .. } = drafts[index] else { continue };
        let taken = |id: &str| drafts.iter().any(|other| other.id.as_deref() == Some(id));
        let free = (1..).map(|number| format!("{}-{number}", kind.as_str())).find(|id| !taken(id));
        drafts[index].id = free;
    }
}

impl Draft {
    /// Makes the attachment, with size and hash from the bytes where they are here.
    fn finish(self, at: &At<'_>, reading: &mut Reading) -> Option<(Attachment, Option<AttachmentFile>)> {
        // `check` has refused an attachment without a kind, and `name_all` has given each an id.
        let (id, kind) = (self.id?, self.kind?);
        let (mut size, mut sha256) = (self.size, self.sha256);
        if let Some(bytes) = &self.data {
            let actual = (i64::try_from(bytes.len()).ok(), Some(sha256_hex(bytes)));
            if size.is_some() && size != actual.0 {
                reading.problem(&at.field("size"), "differs from the size of the data");
            }
            if sha256.is_some() && sha256 != actual.1 {
                reading.problem(&at.field("sha256"), "differs from the SHA-256 of the data");
            }
            (size, sha256) = actual;
        }
        let source = self.data.map(AttachmentSource::Data).or(self.path.map(AttachmentSource::Path));
        let file = source.map(|source| AttachmentFile { attachment_id: id.clone(), source });
        let (media_type, reference) = (self.media_type, self.reference);
        Some((Attachment { id, kind, media_type, size, sha256, reference }, file))
    }
}

impl Fields for Draft {
    const SYNONYMS: Table = &[
        ("type", "kind"),
        ("mime_type", "media_type"),
        ("content_type", "media_type"),
        ("file", "path"),
        ("bytes", "data"),
        ("content", "data"),
        ("base64", "data"),
        ("url", "reference"),
        ("hash", "sha256"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "id" => reading.id(node, at, &mut self.id),
            "kind" => kind(node, at, reading, &mut self.kind),
            "media_type" => reading.text(node, at, &mut self.media_type),
            "size" => reading.count(node, at, &mut self.size),
            "sha256" => sha256(node, at, reading, &mut self.sha256),
            "reference" => reading.text(node, at, &mut self.reference),
            "path" => reading.text(node, at, &mut self.path),
            "data" => data(node, at, reading, &mut self.data),
            _ => return false,
        }
        true
    }

    fn check(&self, at: &At<'_>, reading: &mut Reading) {
        if self.kind.is_none() {
            let kinds = AttachmentKind::SYMBOLS.join(", ");
            reading.problem(&at.field("kind"), format!("missing; one of {kinds}"));
        }
        let sources = [self.path.is_some(), self.data.is_some(), self.reference.is_some()];
        if sources.into_iter().filter(|given| *given).count() > 1 {
            reading.problem(at, "only one of path, data and reference can be given");
        }
    }

    fn names() -> Vec<String> {
        let mut names = first_segments(Attachment::leaf_names);
        names.extend(["path", "data"].map(str::to_owned));
        names
    }
}

fn kind(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<AttachmentKind>) {
    const WORDS: Table = &[
        ("face", "selfie"),
        ("image", "selfie"),
        ("document", "document_front"),
        ("document_image", "document_front"),
        ("front", "document_front"),
        ("document_image_back", "document_back"),
        ("back", "document_back"),
        ("pdf", "document_pdf"),
        ("bank_statement", "document_pdf"),
    ];
    reading.symbol(node, at, AttachmentKind::parse, AttachmentKind::SYMBOLS, (WORDS, None), slot);
}

/// Reads a SHA-256 in hex, which the schema has in lower case.
fn sha256(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<String>) {
    reading.text(node, at, slot);
    let Some(hash) = slot else { return };
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        hash.make_ascii_lowercase();
    } else {
        reading.problem(at, "not a SHA-256 as 64 hexadecimal digits");
    }
}

/// Reads bytes in base64. They are not held to the limits of texts, since they do not travel with the session.
fn data(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<Vec<u8>>) {
    let text = match node {
        Node::Null => return,
        Node::Text(text) => text,
        other => return reading.wrong_type(at, "base64 in a string", &other),
    };
    reading.data_bytes += text.len();
    if text.len() > ATTACHMENT_BYTES_MAX.div_ceil(3) * 4 {
        return reading.problem(at, format!("more than {ATTACHMENT_BYTES_MAX} bytes"));
    }
    match bytes_from_base64(&text) {
        _ if text.starts_with("data:") => reading.problem(at, "a data URL; give what follows its comma"),
        Some(bytes) if bytes.is_empty() => reading.problem(at, "empty"),
        Some(bytes) if bytes.len() > ATTACHMENT_BYTES_MAX => {
            reading.problem(at, format!("more than {ATTACHMENT_BYTES_MAX} bytes"));
        }
        Some(bytes) => *slot = Some(bytes),
        None => reading.problem(at, "not base64"),
    }
}

pub(super) fn bytes_from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

pub(super) fn bytes_to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{ParsedSession, session_from_value};
    use serde_json::{Value, json};

    /// SHA-256 of the three letters `abc`, from FIPS 180-4.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(attachments: Value) -> ParsedSession {
        session_from_value(json!({"session_id": "s-1", "attachments": attachments}))
            .expect("the session is read")
    }

    fn refused(attachment: Value, message: &str) {
        let session = json!({"session_id": "s-1", "attachments": [attachment]});
        let error = session_from_value(session).expect_err("the attachment is refused");
        assert_eq!(error.to_string(), format!("attachments[0]{message}"));
    }

    #[test]
    fn data_is_decoded_measured_and_hashed() {
        let parsed =
            read(json!([{"kind": "selfie", "data": "YWJj", "media_type": "image/jpeg", "reference": null}]));
        let file = AttachmentFile {
            attachment_id: "selfie-1".into(),
            source: AttachmentSource::Data(b"abc".into()),
        };
        assert_eq!(parsed.files, [file]);
        let attachment = Attachment {
            id: "selfie-1".into(),
            kind: AttachmentKind::Selfie,
            media_type: Some("image/jpeg".into()),
            size: Some(3),
            sha256: Some(ABC.into()),
            reference: None,
        };
        assert_eq!(parsed.session.attachments, Some(vec![attachment]));
        assert_eq!(parsed.session.cleared, Vec::<String>::new());
        assert_eq!(read(json!([{"kind": "selfie", "data": "YQ"}])).files.len(), 1, "padding may be left out");
        read(json!([{"kind": "selfie", "data": "YWJj", "sha256": ABC.to_uppercase(), "size": 3}]));
    }

    #[test]
    fn what_the_data_contradicts_is_refused() {
        refused(
            json!({"kind": "selfie", "data": "YWJj", "size": 4}),
            ".size: differs from the size of the data",
        );
        let other = ABC.replace('b', "c");
        refused(
            json!({"kind": "selfie", "data": "YWJj", "sha256": other}),
            ".sha256: differs from the SHA-256 of the data",
        );
        refused(json!({"kind": "selfie", "data": "YW!j"}), ".data: not base64");
        refused(json!({"kind": "selfie", "data": ""}), ".data: empty");
        refused(
            json!({"kind": "selfie", "data": "data:image/png;base64,YWJj"}),
            ".data: a data URL; give what follows its comma",
        );
        let large = "A".repeat((ATTACHMENT_BYTES_MAX + 3) / 3 * 4);
        refused(json!({"kind": "selfie", "data": large}), ".data: more than 10000000 bytes");
    }

    #[test]
    fn the_content_is_not_held_to_the_limit_of_texts() {
        let large = "A".repeat(ATTACHMENT_BYTES_MAX / 3 * 4);
        let parsed =
            read(json!([{"kind": "selfie", "data": large}, {"kind": "document_front", "data": large}]));
        assert_eq!(parsed.files.len(), 2);
    }

    #[test]
    fn attachments_are_named_by_kind() {
        let parsed = read(json!([
            {"kind": "selfie", "path": "a.jpg"}, {"id": "selfie-2", "kind": "selfie", "reference": "s3://bucket/b"},
            {"kind": "selfie"}, {"kind": "document_front"},
        ]));
        let ids: Vec<&str> = parsed.session.attachments.iter().flatten().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["selfie-1", "selfie-2", "selfie-3", "document_front-1"]);
        let file = AttachmentFile {
            attachment_id: "selfie-1".into(),
            source: AttachmentSource::Path("a.jpg".into()),
        };
        assert_eq!(parsed.files, [file]);
    }

    #[test]
    fn incomplete_and_contradictory_attachments_are_refused() {
        refused(json!({}), ".kind: missing; one of selfie, document_front, document_back, document_pdf");
        refused(
            json!({"kind": "back"}),
            ".kind: expected one of selfie, document_front, document_back, document_pdf, did you mean \"document_back\"?",
        );
        refused(
            json!({"kind": "selfie", "path": "a", "data": "YWJj"}),
            ": only one of path, data and reference can be given",
        );
        refused(
            json!({"kind": "selfie", "sha256": "abc"}),
            ".sha256: not a SHA-256 as 64 hexadecimal digits",
        );
        refused(
            json!({"kind": "selfie", "file": "a"}),
            ".file: unknown field, did you mean \"path\"? free fields go into \"attributes\"",
        );
        refused(json!("selfie.jpg"), ": expected an object, found a string");
        let twice = json!({"session_id": "s", "attachments": [{"id": "a", "kind": "selfie"}, {"id": "a", "kind": "selfie"}]});
        let error = session_from_value(twice).expect_err("the second id is refused");
        assert_eq!(error.to_string(), "attachments[1].id: given to another attachment too");
    }
}
