//! The client of a schema registry: against a real one, and against one that misbehaves.

use apache_avro::types::Record as AvroRecord;
use apache_avro::writer::datum::GenericDatumWriter;
use pipeline::{RegistryClient, RegistryError};
use schemas::{Codec, Decision, DecodeError, PUBLISHED, Published, SchemaAnswer, SchemaSource, Session};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A schema registry that runs until this is dropped.
struct Registry {
    name: String,
    url: String,
}

fn services() -> Command {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../script/services");
    Command::new(std::env::var_os("TAMIZ_SERVICES").map_or_else(beside, PathBuf::from))
}

impl Registry {
    fn start(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let owner = std::process::id().to_string();
        let started = services().args(["start", "registry", "--name", &name, "--owner", &owner]).output();
        let started = started.expect("script/services is part of the checkout");
        let said = String::from_utf8_lossy(&started.stdout).into_owned();
        let address = said.trim().rsplit_once('=').map(|(_, address)| address.to_owned());
        match address {
            Some(address) if started.status.success() => {
                Self { name, url: format!("http://{address}/apis/ccompat/v7") }
            }
            _ => panic!(
                "no schema registry: run script/setup test once\n{}",
                String::from_utf8_lossy(&started.stderr)
            ),
        }
    }

    fn connect(&self) -> RegistryClient {
        RegistryClient::connect(&self.url, None).expect("the registry answers")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Where this fails, the server ends with this process, which owns it.
        let _ = services().args(["stop", &self.name]).output();
    }
}

/// A schema of a producer: fewer fields than ours, in another order, and one that we do not know.
const FOREIGN: Published = Published {
    file: "foreign.v1",
    json: r#"{"type":"record","name":"Session","namespace":"shop","fields":[
        {"name":"country","type":["null","string"],"default":null},
        {"name":"basket","type":"long"},
        {"name":"session_id","type":"string"}]}"#,
};

fn foreign_record(id: u32) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(FOREIGN.json).unwrap();
    let mut record = AvroRecord::new(&schema).unwrap();
    record.put("country", Some("MX"));
    record.put("basket", 7_i64);
    record.put("session_id", "s-1");
    let mut bytes = vec![0];
    bytes.extend_from_slice(&id.to_be_bytes());
    GenericDatumWriter::builder(&schema).build().unwrap().write_value(&mut bytes, record).unwrap();
    bytes
}

#[test]
fn schemas_are_registered_once_and_those_of_others_are_found() {
    let registry = Registry::start("client");
    let client = registry.connect().with_topic_prefix("eu.");
    let ids = client.register_all(PUBLISHED).expect("the schemas are registered");
    assert_eq!(ids.len(), PUBLISHED.len());
    // Again, by another process, and beside another deployment of the same registry.
    assert_eq!(
        registry.connect().with_topic_prefix("eu.").register_all(PUBLISHED).expect("they are there"),
        ids
    );
    assert_eq!(registry.connect().register_all(PUBLISHED).expect("they are registered"), ids);

    // What the registry has is what we have.
    for (id, schema) in ids.iter().zip(PUBLISHED) {
        let SchemaAnswer::Found(found) = client.schema(*id) else { panic!("it is not found") };
        let fetched = apache_avro::Schema::parse_str(&found).unwrap();
        let ours = apache_avro::Schema::parse_str(schema.json).unwrap();
        assert_eq!(fetched.canonical_form(), ours.canonical_form(), "{}", schema.file);
    }
    let foreign = client.register_all(&[FOREIGN]).expect("a producer registers its own schema")[0];
    let codec = Codec::with_registry(ids.clone(), Box::new(client));
    assert_eq!(
        codec.id::<Session>(),
        ids[PUBLISHED.iter().position(|schema| schema.file == "session.v1").unwrap()]
    );
    let mut bytes = Vec::new();
    codec.encode(&Decision::default(), &mut bytes).unwrap();
    assert_eq!(codec.decode::<Decision>(&bytes).unwrap(), Decision::default());

    let session: Session = codec.decode(&foreign_record(foreign)).expect("the producer's schema is fetched");
    assert_eq!((session.session_id.as_str(), session.country.as_deref()), ("s-1", Some("MX")));

    let unknown = codec.decode::<Session>(&foreign_record(0x7fff_fff0)).expect_err("nobody registered it");
    assert!(matches!(unknown, DecodeError::UnknownSchema { .. }), "{unknown}");
    drop(registry);
    // It is remembered as not known: the registry that is gone now is not asked again.
    let again = codec.decode::<Session>(&foreign_record(0x7fff_fff0)).expect_err("it is still not there");
    assert!(again.to_string().contains("a moment ago"), "{again}");
    assert!(codec.decode::<Session>(&foreign_record(foreign)).is_ok(), "what was fetched once is kept");
}

