//! What a session may say, field by field.

use super::error::JsonError;
use super::node::{self, Node, Tree};
use super::place::At;
use super::reading::{AttachmentFile, Fields, Reading, Table, first_segments};
use super::{TEXT_BYTES_MAX, attachment, attributes, sealed};
use crate::{Browser, Device, Document, DocumentSdk, Gender, Name, Place, Session};
use serde_json::Value;

/// A session as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedSession {
    /// The session, or the stage of one.
    pub session: Session,
    /// Files of its attachments that travel apart from it.
    pub files: Vec<AttachmentFile>,
}

/// Reads a session from a text; the error tells every problem in it.
pub fn session_from_json(text: &[u8]) -> Result<ParsedSession, JsonError> {
    let mut reading = Reading::default();
    let tree = node::from_text(text, &mut reading.error);
    finish(tree, reading)
}

/// Reads a session from a value, under the same limits as from a text.
pub fn session_from_value(value: Value) -> Result<ParsedSession, JsonError> {
    let mut reading = Reading::default();
    let tree = node::from_value(value, &mut reading.error);
    finish(tree, reading)
}

fn finish(tree: Option<Tree<'_>>, mut reading: Reading) -> Result<ParsedSession, JsonError> {
    let Some(tree) = tree else { return Err(reading.error) };
    let mut session = Session::default();
    match tree.root {
        Node::Object(members) => {
            if !members.iter().any(|(name, _)| name == "session_id") {
                reading.problem(
                    &At::WHOLE.field("session_id"),
                    "missing; it is the one field that every session has",
                );
            }
            reading.members(&mut session, members, &At::WHOLE);
        }
        other => reading.wrong_type(&At::WHOLE, "a session as an object", &other),
    }
    let text_bytes = tree.text_bytes.saturating_sub(reading.data_bytes);
    if text_bytes > TEXT_BYTES_MAX {
        reading.problem(&At::WHOLE, format!("{text_bytes} bytes of text are more than {TEXT_BYTES_MAX}"));
    }
    if reading.error.count() > 0 {
        return Err(reading.error);
    }
    session.cleared.append(&mut reading.cleared);
    Ok(ParsedSession { session, files: reading.files })
}

impl Fields for Session {
    const SYNONYMS: Table = &[
        ("birth_date", "date_of_birth"),
        ("birthdate", "date_of_birth"),
        ("dob", "date_of_birth"),
        ("document_number", "document.number"),
        ("document_type", "document.type"),
        ("first_name", "name.first_name"),
        ("id", "session_id"),
        ("ip_address", "ip"),
        ("last_name", "name.last_name"),
        ("latitude", "location.lat"),
        ("longitude", "location.lng"),
        ("metadata", "attributes"),
        ("phone", "phone_number"),
        ("postal_code", "address.postal_code"),
        ("sex", "gender"),
        ("time", "event_time"),
        ("timestamp", "event_time"),
        ("x_forwarded_for", "forwarded_for"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "session_id" => session_id(node, at, reading, &mut self.session_id),
            // A tenant is half of the session's key and cannot be taken back.
            "tenant" | "subject_id" | "sealed" if matches!(node, Node::Null) => {}
            "tenant" => reading.id(node, at, &mut self.tenant),
            "account_id" => reading.id(node, at, &mut self.account_id),
            "external_id" => reading.id(node, at, &mut self.external_id),
            "alias_id" => reading.id(node, at, &mut self.alias_id),
            "request_id" => reading.id(node, at, &mut self.request_id),
            "referring_session_id" => reading.id(node, at, &mut self.referring_session_id),
            "subject_id" => reading.id(node, at, &mut self.subject_id),
            "reference" => reading.text(node, at, &mut self.reference),
            "country" => reading.text(node, at, &mut self.country),
            "language" => reading.text(node, at, &mut self.language),
            "flow" => reading.text(node, at, &mut self.flow),
            "channel" => reading.text(node, at, &mut self.channel),
            "ip" => reading.text(node, at, &mut self.ip),
            "user_agent" => reading.text(node, at, &mut self.user_agent),
            "curp" => reading.text(node, at, &mut self.curp),
            "rfc" => reading.text(node, at, &mut self.rfc),
            "clabe" => reading.text(node, at, &mut self.clabe),
            "email" => email(node, at, reading, &mut self.email),
            "phone_number" => reading.text(node, at, &mut self.phone_number),
            "event_time" => reading.time(node, at, &mut self.event_time),
            "date_of_birth" => reading.date(node, at, &mut self.date_of_birth),
            "user_authorized" => reading.truth(node, at, &mut self.user_authorized),
            "complete" => reading.truth(node, at, &mut self.complete),
            "forwarded_for" => reading.texts(node, at, &mut self.forwarded_for),
            "gender" => gender(node, at, reading, &mut self.gender),
            "browser" => reading.record(node, at, &mut self.browser),
            "device" => reading.record(node, at, &mut self.device),
            "location" => reading.record(node, at, &mut self.location),
            "address" => reading.record(node, at, &mut self.address),
            "name" => reading.record(node, at, &mut self.name),
            "document" => reading.record(node, at, &mut self.document),
            "attachments" => attachment::read(node, at, reading, &mut self.attachments),
            "attributes" => attributes::read(node, at, reading, &mut self.attributes),
            "sealed" => sealed::read(node, at, reading, &mut self.sealed),
            "cleared" => cleared(node, at, reading, &mut self.cleared),
            _ => return false,
        }
        true
    }

