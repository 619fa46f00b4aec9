//! Sessions and decisions at the edge: whatever is given, reading ends with a session or with an error that names the
//! place, and what is written is read again.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use schemas::codec::encode_datum;
use schemas::json::*;
use schemas::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A session with every field, in the form that is fixed for producers.
const WHOLE: &str = r#"{"tenant":"acme","session_id":"s-1","account_id":"a-1","external_id":"e-1","alias_id":"al-1","request_id":"r-1","reference":"case 7",
 "referring_session_id":"s-0","event_time":"2026-03-01T12:00:00.000Z","user_authorized":true,"country":"MX","language":"es","flow":"signup","channel":"app","complete":true,
 "ip":"201.141.5.9","forwarded_for":["10.0.0.1"],"user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)",
 "browser":{"type":"Chrome","version":"135.0.0.0","language":"es-MX","timezone":"America/Mexico_City"},
 "device":{"id":"d-1","fingerprint":"f-1","category":"mobile","type":"iPhone","model":"iPhone 12 Pro Max","os":"iOS 18.1","cpu_cores":4,"memory_gb":null,"gpu":"Apple GPU"},
 "location":{"lat":19.428437,"lng":-99.157011,"accuracy_m":12},
 "address":{"text":"Lote 12, México D.F. CP 01234 México","lat":null,"lng":null,"street":"Lote 12","colonia":"Centro","postal_code":"01234","municipality":"Álvaro Obregón","state":"Ciudad de México","country":"MX"},
 "name":{"full":"María Hernández López","given_names":"María","paternal_surname":"Hernández","maternal_surname":"López"},
 "date_of_birth":"1989-09-19","gender":"female","curp":"HELM890919MDFRPR03","rfc":"HELM8909191H0","clabe":"002010077777777771","email":"maria@example.org","phone_number":"+525512345678",
 "document":{"type":"passport","country":"MX","state":null,"number":"G12345678","date_of_issue":"2020-02-29","date_of_expiration":"2030-02-28","mrz":"P<MEX","barcode":"x","sdk":{"authentic":true,"mrz_name":"HERNANDEZ LOPEZ MARIA"}},
 "attachments":[{"id":"i-1","kind":"selfie","media_type":"image/jpeg","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","path":"selfie.jpg"}],"attributes":{"plan":"gold"}}"#;

fn session(text: &str) -> Session {
    session_from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")).session
}

#[test]
fn a_whole_session_is_read_and_written_again() {
    let parsed = session_from_json(WHOLE.as_bytes()).unwrap();
    let read = &parsed.session;
    assert_eq!(read.event_time, Some(1_772_366_400_000));
    assert_eq!(read.cleared, ["device.memory_gb", "address.lat", "address.lng", "document.state"]);
    assert_eq!(read.document.as_ref().unwrap().sdk.as_ref().unwrap().authentic, Some(true));
    let file =
        AttachmentFile { attachment_id: "i-1".into(), source: AttachmentSource::Path("selfie.jpg".into()) };
    assert_eq!(parsed.files, [file]);
    let mut expected: Value = serde_json::from_str(WHOLE).unwrap();
    // A path leads to the bytes, which do not travel with the session.
    expected["attachments"][0].as_object_mut().unwrap().shift_remove("path");
    expected["location"]["accuracy_m"] = json!(12.0);
    assert_eq!(session_to_json(read), expected);
}