/// A registry that answers as it is told, and notes what it was asked.
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Answers each request with the next of the answers, and all further ones with the last.
    fn start(answers: Vec<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            let last = *answers.last().expect("there is an answer");
            for (status, body) in answers.into_iter().chain(std::iter::repeat(last)) {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    match stream.read(&mut chunk) {
                        Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
                        _ => break,
                    }
                }
                noted.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                // A client that has given up does not mind.
                let _ = stream.write_all((head + body).as_bytes());
            }
        });
        Self { address, asked }
    }

    fn connect(&self, auth: Option<(&str, &str)>) -> Result<RegistryClient, RegistryError> {
        RegistryClient::connect(&format!("http://{}/base/", self.address), auth)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

const TYPES: (&str, &str) = ("200 OK", r#"["AVRO"]"#);
const BUSY: (&str, &str) = ("503 Service Unavailable", "");
const DENIED: (&str, &str) = ("401 Unauthorized", r#"{"error_code":40101,"message":"go away"}"#);
const PAGE: (&str, &str) = ("200 OK", "<html>");
const SCHEMALESS: (&str, &str) = ("200 OK", "{}");
const PROTOBUF: (&str, &str) = ("200 OK", r#"{"schemaType":"PROTOBUF","schema":"syntax"}"#);

#[test]
fn who_asks_is_told_to_the_registry_and_a_busy_one_is_asked_again() {
    let registry = Scripted::start(vec![BUSY, BUSY, TYPES]);
    registry.connect(Some(("ana", "sécret"))).expect("the third try is answered");
    let asked = registry.asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    for request in asked.iter() {
        assert!(request.starts_with("GET /base/schemas/types HTTP/1.1\r\n"), "{request}");
        // "ana:sécret" in base64.
        assert!(request.contains("Basic YW5hOnPDqWNyZXQ="), "{request}");
    }
}

#[test]
fn a_registry_that_refuses_is_not_asked_again() {
    let registry = Scripted::start(vec![DENIED]);
    let error = registry.connect(Some(("ana", "wrong"))).err().expect("it is refused");
    assert!(
        matches!(&error, RegistryError::Refused { status: 401, code: Some(40101), reason, .. } if reason == "go away"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("wrong"));
    assert_eq!(registry.asked(), 1);
}

#[test]
fn a_registry_that_stays_busy_or_is_not_there_is_given_up() {
    let registry = Scripted::start(vec![BUSY]);
    let started = Instant::now();
    let error = registry.connect(None).err().expect("it never answers");
    assert!(matches!(error, RegistryError::Refused { status: 503, .. }), "{error:?}");
    assert_eq!(registry.asked(), 4);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = RegistryClient::connect(&format!("http://{nobody}"), None).err().expect("nobody listens");
    assert!(matches!(error, RegistryError::Unreachable { tries: 4, .. }), "{error:?}");
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_answer_that_is_not_of_the_interface_is_told() {
    for (answer, expected) in [(PAGE, "expected value"), (SCHEMALESS, "AVRO is not among the types")] {
        let error = Scripted::start(vec![answer]).connect(None).err().expect("it is no registry");
        assert!(
            matches!(error, RegistryError::Answer { .. }) && error.to_string().contains(expected),
            "{error}"
        );
    }
    let client = Scripted::start(vec![TYPES, SCHEMALESS, PROTOBUF]);
    let client = client.connect(None).expect("it seems to be a registry");
    for expected in ["it has no schema", "PROTOBUF"] {
        let answer = client.schema(1);
        assert!(matches!(&answer, SchemaAnswer::Unknown(reason) if reason.contains(expected)), "{answer:?}");
    }
}