    fn names() -> Vec<String> {
        let mut names = first_segments(Session::leaf_names);
        names.extend(["attachments", "attributes"].map(str::to_owned));
        names
    }

    fn elsewhere(name: &str) -> Option<String> {
        let mut leaves = Vec::new();
        Session::leaf_names("", &mut leaves);
        let mut paths = leaves.into_iter().map(|leaf| leaf.name);
        paths.find(|path| path.rsplit_once('.').is_some_and(|(_, last)| last == name))
    }
}

fn session_id(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut String) {
    if matches!(node, Node::Null) {
        return reading.wrong_type(at, "a string", &node);
    }
    let mut id = None;
    reading.id(node, at, &mut id);
    *slot = id.unwrap_or_default();
}

/// Reads an email address; one producer sends it as a list of one.
fn email(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<String>) {
    match node {
        Node::List(mut items) => match (items.pop(), items.is_empty()) {
            (Some(item), true) => *slot = reading.plain_text(item, &at.item(0)),
            _ => reading.problem(at, "expected one address"),
        },
        node => reading.text(node, at, slot),
    }
}

fn gender(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Option<Gender>) {
    const WORDS: Table = &[
        ("f", "female"),
        ("femenino", "female"),
        ("h", "male"),
        ("hombre", "male"),
        ("masculino", "male"),
        ("mujer", "female"),
        ("woman", "female"),
        ("man", "male"),
    ];
    // The letter means male in English and mujer in a CURP, so that no guess is right.
    let ambiguous = matches!(&node, Node::Text(text) if text.eq_ignore_ascii_case("m"));
    let hint = ambiguous.then_some("the letter M alone means male in English and mujer in a CURP");
    reading.symbol(node, at, Gender::parse, Gender::SYMBOLS, (WORDS, hint), slot);
}

/// Reads paths that the stage takes back although it gives them anew, which null cannot say.
fn cleared(node: Node<'_>, at: &At<'_>, reading: &mut Reading, slot: &mut Vec<String>) {
    let mut paths = None;
    if !matches!(node, Node::Null) {
        reading.texts(node, at, &mut paths);
    }
    for (index, path) in paths.into_iter().flatten().enumerate() {
        if path == "tenant" || !Session::knows_path(&path) {
            reading.problem(&at.item(index), "not the path of a field that can be cleared");
        } else {
            slot.push(path);
        }
    }
}

