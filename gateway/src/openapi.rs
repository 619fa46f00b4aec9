//! `GET /v1/openapi.json`: the routes are described in `openapi.json`, and the forms of sessions and decisions are made
//! from their Avro schemas here, so that a new field is described as soon as it exists.

use crate::state::GatewayState;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use schemas::json::{ATTACHMENT_BYTES_MAX, FIELD_BYTES_MAX};
use schemas::key::ID_BYTES_MAX;
use schemas::{Decision, Record, Session};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The routes, and what their answers have in common.
const ROUTES: &str = include_str!("../openapi.json");

/// Records that may be given as a text too.
const TEXT_FORMS: &[(&str, &str)] = &[
    ("Place", "The text of an address, or latitude and longitude with a comma between them."),
    ("Name", "The full name."),
    ("Device", "The model."),
];
/// Fields of a session that identify something.
const IDS: &[&str] = &[
    "tenant",
    "session_id",
    "account_id",
    "external_id",
    "alias_id",
    "request_id",
    "referring_session_id",
    "subject_id",
];

/// Returns the document.
pub(crate) async fn get(State(state): State<Arc<GatewayState>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.clone())
}

/// Makes the document.
pub(crate) fn document() -> Value {
    // Both are compiled in, and a test reads what is made of them.
    let mut document: Value = serde_json::from_str(ROUTES).expect("openapi.json is JSON");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let mut forms = Map::new();
    form(&avro(Decision::published().json), &mut forms);
    form(&avro(Session::published().json), &mut forms);
    decision_as_sent(&mut forms);
    session_as_taken(&mut forms);
    if let Value::Object(schemas) = &mut document["components"]["schemas"] {
        schemas.extend(forms);
    }
    document
}

fn avro(json: &str) -> Value {
    serde_json::from_str(json).expect("a published schema is JSON")
}

/// Returns the form of an Avro schema; named types go to `forms` and are referred to.
fn form(schema: &Value, forms: &mut Map<String, Value>) -> Value {
    match schema {
        Value::Array(branches) => union(branches, forms),
        Value::String(name) => match name.as_str() {
            "null" => json!({ "type": "null" }),
            "boolean" => json!({ "type": "boolean" }),
            "int" | "long" => json!({ "type": "integer" }),
            "float" | "double" => json!({ "type": "number" }),
            "string" => json!({ "type": "string" }),
            "bytes" => json!({ "type": "string", "contentEncoding": "base64" }),
            named => reference(named),
        },
        _ => match schema["type"].as_str() {
            Some("record") => record(schema, forms),
            Some("enum") => enumeration(schema, forms),
            Some("array") => json!({ "type": "array", "items": form(&schema["items"], forms) }),
            Some("map") => {
                json!({ "type": "object", "additionalProperties": form(&schema["values"], forms) })
            }
            Some("long") if schema["logicalType"] == "timestamp-millis" => {
                json!({ "type": "string", "format": "date-time" })
            }
            _ => form(&schema["type"], forms),
        },
    }
}

