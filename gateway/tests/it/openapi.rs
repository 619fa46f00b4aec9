use crate::fixture::Gateway;
use crate::http::{get, post_json, request};
use schemas::json::decision_to_json;
use schemas::{Decision, Record, Session};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

async fn document(gateway: &Gateway) -> Value {
    let answer = get(gateway.address, "/v1/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("it is an object").keys().map(String::as_str).collect()
}

/// Follows a reference.
fn resolved<'d>(document: &'d Value, form: &'d Value) -> &'d Value {
    match form["$ref"].as_str() {
        Some(reference) => {
            let target = document.pointer(reference.strip_prefix('#').expect("a reference is local"));
            target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => form,
    }
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    let served: BTreeSet<&str> = gateway::routes::paths().map(|(path, _)| path).collect();
    assert_eq!(names(&document["paths"]), served);
    let mut operations = BTreeSet::new();
    for (path, methods) in gateway::routes::paths() {
        let described = &document["paths"][path];
        let mut found = names(described);
        found.remove("parameters");
        assert_eq!(found, methods.iter().copied().collect(), "{path}");
        for method in methods {
            let operation = &described[method];
            assert!(
                operations.insert(operation["operationId"].as_str().unwrap()),
                "{path} has no name of its own"
            );
            let address = path.replace(['{', '}'], "");
            let wrong = if methods.contains(&"get") { "PUT" } else { "GET" };
            let line = format!("{wrong} {address} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            assert_eq!(request(gateway.address, line).await.status, 405, "{path} is not served");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_parameter_is_in_its_path() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    let mut pending = vec![&document];
    while let Some(value) = pending.pop() {
        resolved(&document, value);
        match value {
            Value::Object(members) => pending.extend(members.values()),
            Value::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    for (path, described) in document["paths"].as_object().unwrap() {
        let lists = described.as_object().unwrap().values().filter_map(|method| method.get("parameters"));
        let lists = lists.chain(described.get("parameters")).flat_map(|list| list.as_array().unwrap());
        let in_path = lists
            .map(|parameter| resolved(&document, parameter))
            .filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<String> =
            in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        let there: BTreeSet<String> =
            path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(described, there, "{path}");
    }
}

/// Returns the fields of an Avro record, by the name of each record.
fn avro_records(schema: &Value, records: &mut Map<String, Value>) {
    if schema["type"] == "record" {
        let fields = schema["fields"].as_array().unwrap();
        let names = fields.iter().map(|field| (field["name"].as_str().unwrap().to_owned(), Value::Null));
        records.insert(schema["name"].as_str().unwrap().to_owned(), Value::Object(names.collect()));
    }
    match schema {
        Value::Object(members) => members.values().for_each(|value| avro_records(value, records)),
        Value::Array(items) => items.iter().for_each(|value| avro_records(value, records)),
        _ => {}
    }
}

#[tokio::test]
async fn every_field_of_a_session_is_described() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    let mut records = Map::new();
    avro_records(&serde_json::from_str(Session::published().json).unwrap(), &mut records);
    assert!(records.len() > 5, "{records:?}");
    for (record, fields) in &records {
        let form = &document["components"]["schemas"][record];
        let form = if form.get("anyOf").is_some() { &form["anyOf"][0] } else { form };
        let missing: Vec<&str> = names(fields).difference(&names(&form["properties"])).copied().collect();
        assert!(missing.is_empty(), "{record} lacks {missing:?}");
        assert_eq!(form["additionalProperties"], false, "{record}");
    }
}

#[tokio::test]
async fn a_decision_has_the_members_that_are_described() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    let described = &document["components"]["schemas"]["Decision"];
    let sent = decision_to_json(&Decision::default());
    assert_eq!(names(&described["properties"]), names(&sent));
    assert_eq!(described["required"].as_array().unwrap().len(), names(&sent).len());
    let signals = names(&described["properties"]["signals"]["properties"]);
    assert_eq!(signals, schemas::SignalBody::NAMES.iter().copied().collect());
}

/// Makes a value of every member of a form, in its first or its last form that is not null.
fn example(document: &Value, name: &str, form: &Value, last: bool) -> Value {
    let form = resolved(document, form);
    if let Some(forms) = form["anyOf"].as_array() {
        let mut forms: Vec<&Value> = forms.iter().filter(|form| form["type"] != "null").collect();
        if last {
            forms.reverse();
        }
        return example(document, name, forms[0], last);
    }
    if let Some(symbols) = form["enum"].as_array() {
        return symbols[0].clone();
    }
    let kind = form["type"]
        .as_str()
        .or_else(|| form["type"][0].as_str())
        .unwrap_or_else(|| panic!("{name}: {form}"));
    match kind {
        "object" => object(document, form, last),
        "array" => json!([example(document, name, &form["items"], last)]),
        "boolean" => true.into(),
        "integer" => 7.into(),
        "number" => 1.5.into(),
        "string" if form["format"] == "date-time" => "2026-03-01T12:00:00.000Z".into(),
        "string" if form["contentEncoding"] == "base64" => "AAAA".into(),
        "string" if name.starts_with("date_of") => "1989-09-19".into(),
        "string" if name == "sha256" => {
            "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c".into()
        }
        "string" if name == "cleared" => "reference".into(),
        "string" => "19.4,-99.1".into(),
        other => panic!("{name} has the unknown type {other}"),
    }
}

fn object(document: &Value, form: &Value, last: bool) -> Value {
    let Some(properties) = form["properties"].as_object() else { return json!({ "free": "text" }) };
    // Of names that mean the same, and of places of an attachment's bytes, only one can be given.
    let left_out = if last {
        ["given_names", "paternal_surname", "memory_gb", "reference"]
    } else {
        ["first_name", "last_name", "memory", "data"]
    };
    let mut members = Map::new();
    for (name, form) in properties {
        let is_choice = name != "reference" || properties.contains_key("sha256");
        if left_out.contains(&name.as_str()) && is_choice {
            continue;
        }
        // Of three zero bytes, as the example of the data.
        let value = if name == "size" { 3.into() } else { example(document, name, form, last) };
        members.insert(name.clone(), value);
    }
    Value::Object(members)
}

#[tokio::test]
async fn a_session_with_every_member_that_is_described_is_taken() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    for last in [false, true] {
        let session = object(&document, &document["components"]["schemas"]["Session"], last);
        assert!(session.as_object().unwrap().len() > 30, "{session}");
        let answer = post_json(gateway.address, "/v1/sessions", session.to_string()).await;
        assert_eq!(answer.status, 202, "{session}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_is_required_is_required() {
    let gateway = Gateway::start().await;
    let document = document(&gateway).await;
    assert_eq!(document["components"]["schemas"]["Session"]["required"], json!(["session_id"]));
    assert_eq!(post_json(gateway.address, "/v1/sessions", r#"{"session_id":"s"}"#).await.status, 202);
    assert_eq!(post_json(gateway.address, "/v1/sessions", "{}").await.status, 400);
    assert_eq!(document["components"]["schemas"]["Attachment"]["required"], json!(["kind"]));
    let attachment = |attachment: Value| json!({"session_id": "s", "attachments": [attachment]}).to_string();
    assert_eq!(
        post_json(gateway.address, "/v1/sessions", attachment(json!({"kind": "selfie"}))).await.status,
        202
    );
    assert_eq!(post_json(gateway.address, "/v1/sessions", attachment(json!({"id": "i"}))).await.status, 400);
}