impl Fields for Browser {
    const SYNONYMS: Table = &[("name", "type"), ("family", "type"), ("locale", "language")];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        let field = match name {
            "type" => &mut self.r#type,
            "version" => &mut self.version,
            "language" => &mut self.language,
            "timezone" => &mut self.timezone,
            _ => return false,
        };
        reading.text(node, at, field);
        true
    }

    fn names() -> Vec<String> {
        first_segments(Browser::leaf_names)
    }
}

impl Fields for Device {
    const HAS_TEXT_FORM: bool = true;
    const ALIASES: Table = &[("memory", "memory_gb")];
    const SYNONYMS: Table = &[
        ("device_id", "id"),
        ("cores", "cpu_cores"),
        ("name", "model"),
        ("platform", "os"),
        ("ram", "memory_gb"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        let field = match name {
            "id" => &mut self.id,
            "fingerprint" => &mut self.fingerprint,
            "category" => &mut self.category,
            "type" => &mut self.r#type,
            "model" => &mut self.model,
            "os" => &mut self.os,
            "gpu" => &mut self.gpu,
            "cpu_cores" => {
                reading.count(node, at, &mut self.cpu_cores);
                // Kits that cannot tell send 0, which is no number of cores and nothing to take back either.
                self.cpu_cores = self.cpu_cores.filter(|cores| *cores > 0);
                return true;
            }
            "memory_gb" => {
                reading.number(node, at, 0.0, f64::MAX, &mut self.memory_gb);
                self.memory_gb = self.memory_gb.filter(|memory_gb| *memory_gb > 0.0);
                return true;
            }
            _ => return false,
        };
        reading.text(node, at, field);
        true
    }

    fn take_text(&mut self, text: String, _at: &At<'_>, _reading: &mut Reading) {
        self.model = Some(text);
    }

    fn names() -> Vec<String> {
        first_segments(Device::leaf_names)
    }
}

impl Fields for Place {
    const HAS_TEXT_FORM: bool = true;
    const SYNONYMS: Table = &[
        ("latitude", "lat"),
        ("longitude", "lng"),
        ("lon", "lng"),
        ("long", "lng"),
        ("accuracy", "accuracy_m"),
        ("zip", "postal_code"),
        ("zip_code", "postal_code"),
        ("zipcode", "postal_code"),
        ("cp", "postal_code"),
        ("neighborhood", "colonia"),
        ("neighbourhood", "colonia"),
        ("suburb", "colonia"),
        ("city", "municipality"),
        ("alcaldía", "municipality"),
        ("municipio", "municipality"),
        ("line1", "street"),
        ("country_code", "country"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        let field = match name {
            "text" => &mut self.text,
            "street" => &mut self.street,
            "colonia" => &mut self.colonia,
            "postal_code" => &mut self.postal_code,
            "municipality" => &mut self.municipality,
            "state" => &mut self.state,
            "country" => &mut self.country,
            _ => return self.take_number(name, node, at, reading),
        };
        reading.text(node, at, field);
        true
    }

    fn take_text(&mut self, text: String, at: &At<'_>, reading: &mut Reading) {
        let Some((lat, lng)) = coordinates(&text) else {
            self.text = Some(text);
            return;
        };
        let number = |value: f64| serde_json::Number::from_f64(value).map_or(Node::Null, Node::Number);
        self.take_number("lat", number(lat), &at.field("lat"), reading);
        self.take_number("lng", number(lng), &at.field("lng"), reading);
    }

    fn check(&self, at: &At<'_>, reading: &mut Reading) {
        let cleared = |name: &str| reading.cleared.contains(&at.field(name).canonical_path());
        let together = self.lat.is_some() == self.lng.is_some()
            && (reading.cleared.is_empty() || cleared("lat") == cleared("lng"));
        if !together {
            reading.problem(at, "lat and lng go together");
        }
    }

    fn names() -> Vec<String> {
        first_segments(Place::leaf_names)
    }
}

impl Place {
    fn take_number(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "lat" => reading.number(node, at, -90.0, 90.0, &mut self.lat),
            "lng" => reading.number(node, at, -180.0, 180.0, &mut self.lng),
            "accuracy_m" => reading.number(node, at, 0.0, f64::MAX, &mut self.accuracy_m),
            _ => return false,
        }
        true
    }
}

/// Returns latitude and longitude, where a text is two decimal numbers and nothing else.
fn coordinates(text: &str) -> Option<(f64, f64)> {
    let decimal = |part: &str| {
        let part = part.trim();
        // `parse` would also take "inf" and "1e5", which are no way to write a position.
        let plain = part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
        plain.then(|| part.parse::<f64>().ok())?
    };
    let (lat, lng) = text.split_once(',')?;
    Some((decimal(lat)?, decimal(lng)?))
}

impl Fields for Name {
    const HAS_TEXT_FORM: bool = true;
    const ALIASES: Table = &[("first_name", "given_names"), ("last_name", "paternal_surname")];
    const SYNONYMS: Table = &[
        ("first", "first_name"),
        ("last", "last_name"),
        ("given_name", "given_names"),
        ("surname", "paternal_surname"),
        ("second_surname", "maternal_surname"),
        ("name", "full"),
        ("nombres", "given_names"),
        ("apellido_paterno", "paternal_surname"),
        ("apellido_materno", "maternal_surname"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        let field = match name {
            "full" => &mut self.full,
            "given_names" => &mut self.given_names,
            "paternal_surname" => &mut self.paternal_surname,
            "maternal_surname" => &mut self.maternal_surname,
            _ => return false,
        };
        reading.text(node, at, field);
        true
    }

    fn take_text(&mut self, text: String, _at: &At<'_>, _reading: &mut Reading) {
        self.full = Some(text);
    }

    fn names() -> Vec<String> {
        first_segments(Name::leaf_names)
    }
}

impl Fields for Document {
    const SYNONYMS: Table = &[
        ("expiration", "date_of_expiration"),
        ("expiration_date", "date_of_expiration"),
        ("expires", "date_of_expiration"),
        ("issue_date", "date_of_issue"),
        ("issued", "date_of_issue"),
        ("issuing_country", "country"),
    ];

    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "type" => reading.text(node, at, &mut self.r#type),
            "country" => reading.text(node, at, &mut self.country),
            "state" => reading.text(node, at, &mut self.state),
            "number" => reading.text(node, at, &mut self.number),
            "date_of_issue" => reading.date(node, at, &mut self.date_of_issue),
            "date_of_expiration" => reading.date(node, at, &mut self.date_of_expiration),
            "mrz" => reading.text(node, at, &mut self.mrz),
            "barcode" => reading.text(node, at, &mut self.barcode),
            "sdk" => reading.record(node, at, &mut self.sdk),
            _ => return false,
        }
        true
    }

