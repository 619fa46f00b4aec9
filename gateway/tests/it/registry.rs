use crate::fixture::{Gateway, decision, settings};
use crate::http::{Answer, get, post};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use gateway::GatewaySettings;
use schemas::{Decision, Outcome, PUBLISHED, Record, Session, TopicSpec, topic};
use serde_json::{Value, json};

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

async fn read(gateway: &Gateway, path: &str) -> Value {
    let answer = get(gateway.address, path).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some(MEDIA_TYPE)),
        "{path}: {}",
        answer.text()
    );
    answer.json()
}

fn refused(answer: &Answer) -> (u16, Option<u64>) {
    assert_eq!(answer.header("content-type"), Some(MEDIA_TYPE));
    (answer.status, answer.json()["error_code"].as_u64())
}

/// Reads a record as a client does that knows nothing but the address of the registry.
async fn decode(gateway: &Gateway, topic: &'static TopicSpec) -> Vec<(String, AvroValue)> {
    let bytes = gateway.records(topic).remove(0).value.unwrap();
    let (header, mut datum) = bytes.split_at(5);
    let id = u32::from_be_bytes(header[1..].try_into().unwrap());
    let answer = read(gateway, &format!("/schemas/ids/{id}")).await;
    let schema = Schema::parse_str(answer["schema"].as_str().unwrap()).unwrap();
    match GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum).unwrap() {
        AvroValue::Record(fields) => fields,
        other => panic!("{other:?} is not a record"),
    }
}