fn reference(name: &str) -> Value {
    let name = name.rsplit('.').next().unwrap_or(name);
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn union(branches: &[Value], forms: &mut Map<String, Value>) -> Value {
    let mut branches: Vec<Value> = branches.iter().map(|branch| form(branch, forms)).collect();
    // Null is what a reader expects last.
    branches.sort_by_key(|branch| branch["type"] == "null");
    match branches.as_slice() {
        [one] => one.clone(),
        _ => json!({ "anyOf": branches }),
    }
}

fn record(schema: &Value, forms: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in schema["fields"].as_array().into_iter().flatten() {
        let name = field["name"].as_str().unwrap_or_default();
        let mut property = form(&field["type"], forms);
        property["description"] = field["doc"].clone();
        if field.get("default").is_none() {
            required.push(Value::from(name));
        }
        properties.insert(name.to_owned(), property);
    }
    let mut form = json!({ "type": "object", "description": schema["doc"], "properties": properties });
    if !required.is_empty() {
        form["required"] = required.into();
    }
    form["additionalProperties"] = false.into();
    named(schema, form, forms)
}

fn enumeration(schema: &Value, forms: &mut Map<String, Value>) -> Value {
    let form = json!({ "type": "string", "description": schema["doc"], "enum": schema["symbols"] });
    named(schema, form, forms)
}

fn named(schema: &Value, form: Value, forms: &mut Map<String, Value>) -> Value {
    let name = schema["name"].as_str().unwrap_or_default();
    forms.insert(name.to_owned(), form);
    reference(name)
}

/// Changes the form of a decision to what is sent: no values of subjects' keys, signals by name, and nothing absent.
fn decision_as_sent(forms: &mut Map<String, Value>) {
    let Some(signals) = forms.remove("SignalReport") else { return };
    let bodies = signals["properties"]["body"]["anyOf"].as_array().cloned().unwrap_or_default();
    let mut by_name = Map::new();
    for (body, name) in bodies.iter().zip(schemas::SignalBody::NAMES) {
        by_name.insert(
            (*name).to_owned(),
            json!({ "allOf": [{ "$ref": "#/components/schemas/SignalReport" }, body] }),
        );
    }
    let mut report = signals;
    if let Value::Object(properties) = &mut report["properties"] {
        properties.remove("name");
        properties.remove("body");
    }
    report["required"] = json!(["status", "operator", "operator_version"]);
    report["description"] =
        "A signal as the decision saw it, with its values, null where they are not known.".into();
    forms.insert("SignalReport".into(), report);
    // Each of the two parts of a signal has members of the other one.
    for form in
        bodies.iter().filter_map(|body| body["$ref"].as_str()?.rsplit('/').next()).chain(["SignalReport"])
    {
        if let Some(Value::Object(form)) = forms.get_mut(form) {
            form.remove("additionalProperties");
        }
    }
    let Some(decision) = forms.get_mut("Decision") else { return };
    decision["properties"]["signals"] = json!({
        "type": "object",
        "description": "The signals it was made from, by name.",
        "properties": by_name,
        "additionalProperties": { "$ref": "#/components/schemas/SignalReport" },
    });
    if let Value::Object(properties) = &mut decision["properties"] {
        properties.remove("subject_id");
        properties.remove("sealed");
        let names: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
        decision["required"] = names.into();
    }
}

/// Changes the form of a session to what is taken: every form that a field may have, and every limit.
fn session_as_taken(forms: &mut Map<String, Value>) {
    for (record, meaning) in TEXT_FORMS {
        let Some(object) = forms.remove(*record) else { continue };
        let text = json!({ "type": "string", "description": meaning });
        forms.insert((*record).to_owned(), json!({ "anyOf": [object, text] }));
    }
    add_members(
        forms,
        "Place",
        json!({
            "lat": limited("number", -90.0, Some(90.0), "Latitude in degrees, WGS 84."),
            "lng": limited("number", -180.0, Some(180.0), "Longitude in degrees, WGS 84."),
            "accuracy_m": limited("number", 0.0, None, "Radius of the true position in metres."),
        }),
    );
    add_members(
        forms,
        "Name",
        json!({
            "first_name": { "type": ["string", "null"], "description": "The same as given_names." },
            "last_name": { "type": ["string", "null"], "description": "The same as paternal_surname." },
        }),
    );
    add_members(
        forms,
        "Device",
        json!({
            "memory": { "type": ["number", "null"], "description": "The same as memory_gb." },
        }),
    );
    add_members(
        forms,
        "Attachment",
        json!({
            "data": {
                "type": "string",
                "contentEncoding": "base64",
                "maxLength": ATTACHMENT_BYTES_MAX.div_ceil(3) * 4,
                "description": "The bytes, at most 10,000,000; instead of reference.",
            },
        }),
    );
    if let Some(attachment) = forms.get_mut("Attachment") {
        attachment["required"] = json!(["kind"]);
    }
    let Some(session) = forms.get_mut("Session") else { return };
    session["description"] = "An onboarding session, or a stage of one. An absent field keeps what an earlier stage said, null takes it back.".into();
    let properties = &mut session["properties"];
    for id in IDS {
        let null = (*id != "session_id").then_some("null");
        let kinds: Vec<&str> = ["string"].into_iter().chain(null).collect();
        let description = properties[*id]["description"].take();
        properties[*id] =
            json!({ "type": kinds, "minLength": 1, "maxLength": ID_BYTES_MAX, "description": description });
    }
    alternative(
        &mut properties["event_time"],
        json!({ "type": "integer", "description": "Milliseconds since 1970." }),
    );
    alternative(
        &mut properties["email"],
        json!({ "type": "array", "minItems": 1, "maxItems": 1, "items": { "type": "string" } }),
    );
    let scalar = json!({ "type": ["string", "number", "boolean", "null"], "maxLength": FIELD_BYTES_MAX });
    properties["attributes"]["anyOf"][0]["additionalProperties"] = scalar;
}

fn limited(kind: &str, least: f64, most: Option<f64>, description: &str) -> Value {
    let mut form = json!({ "type": [kind, "null"], "minimum": least, "description": description });
    if let Some(most) = most {
        form["maximum"] = most.into();
    }
    form
}

/// Adds members to the form of a record, in the place of those it has.
fn add_members(forms: &mut Map<String, Value>, name: &str, members: Value) {
    let Some(form) = forms.get_mut(name) else { return };
    let object = if form.get("anyOf").is_some() { &mut form["anyOf"][0] } else { form };
    if let (Some(Value::Object(properties)), Value::Object(members)) = (object.get_mut("properties"), members)
    {
        properties.extend(members);
    }
}

/// Adds a form that a field may have.
fn alternative(property: &mut Value, form: Value) {
    if let Some(Value::Array(forms)) = property.get_mut("anyOf") {
        forms.insert(1, form);
    }
}