    fn names() -> Vec<String> {
        first_segments(Document::leaf_names)
    }
}

impl Fields for DocumentSdk {
    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool {
        match name {
            "authentic" => reading.truth(node, at, &mut self.authentic),
            "mrz_name" => reading.text(node, at, &mut self.mrz_name),
            _ => return false,
        }
        true
    }

    fn names() -> Vec<String> {
        first_segments(DocumentSdk::leaf_names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Session {
        let text = value.to_string();
        let parsed = session_from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(session_from_value(value).as_ref(), Ok(&parsed), "text and value are read alike: {text}");
        parsed.session
    }

    /// Reads a session with one more member.
    fn read_with(name: &str, member: Value) -> Session {
        let mut value = json!({"session_id": "s-1"});
        value[name] = member;
        read(value)
    }

    /// Checks the whole message of a session that is refused, with one more member.
    fn refused(name: &str, member: Value, message: &str) {
        let mut value = json!({"session_id": "s-1"});
        value[name] = member;
        let error = session_from_json(value.to_string().as_bytes()).expect_err("the session is refused");
        assert_eq!(error.to_string(), message);
        assert_eq!(session_from_value(value), Err(error));
    }

    #[test]
    fn only_the_session_id_must_be_there() {
        assert_eq!(
            read(json!({"session_id": "s-1"})),
            Session { session_id: "s-1".into(), ..Session::default() }
        );
        let missing = session_from_json(b"{}").expect_err("the session is refused");
        assert_eq!(missing.to_string(), "session_id: missing; it is the one field that every session has");
        refused("session_id", Value::Null, "session_id: expected a string, found null");
        refused("session_id", json!(7), "session_id: expected a string, found a number");
        refused("session_id", json!(""), "session_id: empty");
        refused("session_id", json!("s".repeat(513)), "session_id: 513 bytes are more than 512");
        refused("tenant", json!("é".repeat(300)), "tenant: 600 bytes are more than 512");
        refused("account_id", json!(""), "account_id: empty");
    }

    #[test]
    fn null_takes_back_and_absence_keeps() {
        let session = read(json!({
            "session_id": "s-1", "tenant": null, "email": null, "location": null, "attachments": null,
            "device": {"os": null, "model": "iPhone"}, "document": {"sdk": {"authentic": null}},
            "name": {"first_name": null}, "attributes": {"a.b": null}, "complete": null, "event_time": null,
        }));
        assert_eq!(
            session.cleared,
            [
                "email",
                "location",
                "attachments",
                "device.os",
                "document.sdk.authentic",
                "name.given_names",
                "attributes.a.b",
                "complete",
                "event_time"
            ]
        );
        assert!(session.cleared.iter().all(|path| Session::knows_path(path)));
        assert_eq!(session.device.and_then(|device| device.model).as_deref(), Some("iPhone"));
        // A record that says nothing is absent.
        assert_eq!((session.document, session.name, session.attributes), (None, None, None));
        assert_eq!(read_with("device", json!({})).device, None);
    }

    #[test]
    fn unknown_fields_are_refused_with_a_suggestion() {
        const HINT: &str = "free fields go into \"attributes\"";
        for (name, member, problem) in [
            (
                "device",
                json!({"cpu_coers": 4}),
                "device.cpu_coers: unknown field, did you mean \"cpu_cores\"?",
            ),
            ("e_mail", json!("a@example.org"), "e_mail: unknown field, did you mean \"email\"?"),
            (
                "location",
                json!({"latitude": 1, "lon": 2}),
                "location.latitude: unknown field, did you mean \"lat\"?",
            ),
            ("lat", json!(1), "lat: unknown field, did you mean \"location.lat\"?"),
            ("first_name", json!("x"), "first_name: unknown field, did you mean \"name.first_name\"?"),
            ("mrz_name", json!("x"), "mrz_name: unknown field, did you mean \"document.sdk.mrz_name\"?"),
            (
                "name",
                json!({"first_nam": "x"}),
                "name.first_nam: unknown field, did you mean \"first_name\"?",
            ),
            (
                "document",
                json!({"sdk": {"authentik": 1}}),
                "document.sdk.authentik: unknown field, did you mean \"authentic\"?",
            ),
        ] {
            let mut value = json!({"session_id": "s-1"});
            value[name] = member;
            let error = session_from_value(value).expect_err("the session is refused");
            assert_eq!(error.problems[0].to_string(), format!("{problem} {HINT}"));
        }
        refused("zzz", json!({"deep": [1]}), "zzz: unknown field; free fields go into \"attributes\"");
    }

    #[test]
    fn every_problem_is_told_up_to_the_limit() {
        let error = session_from_json(
            br#"{"ip": 4, "compleet": 1, "gender": "M", "location": {"lat": 91, "lng": true}}"#,
        )
        .expect_err("the session is refused");
        let paths: Vec<&str> = error.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["session_id", "ip", "compleet", "gender", "location.lat", "location.lng"]);
        let many: Value = (0..50).map(|index| (format!("x{index}"), json!(1))).collect();
        let error = session_from_value(many).expect_err("the session is refused");
        assert_eq!((error.problems.len(), error.problems_left_out), (20, 31));
    }

    #[test]
    fn places_are_objects_texts_or_coordinates() {
        let place = |member: Value| read_with("location", member).location.expect("there is a place");
        let lat_lng = |place: Place| (place.lat, place.lng);
        let here = (Some(19.428437), Some(-99.157011));
        assert_eq!(lat_lng(place(json!({"lat": 19.428437, "lng": -99.157011, "accuracy_m": 12}))), here);
        assert_eq!(lat_lng(place(json!("19.428437, -99.157011"))), here);
        for text in ["Lote 12, México D.F. CP 01234 México", "12,", "inf,nan", "1e1,2", "1,2,3", "19.4"] {
            assert_eq!(place(json!(text)), Place { text: Some(text.into()), ..Place::default() }, "{text}");
        }
        assert_eq!(lat_lng(place(json!({"text": "1,2"}))), (None, None));
        refused("address", json!("91,0"), "address.lat: not between -90 and 90");
        refused("address", json!({"lat": 0, "lng": -180.5}), "address.lng: not between -180 and 180");
        refused("address", json!({"lat": "NaN", "lng": 0}), "address.lat: expected a number, found a string");
        refused("address", json!({"lat": 1}), "address: lat and lng go together");
        refused("address", json!({"lat": null, "lng": 1}), "address: lat and lng go together");
        refused("address", json!({"lat": null}), "address: lat and lng go together");
        refused("address", json!({"accuracy_m": -1}), "address.accuracy_m: less than 0");
        refused("address", json!([1, 2]), "address: expected an object or a string, found a list");
        assert_eq!(
            read_with("address", json!({"lat": null, "lng": null})).cleared,
            ["address.lat", "address.lng"]
        );
    }

    #[test]
    fn names_and_devices_have_other_forms() {
        let name = |member: Value| read_with("name", member).name.expect("there is a name");
        assert_eq!(name(json!("María Hernández")).full.as_deref(), Some("María Hernández"));
        let parts =
            name(json!({"first_name": "María", "last_name": "Hernández", "maternal_surname": "López"}));
        assert_eq!(
            (parts.given_names.as_deref(), parts.paternal_surname.as_deref()),
            (Some("María"), Some("Hernández"))
        );
        refused(
            "name",
            json!({"first_name": "María", "given_names": "José"}),
            "name.first_name: means the same as \"given_names\", which is given too",
        );
        refused("name", json!({"first_name": 1}), "name.first_name: expected a string, found a number");
        let device = |member: Value| read_with("device", member).device.expect("there is a device");
        assert_eq!(
            device(json!("Apple iPhone 12 Pro Max")).model.as_deref(),
            Some("Apple iPhone 12 Pro Max")
        );
        assert_eq!(device(json!({"memory": 8, "cpu_cores": 4.0})).memory_gb, Some(8.0));
        let unknown = read_with("device", json!({"memory": 0, "cpu_cores": 0}));
        assert_eq!((unknown.device, unknown.cleared), (None, vec![]));
        refused("device", json!({"cpu_cores": -1}), "device.cpu_cores: not a whole number from 0 that fits");
        refused(
            "device",
            json!({"cpu_cores": 3_000_000_000_u32}),
            "device.cpu_cores: not a whole number from 0 that fits",
        );
        refused("device", json!({"cpu_cores": 1.5}), "device.cpu_cores: not a whole number from 0 that fits");
        refused("browser", json!("Chrome"), "browser: expected an object, found a string");
    }

    #[test]
    fn one_email_address_may_stand_in_a_list() {
        assert_eq!(read_with("email", json!(["a@example.org"])).email.as_deref(), Some("a@example.org"));
        refused("email", json!([]), "email: expected one address");
        refused("email", json!(["a@example.org", "b@example.org"]), "email: expected one address");
        refused("email", json!([null]), "email[0]: expected a string, found null");
    }

    #[test]
    fn genders_are_words() {
        const EXPECTED: &str = "gender: expected one of female, male, x, unknown";
        assert_eq!(read_with("gender", json!("female")).gender, Some(Gender::Female));
        refused(
            "gender",
            json!("M"),
            &format!("{EXPECTED}; the letter M alone means male in English and mujer in a CURP"),
        );
        refused("gender", json!("F"), &format!("{EXPECTED}, did you mean \"female\"?"));
        refused("gender", json!("H"), &format!("{EXPECTED}, did you mean \"male\"?"));
        refused("gender", json!("Mujer"), &format!("{EXPECTED}, did you mean \"female\"?"));
        refused("gender", json!("Male"), &format!("{EXPECTED}, did you mean \"male\"?"));
    }

    #[test]
    fn times_and_dates_are_checked() {
        let noon = Some(1_772_366_400_000);
        for member in [
            json!("2026-03-01T12:00:00.000Z"),
            json!("2026-03-01T06:00:00-06:00"),
            json!(1_772_366_400_000_i64),
        ] {
            assert_eq!(read_with("event_time", member).event_time, noon);
        }
        const TIME: &str = "event_time: not a time in RFC 3339 with its offset, or whole milliseconds since 1970, from the year 1 to the year 9999";
        for member in
            [json!("2026-03-01T12:00:00"), json!("yesterday"), json!(1.5), json!(i64::MAX), json!(1e300)]
        {
            refused("event_time", member, TIME);
        }
        assert_eq!(
            read_with("date_of_birth", json!("1989-09-19")).date_of_birth.as_deref(),
            Some("1989-09-19")
        );
        refused(
            "date_of_birth",
            json!("1989-02-30"),
            "date_of_birth: not a day of the calendar as YYYY-MM-DD",
        );
        refused(
            "document",
            json!({"date_of_issue": "1/2/2020"}),
            "document.date_of_issue: not a day of the calendar as YYYY-MM-DD",
        );
    }

    #[test]
    fn a_path_given_anew_stands_in_cleared() {
        let session = read(
            json!({"session_id": "s-1", "location": {"text": "x"}, "cleared": ["location"], "ip": null}),
        );
        assert_eq!(session.cleared, ["location", "ip"]);
        for path in ["session_id", "tenant", "nothing", "device.colour", ""] {
            refused("cleared", json!([path]), "cleared[0]: not the path of a field that can be cleared");
        }
    }

    /// A field of the schema that the reader forgot would show here.
    #[test]
    fn every_field_of_the_schema_can_be_given() {
        let mut value = json!({});
        let leaves = crate::session_leaves();
        let leaves: Vec<_> =
            leaves.iter().filter_map(|leaf| Some((leaf.name.strip_prefix("session.")?, leaf.kind))).collect();
        for (name, kind) in &leaves {
            let sample = match (*name, kind) {
                (name, _) if name.contains("date_of") => json!("1989-09-19"),
                ("gender", _) => json!("x"),
                (_, crate::LeafKind::Bool) => json!(true),
                (_, crate::LeafKind::Int) => json!(4),
                (_, crate::LeafKind::Double) => json!(4.5),
                (_, crate::LeafKind::Text) => json!("text"),
                (_, crate::LeafKind::TextList) => json!(["text"]),
            };
            *value
                .pointer_mut("")
                .map(|root| name.split('.').fold(root, |place, step| &mut place[step]))
                .expect("a place") = sample;
        }
        let session = read(value);
        let mut values = Vec::new();
        session.leaves(&mut values);
        for ((name, _), value) in leaves.iter().zip(values) {
            assert_ne!(value, crate::LeafValue::Unknown, "{name}");
        }
    }
}
