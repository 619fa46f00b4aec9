//! Records that nobody should send, each with the reason for which it is refused.

use crate::deployment::codec;
use crate::random::Random;
use schemas::{Attachment, Codec, Decision, Device, Place, Session};

/// A record that is to be refused.
pub struct Hostile {
    /// What is wrong with it.
    pub name: &'static str,
    /// Its bytes; none: it has no value.
    pub value: Option<Vec<u8>>,
    /// The reason that its dead letter gives.
    pub reason: &'static str,
}

/// Bytes before the Avro encoding: a zero and the schema's id.
const HEADER_BYTES: usize = 5;

/// Returns one of each kind, made from a session that is in order: what can be read names that session.
pub fn records(session: &Session, random: &mut Random) -> Vec<Hostile> {
    let codec = codec();
    let mut records = broken(session, &codec, random);
    for (name, reason, session) in forbidden(session) {
        records.push(Hostile { name, value: Some(encoded(&session, &codec)), reason });
    }
    records
}

/// Returns the encoding of a session in the wire format.
pub fn encoded(session: &Session, codec: &Codec) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(session, &mut bytes).expect("a session can be encoded");
    bytes
}

/// Records whose bytes are no session.
fn broken(session: &Session, codec: &Codec, random: &mut Random) -> Vec<Hostile> {
    let whole = encoded(session, codec);
    let header = &whole[..HEADER_BYTES];
    let after_header = |datum: &[u8]| Some([header, datum].concat());
    let cut = HEADER_BYTES + random.below(whole.len() - HEADER_BYTES);
    let mut decision = Vec::new();
    codec.encode(&Decision::default(), &mut decision).expect("a decision can be encoded");
    let changed = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        Some(bytes)
    };
    // A session begins with the branch of the tenant (0: none) and the length of the session's id, as zigzag varints.
    let values = [
        ("no value", None),
        ("no bytes", Some(Vec::new())),
        ("too short for a header", Some(whole[..HEADER_BYTES - 1].to_vec())),
        ("nothing after the header", after_header(b"")),
        ("another first byte", changed(0, 1)),
        ("an unknown schema", changed(1, whole[1] ^ 0x55)),
        ("a decision", Some(decision)),
        ("cut short", Some(whole[..cut].to_vec())),
        ("something after the end", Some([whole.as_slice(), b"\0"].concat())),
        ("random bytes", after_header(&random.bytes(200))),
        ("a union without such a branch", after_header(b"\x08")),
        ("a text longer than memory", after_header(b"\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        ("a text of a gigabyte that is not there", after_header(b"\x00\x80\x80\x80\x80\x08abc")),
        ("a text of negative length", after_header(b"\x00\x09abcdefgh")),
        ("a text that is not UTF-8", after_header(b"\x00\x06\xc3\x28\xff")),
        ("a list of more items than atoms", Some(endless_list(codec))),
    ];
    let reason = |value: &Option<Vec<u8>>| if value.is_none() { "empty" } else { "undecodable" };
    values.into_iter().map(|(name, value)| Hostile { name, reason: reason(&value), value }).collect()
}

/// Returns a session whose list of proxies claims 2^61 members.
fn endless_list(codec: &Codec) -> Vec<u8> {
    let without = Session { session_id: "s".into(), ..Session::default() };
    let with = Session { forwarded_for: Some(Vec::new()), ..without.clone() };
    let (without, with) = (encoded(&without, codec), encoded(&with, codec));
    let branch = without
        .iter()
        .zip(&with)
        .position(|(a, b)| a != b)
        .expect("the two differ in the branch of the list");
    let mut bytes = with[..=branch].to_vec();
    bytes.extend_from_slice(b"\x80\x80\x80\x80\x80\x80\x80\x80\x40");
    // As many members as fit, all of them empty: a reader that counts on a short read would go on for long.
    bytes.extend_from_slice(&[0; 4096]);
    bytes
}

/// Sessions that can be read and break a rule of intake.
fn forbidden(session: &Session) -> Vec<(&'static str, &'static str, Session)> {
    let at = |lat: f64, lng: f64| Some(Place { lat: Some(lat), lng: Some(lng), ..Place::default() });
    let accurate = |accuracy_m: f64| Some(Place { accuracy_m: Some(accuracy_m), ..Place::default() });
    let megabyte = || "ñ".repeat(500_000);
    let attachment = || Attachment { id: "i-1".into(), ..Attachment::default() };
    let many = (0..300).map(|number| (number.to_string(), String::new())).collect();
    let base = || session.clone();
    let out_of_range = "coordinates_out_of_range";
    vec![
        ("a latitude that is not a number", out_of_range, Session { location: at(f64::NAN, 0.0), ..base() }),
        ("an infinite longitude", out_of_range, Session { address: at(0.0, f64::INFINITY), ..base() }),
        ("a latitude beyond the pole", out_of_range, Session { location: at(90.000_001, 0.0), ..base() }),
        ("a longitude beyond the date line", out_of_range, Session { location: at(0.0, -180.5), ..base() }),
        (
            "a latitude alone",
            "half_a_position",
            Session { location: Some(Place { lat: Some(1.0), ..Place::default() }), ..base() },
        ),
        ("a negative accuracy", "accuracy_out_of_range", Session { location: accurate(-1.0), ..base() }),
        (
            "an accuracy that is not a number",
            "accuracy_out_of_range",
            Session { location: accurate(f64::NAN), ..base() },
        ),
        ("no session id", "empty_id", Session { session_id: String::new(), ..base() }),
        ("a session id of 513 bytes", "id_too_long", Session { session_id: "x".repeat(513), ..base() }),
        (
            "a session id with a zero",
            "id_with_control_character",
            Session { session_id: "a\0b".into(), ..base() },
        ),
        ("a tenant that is not known", "unknown_tenant", Session { tenant: Some("nobody".into()), ..base() }),
        ("a text of a megabyte", "text_too_long", Session { user_agent: Some(megabyte()), ..base() }),
        (
            "an attribute of a megabyte",
            "text_too_long",
            Session { attributes: Some([("plan".to_owned(), megabyte())].into()), ..base() },
        ),
        ("too many attributes", "too_many", Session { attributes: Some(many), ..base() }),
        (
            "the last time there is",
            "event_time_out_of_range",
            Session { event_time: Some(i64::MAX), ..base() },
        ),
        (
            "the first time there is",
            "event_time_out_of_range",
            Session { event_time: Some(i64::MIN), ..base() },
        ),
        ("a birth on no day", "not_a_date", Session { date_of_birth: Some("1989-02-30".into()), ..base() }),
        (
            "two attachments of one name",
            "repeated_id",
            Session { attachments: Some(vec![attachment(), attachment()]), ..base() },
        ),
        (
            "less than one processor core",
            "device_out_of_range",
            Session { device: Some(Device { cpu_cores: Some(-4), ..Device::default() }), ..base() },
        ),
        (
            "taking back what does not exist",
            "unknown_field",
            Session { cleared: vec!["no.such.field".into()], ..base() },
        ),
    ]
}