/// A few lines of a hostile producer, with the beginning of what they are told.
#[test]
fn hostile_texts_are_refused_where_they_break_off() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!(r#"{{"session_id":"s","attributes":{{"a":{}1{}}}}}"#, open.repeat(depth), close.repeat(depth))
    };
    let members: Vec<String> = (0..400).map(|index| format!(r#""a{index}":"x""#)).collect();
    let members = members.join(",");
    let twenty_texts = vec![format!("{:?}", "x".repeat(60_000)); 20].join(",");
    let nested_lists = format!("[{}]", vec![format!("[{}]", vec!["0"; 99].join(",")); 99].join(","));
    let many_values = format!(r#"{{"a":{nested_lists},"b":{nested_lists}}}"#);
    let cases: Vec<(Vec<u8>, String)> = [
        ("", "line 1, column 0: EOF while parsing a value"),
        ("null", "expected a session as an object, found null"),
        ("[]", "expected a session as an object, found a list"),
        ("\u{feff}7", "expected a session as an object, found a number"),
        ("{\n\"session_id\": NaN}", "line 2, column 15: expected value"),
        (r#"{"session_id":"s","location":{"lat":-Infinity,"lng":0}}"#, "line 1, column 38: invalid number"),
        (r#"{"session_id":"s","location":{"lat":1e999,"lng":0}}"#, "line 1, column 41: number out of range"),
        (r#"{"session_id":"s","location":{"lat":1e99,"lng":0}}"#, "location.lat: not between -90 and 90"),
        (r#"{"session_id":"s"} {"session_id":"t"}"#, "line 1, column 20: trailing characters"),
        (r#"{"session_id":"s","ip":"1","ip":"2"}"#, "ip: given twice in one object"),
        (r#"{"session_id":"s","device":{"os":"1","o\u0073":"2"}}"#, "device.os: given twice in one object"),
        (
            r#"{"session_id":"s","attachments":[{"kind":"selfie","kind":"selfie"}]}"#,
            "attachments[0].kind: given twice",
        ),
        (r#"{"session_id":"s","ip":"\ud800"}"#, "line 1, column 31: unexpected end of hex escape"),
        (r#"{"session_id":"s","ip":"1.2\u0000.3"}"#, "ip: holds a NUL character"),
        (
            r#"{"session_id":"s","device":{"cpu_cores":99999999999999999999999}}"#,
            "device.cpu_cores: not a whole number",
        ),
        (&nested("[", "]", 31), "attributes.a[0][0]"),
        (&nested("[", "]", 100_000), "attributes.a[0][0]"),
        (&nested(r#"{"a":"#, "}", 100_000), "attributes.a.a.a"),
        (
            &format!(r#"{{"session_id":"s","ip":{:?}}}"#, "x".repeat(1 << 20)),
            "ip: 1048576 bytes are more than 65536",
        ),
        (
            &format!(r#"{{"session_id":"s","forwarded_for":[{twenty_texts}]}}"#),
            "1200024 bytes of text are more than 1048576",
        ),
        (&format!(r#"{{"session_id":"s","attributes":{{{members}}}}}"#), "attributes: line 1, column"),
        (
            &format!(r#"{{"session_id":"s","forwarded_for":[{}]}}"#, vec!["1"; 101].join(",")),
            "forwarded_for: line 1, column",
        ),
        (&many_values, "b["),
        (&" ".repeat(INPUT_BYTES_MAX + 1), "58720257 bytes are more than 58720256"),
    ]
    .map(|(text, message): (&str, &str)| (text.as_bytes().to_vec(), message.to_owned()))
    .into();
    let mut cases = cases;
    cases.push((b"{\"session_id\":\"\xff\"}".into(), "invalid UTF-8 at byte 15".into()));
    cases.push((b"\xef\xbb\xbf{\"session_id\":\"\xc3\x28\"}".into(), "invalid UTF-8 at byte 18".into()));
    for (text, beginning) in cases {
        let error = session_from_json(&text).expect_err("the text is refused").to_string();
        let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        assert!(error.starts_with(&beginning), "{shown}: {error}, not {beginning}");
        assert!(error.len() < 20_000, "an error is not as long as what it refuses");
    }
}

#[test]
fn nesting_is_told_with_its_limit() {
    let mut value = json!(1);
    for _ in 0..60 {
        value = json!([value]);
    }
    let error = session_from_value(json!({"session_id": "s", "attributes": value})).unwrap_err();
    assert_eq!(error.problems.len(), 1);
    assert_eq!(error.problems[0].message, "nested deeper than 32 levels");
}

/// Names that the reader knows, and some that it does not.
fn member_name() -> impl Strategy<Value = String> {
    let known = "session_id tenant ip email device location address name document attachments attributes gender lat lng \
        accuracy_m cleared sealed sdk kind data path size sha256 id event_time forwarded_for cpu_cores memory memory_gb \
        first_name given_names date_of_birth nonce text";
    let known: Vec<&str> = known.split_whitespace().collect();
    prop_oneof![4 => proptest::sample::select(known).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let texts = [
        "s-1",
        "19.4,-99.1",
        "selfie",
        "YWJj",
        "female",
        "2020-02-29",
        "2020-02-29T00:00:00Z",
        "device.os",
        "\0",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-200_i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => vec((member_name(), inner), 0..8).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Collects where a value and those below it stand.
fn collect_pointers(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect_pointers(member, format!("{pointer}/{name}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_pointers(item, format!("{pointer}/{index}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}

/// Whatever was read holds what the other parts of the system rely on.
fn assert_sound(parsed: &ParsedSession) {
    let session = &parsed.session;
    assert!((1..=key::ID_BYTES_MAX).contains(&session.session_id.len()));
    assert!(session.cleared.iter().all(|path| Session::knows_path(path)), "{:?}", session.cleared);
    for place in [&session.location, &session.address].into_iter().flatten() {
        assert_eq!(place.lat.is_some(), place.lng.is_some());
        assert!(place.lat.is_none_or(|lat| (-90.0..=90.0).contains(&lat)));
        assert!(place.lng.is_none_or(|lng| (-180.0..=180.0).contains(&lng)));
    }
    encode_datum(session, &mut Vec::new()).expect("a session that was read can be written");
    let again =
        session_from_value(session_to_json(session)).unwrap_or_else(|error| panic!("{session:?}: {error}"));
    assert_eq!(comparable(again.session), comparable(session.clone()));
}

/// Returns a session with its cleared paths in order: nulls stand where their fields do, which tells no order.
fn comparable(mut session: Session) -> Session {
    session.cleared = session.cleared.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    session
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "\\PC{0,12}", 1 => "[\\x01-\\x1f\"\\\\/áéíóúñ😀]{0,8}", 1 => Just("19.4,-99.1".to_owned())]
}

fn id() -> impl Strategy<Value = String> {
    "\\PC{1,40}"
}

fn date() -> impl Strategy<Value = Option<String>> {
    option::of(
        (1900..2100, 1..13, 1..29).prop_map(|(year, month, day)| format!("{year}-{month:02}-{day:02}")),
    )
}

fn place() -> impl Strategy<Value = Option<Place>> {
    let position = option::of((-90.0..=90.0_f64, -180.0..=180.0_f64));
    (position, option::of(0.0..1e9_f64), vec(option::of(text()), 7)).prop_map(
        |(position, accuracy_m, texts)| {
            let mut place = Place {
                lat: position.map(|position| position.0),
                lng: position.map(|position| position.1),
                accuracy_m,
                ..Place::default()
            };
            let Place { text, street, colonia, postal_code, municipality, state, country, .. } = &mut place;
            fill([text, street, colonia, postal_code, municipality, state, country], texts);
            something(place)
        },
    )
}

fn device() -> impl Strategy<Value = Option<Device>> {
    let numbers = (option::of(1..i32::MAX), option::of(1e-9..1e9_f64));
    (vec(option::of(text()), 7), numbers).prop_map(|(texts, (cpu_cores, memory_gb))| {
        let mut device = Device { cpu_cores, memory_gb, ..Device::default() };
        let Device { id, fingerprint, category, r#type, model, os, gpu, .. } = &mut device;
        fill([id, fingerprint, category, r#type, model, os, gpu], texts);
        something(device)
    })
}

fn document() -> impl Strategy<Value = Option<Document>> {
    (vec(option::of(text()), 7), date(), date(), option::of(any::<bool>())).prop_map(
        |(texts, date_of_issue, date_of_expiration, authentic)| {
            let mut sdk = DocumentSdk { authentic, ..DocumentSdk::default() };
            let mut document = Document { date_of_issue, date_of_expiration, ..Document::default() };
            let Document { r#type, country, state, number, mrz, barcode, .. } = &mut document;
            fill([r#type, country, state, number, mrz, barcode, &mut sdk.mrz_name], texts);
            document.sdk = something(sdk);
            something(document)
        },
    )
}

fn attachments() -> impl Strategy<Value = Option<Vec<Attachment>>> {
    let kind = (0..AttachmentKind::SYMBOLS.len())
        .prop_map(|index| AttachmentKind::parse(AttachmentKind::SYMBOLS[index]));
    let details =
        (kind, option::of(text()), option::of(0..i64::MAX), option::of("[0-9a-f]{64}"), option::of(text()));
    option::of(btree_map(id(), details, 0..4)).prop_map(|attachments| {
        let attachment =
            |(id, (kind, media_type, size, sha256, reference)): (
                String,
                (Option<AttachmentKind>, _, _, _, _),
            )| { Attachment { id, kind: kind.unwrap(), media_type, size, sha256, reference } };
        attachments.map(|all| all.into_iter().map(attachment).collect())
    })
}

fn sealed() -> impl Strategy<Value = Option<Vec<Sealed>>> {
    let bytes = || vec(any::<u8>(), 0..20);
    let sealed = (text(), text(), text(), bytes(), bytes()).prop_map(
        |(field, key_id, algorithm, nonce, ciphertext)| Sealed {
            field,
            key_id,
            algorithm,
            nonce: nonce.into(),
            ciphertext: ciphertext.into(),
        },
    );
    option::of(vec(sealed, 0..3))
}

/// Paths of the catalogue, of whole records, and of attributes. Latitude and longitude are left out, since they can only
/// be cleared together; another test does that.
fn cleared() -> impl Strategy<Value = Vec<String>> {
    let mut paths: Vec<String> =
        ["device", "document", "document.sdk", "name", "attachments", "attributes", "attributes.a.b"]
            .map(str::to_owned)
            .into();
    let leaves = session_leaves();
    paths.extend(leaves.iter().filter_map(|leaf| leaf.name.strip_prefix("session.").map(str::to_owned)));
    paths.retain(|path| {
        !path.ends_with(".lat") && !path.ends_with(".lng") && path != "session_id" && path != "tenant"
    });
    proptest::sample::subsequence(paths, 0..8)
}

fn fill<const N: usize>(fields: [&mut Option<String>; N], texts: Vec<Option<String>>) {
    assert!(texts.len() >= N);
    for (field, text) in fields.into_iter().zip(texts) {
        *field = text;
    }
}

/// Returns a record, or nothing for one that says nothing: as JSON the two are the same.
fn something<T: Default + PartialEq>(record: T) -> Option<T> {
    (record != T::default()).then_some(record)
}

fn any_session() -> impl Strategy<Value = Session> {
    let ids = (id(), vec(option::of(id()), 7));
    let texts = vec(option::of(text()), 22);
    let simple = (date(), option::of(any::<bool>()), option::of(any::<bool>()), option::of(0..3_usize));
    let time = option::of(-62_135_596_800_000..253_402_207_200_000_i64);
    let lists = (
        option::of(vec(text(), 0..4)),
        option::of(btree_map(id(), text(), 1..4)),
        attachments(),
        sealed(),
        cleared(),
    );
    (ids, texts, simple, time, lists, (place(), place(), device(), document())).prop_map(
        |((session_id, ids), texts, simple, event_time, lists, (location, address, device, document))| {
            let (date_of_birth, user_authorized, complete, gender) = simple;
            let (forwarded_for, attributes, attachments, sealed, cleared) = lists;
            let gender = gender.and_then(|index| Gender::parse(Gender::SYMBOLS[index]));
            let (mut browser, mut name) = (Browser::default(), Name::default());
            let mut session = Session {
                session_id,
                event_time,
                user_authorized,
                complete,
                date_of_birth,
                gender,
                forwarded_for,
                attributes,
                attachments,
                sealed,
                cleared,
                location,
                address,
                device,
                document,
                ..Session::default()
            };
            let s = &mut session;
            fill(
                [
                    &mut s.tenant,
                    &mut s.account_id,
                    &mut s.external_id,
                    &mut s.alias_id,
                    &mut s.request_id,
                    &mut s.referring_session_id,
                    &mut s.subject_id,
                ],
                ids,
            );
            fill(
                [
                    &mut s.reference,
                    &mut s.country,
                    &mut s.language,
                    &mut s.flow,
                    &mut s.channel,
                    &mut s.ip,
                    &mut s.user_agent,
                    &mut s.curp,
                    &mut s.rfc,
                    &mut s.clabe,
                    &mut s.email,
                    &mut s.phone_number,
                    &mut browser.r#type,
                    &mut browser.version,
                    &mut browser.language,
                    &mut browser.timezone,
                    &mut name.full,
                    &mut name.given_names,
                    &mut name.paternal_surname,
                    &mut name.maternal_surname,
                ],
                texts,
            );
            (session.browser, session.name) = (something(browser), something(name));
            session
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_session_survives_its_json(session in any_session()) {
        let value = session_to_json(&session);
        let text = value.to_string();
        let from_text = session_from_json(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(comparable(from_text.session.clone()), comparable(session), "{}", text);
        prop_assert_eq!(session_from_value(value), Ok(from_text));
    }

    #[test]
    fn any_json_is_read_alike_from_text_and_from_value(mut value in any_json(), valid_id in any::<bool>()) {
        if valid_id && let Some(members) = value.as_object_mut() {
            members.insert("session_id".into(), "s-1".into());
        }
        let from_text = session_from_json(value.to_string().as_bytes());
        if let Ok(parsed) = &from_text {
            assert_sound(parsed);
        }
        prop_assert_eq!(session_from_value(value), from_text);
    }

    /// One value in another's place: most of such sessions are nearly right, so that both ends of the reader are met.
    #[test]
    fn a_session_with_one_value_replaced_is_refused_or_sound(
        session in any_session(), place in any::<proptest::sample::Index>(), other in any_json(),
    ) {
        let mut value = session_to_json(&session);
        let mut pointers = Vec::new();
        collect_pointers(&value, String::new(), &mut pointers);
        let pointer: &String = place.get(&pointers);
        *value.pointer_mut(pointer).unwrap() = other;
        let read = session_from_json(value.to_string().as_bytes());
        match &read {
            Ok(parsed) => assert_sound(parsed),
            Err(error) => prop_assert!(!error.problems.is_empty()),
        }
        prop_assert_eq!(session_from_value(value), read);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(session_from_json(&bytes).is_err());
    }

    #[test]
    fn a_damaged_session_is_refused_or_sound(index in 0..WHOLE.len(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[index] = byte;
        bytes.truncate(if cut { index } else { bytes.len() });
        if let Ok(parsed) = session_from_json(&bytes) {
            assert_sound(&parsed);
        }
    }
}

#[test]
fn a_position_is_taken_back_as_a_whole() {
    let paths = ["location.lat", "location.lng"].map(str::to_owned);
    let taken_back = Session { session_id: "s".into(), cleared: paths.into(), ..Session::default() };
    assert_eq!(session(&session_to_json(&taken_back).to_string()), taken_back);
}

#[test]
fn a_later_stage_takes_back_what_it_nulls() {
    let mut first = session(WHOLE);
    first.absorb(session(
        r#"{"session_id":"s-1","email":null,"device":{"os":null},"attributes":{"plan":null,"shop":7}}"#,
    ));
    assert_eq!((first.email, first.device.unwrap().os), (None, None));
    assert_eq!(
        first.attributes.unwrap().into_iter().collect::<Vec<_>>(),
        [("shop".to_owned(), "7".to_owned())]
    );
    assert_eq!(first.ip.as_deref(), Some("201.141.5.9"));
}