#[tokio::test]
async fn a_client_decodes_records_by_the_ids_in_them() {
    let gateway = Gateway::start().await;
    crate::http::post_json(gateway.address, "/v1/sessions", r#"{"session_id":"s-1","country":"MX"}"#).await;
    gateway.decide(&decision("s-1", 3, Outcome::Flag));
    let text =
        |fields: &[(String, AvroValue)], name: &str| match fields.iter().find(|(field, _)| field == name) {
            Some((_, AvroValue::Union(_, value))) => format!("{value:?}"),
            Some((_, value)) => format!("{value:?}"),
            None => panic!("{name} is not a field"),
        };
    let session = decode(&gateway, &topic::SESSIONS).await;
    assert_eq!(
        (text(&session, "session_id"), text(&session, "country")),
        ("String(\"s-1\")".into(), "String(\"MX\")".into())
    );
    let decision = decode(&gateway, &topic::DECISIONS).await;
    assert_eq!(
        (text(&decision, "revision"), text(&decision, "decision")),
        ("Int(3)".into(), "Enum(2, \"flag\")".into())
    );
}

#[tokio::test]
async fn every_schema_has_subjects_versions_and_an_id() {
    let gateway = Gateway::start().await;
    let subjects = read(&gateway, "/subjects").await;
    let subjects: Vec<&str> = subjects.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for topic in topic::TOPICS {
        assert!(
            subjects.contains(&format!("{}-value", topic.name).as_str()),
            "{} has no subject",
            topic.name
        );
    }
    assert!(subjects.contains(&"tamiz.Marker"), "{subjects:?}");
    let mut files = Vec::new();
    for subject in subjects {
        let versions = read(&gateway, &format!("/subjects/{subject}/versions")).await;
        let newest = versions.as_array().unwrap().len();
        assert_eq!(versions, json!((1..=newest).collect::<Vec<_>>()));
        let latest = read(&gateway, &format!("/subjects/{subject}/versions/latest")).await;
        assert_eq!(latest, read(&gateway, &format!("/subjects/{subject}/versions/{newest}")).await);
        assert_eq!(
            (latest["subject"].as_str(), latest["version"].as_u64()),
            (Some(subject), Some(newest as u64))
        );
        let schema =
            PUBLISHED.iter().find(|schema| latest["schema"] == schema.json).expect("it is one of ours");
        files.push(schema.file);
        let by_id = read(&gateway, &format!("/schemas/ids/{}", latest["id"])).await;
        assert_eq!(by_id, json!({ "schema": schema.json }));
        let bare: Value = serde_json::from_str(schema.json).unwrap();
        assert_eq!(read(&gateway, &format!("/schemas/ids/{}/schema", latest["id"])).await, bare);
        assert_eq!(read(&gateway, &format!("/subjects/{subject}/versions/1/schema")).await["type"], "record");
        let places = read(&gateway, &format!("/schemas/ids/{}/versions", latest["id"])).await;
        assert!(
            places.as_array().unwrap().contains(&json!({"subject": subject, "version": newest})),
            "{places}"
        );
    }
    assert!(
        PUBLISHED.iter().all(|schema| files.contains(&schema.file)),
        "a schema has no subject: {files:?}"
    );
    assert_eq!(read(&gateway, "/schemas/types").await, json!(["AVRO"]));
    assert_eq!(read(&gateway, "/config").await, json!({"compatibilityLevel": "BACKWARD_TRANSITIVE"}));
    assert_eq!(read(&gateway, "/mode").await, json!({"mode": "READONLY"}));
}

#[tokio::test]
async fn what_is_not_there_has_the_codes_of_the_interface() {
    let gateway = Gateway::start().await;
    for (path, expected) in [
        ("/schemas/ids/7", (404, Some(40403))),
        ("/schemas/ids/7/schema", (404, Some(40403))),
        ("/schemas/ids/7/versions", (404, Some(40403))),
        ("/schemas/ids/99999999999", (404, Some(40403))),
        ("/schemas/ids/seven", (404, Some(40403))),
        ("/subjects/nothing/versions", (404, Some(40401))),
        ("/subjects/nothing/versions/1", (404, Some(40401))),
        ("/subjects/sessions-value/versions/99", (404, Some(40402))),
        ("/subjects/sessions-value/versions/0", (422, Some(42202))),
        ("/subjects/sessions-value/versions/newest", (422, Some(42202))),
        ("/subjects/%FF/versions", (400, Some(400))),
    ] {
        assert_eq!(refused(&get(gateway.address, path).await), expected, "{path}");
    }
}

#[tokio::test]
async fn a_producer_finds_our_schemas_and_can_add_none() {
    let gateway = Gateway::start_with(GatewaySettings { topic_prefix: "eu.".into(), ..settings() }).await;
    let send = async |path: &str, schema: &str| {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        post(gateway.address, path, MEDIA_TYPE, body).await
    };
    let ours = Session::published().json;
    // A client sends its own text of the schema, without what readers do not need.
    let mut bare: Value = serde_json::from_str(ours).unwrap();
    bare["doc"] = Value::Null;
    bare.as_object_mut().unwrap().remove("doc");
    let bare = bare.to_string();
    for schema in [ours, &bare] {
        let registered = send("/subjects/eu.sessions-value/versions", schema).await;
        assert_eq!(
            (registered.status, registered.json()),
            (200, json!({"id": gateway.codec.id::<Session>()}))
        );
        let found = send("/subjects/eu.sessions-value", schema).await;
        assert_eq!((found.status, &found.json()["id"]), (200, &json!(gateway.codec.id::<Session>())));
    }
    let other = r#"{"type":"record","name":"Other","fields":[]}"#;
    for (path, schema, expected) in [
        ("/subjects/eu.sessions-value", other, (404, Some(40403))),
        ("/subjects/eu.sessions-value", Decision::published().json, (404, Some(40403))),
        ("/subjects/sessions-value", ours, (404, Some(40401))),
        ("/subjects/eu.sessions-value/versions", other, (422, Some(42205))),
        ("/subjects/mine-value/versions", other, (422, Some(42205))),
        ("/subjects/eu.sessions-value/versions", "{\"type\":", (422, Some(42201))),
        ("/subjects/eu.sessions-value", "nonsense", (422, Some(42201))),
    ] {
        assert_eq!(refused(&send(path, schema).await), expected, "{path} {schema}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(refused(&send("/subjects/eu.sessions-value", &deep).await), (422, Some(42201)));
    let answer = post(gateway.address, "/subjects/eu.sessions-value", MEDIA_TYPE, "{}").await;
    assert_eq!(refused(&answer), (400, Some(400)));
}
