//! Makes the Rust types of every Avro schema in `avro/`, so that the two cannot drift.
//!
//! A topic's schema (`avro/NAME.v1.avsc`) may name records kept in `avro/parts/`; the build puts them in place, so
//! that what is published is whole. From each record it makes a struct with the same fields, from each enum an enum,
//! and for the rules a flat view of the values ("leaves") with their names and types.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=avro");
    let folder = Path::new("avro");
    let parts = read_folder(&folder.join("parts"));
    let topics = read_folder(folder);
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");

    let generator = Generator { parts: &parts, topics: &topics };
    let mut code = String::new();
    for (name, part) in &parts {
        if part.is_array() {
            generator.union(&mut code, &camel_case(name), part);
        } else {
            generator.named(&mut code, part);
        }
    }
    for schema in topics.values() {
        generator.named(&mut code, schema);
    }
    generator.records(&mut code, &topics);
    fs::write(Path::new(&out).join("types.rs"), code).expect("OUT_DIR is writable");
    fs::write(Path::new(&out).join("versions.rs"), versions(Path::new("published")))
        .expect("OUT_DIR is writable");
}

/// Returns the list of every version ever published.
fn versions(folder: &Path) -> String {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut code = String::from(
        "/// Every version ever published, the newest among them.\npub const VERSIONS: &[Published] = &[\n",
    );
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for name in read_folder(folder).keys() {
        let path = Path::new(&root).join(folder).join(format!("{name}.avsc"));
        writeln!(code, "    Published {{ file: {name:?}, json: include_str!({path:?}) }},")
            .expect("writing to a string");
    }
    code + "];\n"
}

/// Returns the schemas of a folder by file name without its ending.
fn read_folder(folder: &Path) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder of schemas is there") {
        let path = entry.expect("a folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "avsc") {
            let text = fs::read_to_string(&path).expect("a schema is readable");
            let value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a schema's file name is text");
            schemas.insert(stem.to_owned(), value);
        }
    }
    schemas
}

struct Generator<'a> {
    parts: &'a BTreeMap<String, Value>,
    topics: &'a BTreeMap<String, Value>,
}

impl Generator<'_> {
    /// Writes the type of a record or an enum.
    fn named(&self, code: &mut String, schema: &Value) {
        match text(schema, "type") {
            "record" => {
                self.record(code, schema);
                self.leaves(code, schema);
                if schema["merge"] == Value::Bool(true) {
                    self.merge(code, schema);
                }
            }
            "enum" => enumeration(code, schema),
            other => panic!("a schema of type {other} has no Rust type here"),
        }
    }

    fn record(&self, code: &mut String, schema: &Value) {
        write_doc(code, "", schema);
        code.push_str("#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]\n");
        writeln!(code, "pub struct {} {{", text(schema, "name")).expect("writing to a string");
        for field in fields(schema) {
            write_doc(code, "    ", field);
            writeln!(code, "    pub {}: {},", identifier(field), self.field_type(field))
                .expect("writing to a string");
        }
        code.push_str("}\n\n");
    }

    /// Writes the enum of a union of records; the null branch becomes an `Option` where the union is used.
    fn union(&self, code: &mut String, name: &str, branches: &Value) {
        let names: Vec<&str> =
            branches.as_array().expect("a union is a list").iter().filter_map(record_name).collect();
        writeln!(code, "/// One of {}.", names.join(", ")).expect("writing to a string");
        code.push_str("#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]\n");
        writeln!(code, "pub enum {name} {{").expect("writing to a string");
        for branch in &names {
            writeln!(
                code,
                "    /// {branch}.\n    #[serde(rename = \"tamiz.{branch}\")]\n    {branch}({branch}),"
            )
            .expect("writing to a string");
        }
        code.push_str("}\n\n");
        let signals: Vec<(&str, &str)> =
            names.iter().map(|branch| (*branch, text(self.part(branch), "signal"))).collect();
        writeln!(code, "impl {name} {{\n    /// The names of the signals, in the order of the union.")
            .expect("writing to a string");
        let list: Vec<String> = signals.iter().map(|(_, signal)| format!("{signal:?}")).collect();
        writeln!(code, "    pub const NAMES: &'static [&'static str] = &[{}];\n", list.join(", "))
            .expect("writing to a string");
        code.push_str("    /// Returns the name of the signal.\n    pub fn name(&self) -> &'static str {\n        match self {\n");
        for (branch, signal) in &signals {
            writeln!(code, "            Self::{branch}(_) => {signal:?},").expect("writing to a string");
        }
        code.push_str(
            "        }\n    }\n\n    /// Appends the names and types of the leaves of every signal.\n",
        );
        code.push_str("    pub fn leaf_names(out: &mut Vec<crate::Leaf>) {\n");
        for (branch, signal) in &signals {
            writeln!(code, "        {branch}::leaf_names({:?}, out);", format!("{signal}."))
                .expect("writing to a string");
        }
        code.push_str(
            "    }\n\n    /// Appends the leaves of every signal, those of an absent one as unknown.\n",
        );
        code.push_str("    pub fn leaves<'a>(find: impl Fn(&str) -> Option<&'a Self>, out: &mut Vec<crate::LeafValue<'a>>) {\n");
        for (branch, signal) in &signals {
            writeln!(
                code,
                "        match find({signal:?}) {{\n            Some(Self::{branch}(body)) => body.leaves(out),\n            _ => {branch}::no_leaves(out),\n        }}"
            )
            .expect("writing to a string");
        }
        code.push_str("    }\n}\n\n");
        for (branch, _) in &signals {
            writeln!(code, "impl From<{branch}> for {name} {{\n    fn from(body: {branch}) -> Self {{\n        Self::{branch}(body)\n    }}\n}}\n")
                .expect("writing to a string");
        }
    }

    /// Writes the flat view of a record: names and types for the catalogue, values for the rules.
    fn leaves(&self, code: &mut String, schema: &Value) {
        let (mut names, mut values, mut absent) = (String::new(), String::new(), String::new());
        for field in fields(schema) {
            let name = text(field, "name");
            if ["subject_id", "cleared"].contains(&name) {
                continue;
            }
            let (inner, optional) = optional(&field["type"]);
            let place = format!("self.{}", identifier(field));
            let Some(leaf) = self.leaf(inner) else { continue };
            match leaf {
                Leaf::Record(record) => {
                    writeln!(names, "        {record}::leaf_names(&format!(\"{{prefix}}{name}.\"), out);")
                        .expect("writing to a string");
                    writeln!(absent, "        {record}::no_leaves(out);").expect("writing to a string");
                    if optional {
                        writeln!(values, "        match &{place} {{\n            Some(record) => record.leaves(out),\n            None => {record}::no_leaves(out),\n        }}")
                            .expect("writing to a string");
                    } else {
                        writeln!(values, "        {place}.leaves(out);").expect("writing to a string");
                    }
                }
                Leaf::Value(kind) => {
                    writeln!(
                        names,
                        "        out.push(crate::Leaf {{ name: format!(\"{{prefix}}{name}\"), kind: crate::LeafKind::{kind}, doc: {:?} }});",
                        text(field, "doc")
                    )
                    .expect("writing to a string");
                    absent.push_str("        out.push(crate::LeafValue::Unknown);\n");
                    if optional {
                        writeln!(values, "        out.push(crate::LeafValue::of_option(&{place}));")
                            .expect("writing to a string");
                    } else {
                        writeln!(values, "        out.push(crate::LeafValue::from(&{place}));")
                            .expect("writing to a string");
                    }
                }
            }
        }
        writeln!(
            code,
            "#[allow(unused_variables, clippy::ptr_arg)]\nimpl {} {{\n    /// Appends the names and types of this record's leaves.\n    pub fn leaf_names(prefix: &str, out: &mut Vec<crate::Leaf>) {{\n{names}    }}\n\n    /// Appends the values of the leaves, in the order of their names.\n    pub fn leaves<'a>(&'a self, out: &mut Vec<crate::LeafValue<'a>>) {{\n{values}    }}\n\n    /// Appends an unknown value for each leaf.\n    pub fn no_leaves(out: &mut Vec<crate::LeafValue<'_>>) {{\n{absent}    }}\n}}\n",
            text(schema, "name")
        )
        .expect("writing to a string");
    }

    /// Writes how a later stage adds to an earlier one, and how a path is taken back.
    fn merge(&self, code: &mut String, schema: &Value) {
        let (mut merges, mut clears) = (String::new(), String::new());
        for field in fields(schema) {
            let place = identifier(field);
            let (inner, optional) = optional(&field["type"]);
            if !optional {
                continue;
            }
            let name = text(field, "name");
            let function = match self.leaf(inner) {
                Some(Leaf::Record(_)) => {
                    writeln!(clears, "            ({name:?}, Some(rest)) => self.{place}.as_mut().is_some_and(|record| record.clear(rest)),")
                        .expect("writing to a string");
                    "record"
                }
                _ if inner["type"] == "map" => {
                    writeln!(clears, "            ({name:?}, Some(rest)) => self.{place}.as_mut().is_some_and(|map| map.remove(rest).is_some()),")
                        .expect("writing to a string");
                    "map"
                }
                _ if inner["type"] == "array" && inner["items"] == "tamiz.Attachment" => "attachments",
                _ => "value",
            };
            writeln!(merges, "        crate::merge::{function}(&mut self.{place}, later.{place});")
                .expect("writing to a string");
            writeln!(clears, "            ({name:?}, None) => self.{place}.take().is_some(),")
                .expect("writing to a string");
        }
        writeln!(
            code,
            "impl crate::merge::Merge for {} {{\n    fn merge(&mut self, later: Self) {{\n{merges}    }}\n\n    fn clear(&mut self, path: &str) -> bool {{\n        match crate::merge::split(path) {{\n{clears}            _ => false,\n        }}\n    }}\n}}\n",
            text(schema, "name")
        )
        .expect("writing to a string");
    }

    /// Writes which Rust type belongs to which schema, whole and with its parts in place.
    fn records(&self, code: &mut String, topics: &BTreeMap<String, Value>) {
        let mut list = String::new();
        for (index, (file, schema)) in topics.iter().enumerate() {
            let mut seen = Vec::new();
            let whole = self.inlined(schema, &mut seen);
            let json = serde_json::to_string_pretty(&whole).expect("a schema is JSON");
            let name = text(schema, "name");
            writeln!(code, "impl crate::Record for {name} {{\n    const INDEX: usize = {index};\n}}\n")
                .expect("writing to a string");
            writeln!(list, "    crate::Published {{ file: {file:?}, json: r####\"{json}\n\"#### }},")
                .expect("writing to a string");
        }
        writeln!(code, "/// Every schema in its newest version, in the order of `Record::INDEX`.\npub const PUBLISHED: &[crate::Published] = &[\n{list}];\n").expect("writing to a string");
    }

    /// Returns a schema with every named part put in the place of its first use; `signal`, `merge` and
    /// `shared`, which only this build reads, are left out.
    fn inlined(&self, schema: &Value, seen: &mut Vec<String>) -> Value {
        match schema {
            Value::String(name) => match name.strip_prefix("tamiz.") {
                Some(part) if !seen.contains(name) => {
                    if !self.part(part).is_array() {
                        seen.push(name.clone());
                    }
                    self.inlined(self.part(part), seen)
                }
                _ => schema.clone(),
            },
            Value::Array(branches) => {
                Value::Array(branches.iter().map(|branch| self.inlined(branch, seen)).collect())
            }
            Value::Object(members) => {
                let mut whole = serde_json::Map::new();
                for (key, value) in members {
                    let value = match key.as_str() {
                        "signal" | "merge" | "shared" => continue,
                        "type" | "items" | "values" => self.inlined(value, seen),
                        "fields" => Value::Array(
                            value
                                .as_array()
                                .expect("fields are a list")
                                .iter()
                                .map(|field| self.inlined(field, seen))
                                .collect(),
                        ),
                        _ => value.clone(),
                    };
                    whole.insert(key.clone(), value);
                }
                Value::Object(whole)
            }
            other => other.clone(),
        }
    }

    fn part(&self, name: &str) -> &Value {
        let topic = || self.topics.values().find(|schema| schema["name"] == name);
        self.parts
            .get(&kebab_case(name))
            .or_else(topic)
            .unwrap_or_else(|| panic!("there is no schema of {name} in avro"))
    }

    /// Returns the type of a field; a `shared` record is behind an `Arc`, so that it is copied once from operator to
    /// operator and into tables.
    fn field_type(&self, field: &Value) -> String {
        let plain = self.rust_type(&field["type"]);
        match (&field["shared"], plain.strip_prefix("Vec<").and_then(|items| items.strip_suffix('>'))) {
            (Value::Bool(true), Some(items)) => format!("Vec<std::sync::Arc<{items}>>"),
            (Value::Bool(true), None) => format!("std::sync::Arc<{plain}>"),
            _ => plain,
        }
    }

    fn rust_type(&self, schema: &Value) -> String {
        match schema {
            Value::String(name) => match name.as_str() {
                "string" => "String".into(),
                "boolean" => "bool".into(),
                "int" => "i32".into(),
                "long" => "i64".into(),
                "double" => "f64".into(),
                "bytes" => "serde_bytes::ByteBuf".into(),
                other => {
                    let part = other
                        .strip_prefix("tamiz.")
                        .unwrap_or_else(|| panic!("the type {other} is not known"));
                    if self.part(part).is_array() { format!("Option<{part}>") } else { part.into() }
                }
            },
            Value::Array(branches) => match branches.as_slice() {
                [Value::String(null), inner] if null == "null" => {
                    format!("Option<{}>", self.rust_type(inner))
                }
                _ => "crate::Scalar".into(),
            },
            _ => match text(schema, "type") {
                "array" => format!("Vec<{}>", self.rust_type(&schema["items"])),
                "map" => format!("std::collections::BTreeMap<String, {}>", self.rust_type(&schema["values"])),
                primitive => self.rust_type(&Value::String(primitive.to_owned())),
            },
        }
    }

    fn leaf(&self, schema: &Value) -> Option<Leaf> {
        match schema {
            Value::String(name) => Some(match name.as_str() {
                "string" => Leaf::Value("Text"),
                "boolean" => Leaf::Value("Bool"),
                "int" | "long" => Leaf::Value("Int"),
                "double" => Leaf::Value("Double"),
                other => {
                    let part = other.strip_prefix("tamiz.")?;
                    match self.part(part) {
                        union if union.is_array() => return None,
                        named if text(named, "type") == "enum" => Leaf::Value("Text"),
                        _ => Leaf::Record(part.to_owned()),
                    }
                }
            }),
            Value::Object(_) if schema["type"] == "array" && schema["items"] == "string" => {
                Some(Leaf::Value("TextList"))
            }
            Value::Object(_) if schema["type"] == "long" => Some(Leaf::Value("Int")),
            _ => None,
        }
    }
}

enum Leaf {
    Value(&'static str),
    Record(String),
}

fn enumeration(code: &mut String, schema: &Value) {
    let name = text(schema, "name");
    let symbols: Vec<&str> =
        schema["symbols"].as_array().expect("an enum has symbols").iter().filter_map(Value::as_str).collect();
    write_doc(code, "", schema);
    code.push_str("#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]\n");
    writeln!(code, "pub enum {name} {{").expect("writing to a string");
    for (index, symbol) in symbols.iter().enumerate() {
        let default = if index == 0 { "    #[default]\n" } else { "" };
        writeln!(
            code,
            "    /// `{symbol}`.\n{default}    #[serde(rename = {symbol:?})]\n    {},",
            camel_case(symbol)
        )
        .expect("writing to a string");
    }
    writeln!(code, "}}\n\nimpl {name} {{\n    /// Every symbol, in the schema's order.\n    pub const SYMBOLS: &'static [&'static str] = &{symbols:?};\n").expect("writing to a string");
    code.push_str("    /// Returns the symbol.\n    pub fn as_str(self) -> &'static str {\n        Self::SYMBOLS[self as usize]\n    }\n\n");
    code.push_str("    /// Returns the value of a symbol.\n    pub fn parse(symbol: &str) -> Option<Self> {\n        match symbol {\n");
    for symbol in &symbols {
        writeln!(code, "            {symbol:?} => Some(Self::{}),", camel_case(symbol))
            .expect("writing to a string");
    }
    writeln!(code, "            _ => None,\n        }}\n    }}\n}}\n\nimpl<'a> From<&'a {name}> for crate::LeafValue<'a> {{\n    fn from(value: &'a {name}) -> Self {{\n        Self::Text(value.as_str())\n    }}\n}}\n")
        .expect("writing to a string");
}

/// Returns what an optional type holds, and whether it was optional.
fn optional(schema: &Value) -> (&Value, bool) {
    match schema.as_array().map(Vec::as_slice) {
        Some([Value::String(null), inner]) if null == "null" => (inner, true),
        _ => (schema, false),
    }
}

fn record_name(branch: &Value) -> Option<&str> {
    branch.as_str().and_then(|name| name.strip_prefix("tamiz."))
}

fn fields(schema: &Value) -> &[Value] {
    schema["fields"].as_array().expect("a record has fields")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {schema}"))
}

fn identifier(field: &Value) -> String {
    match text(field, "name") {
        "type" => "r#type".into(),
        name => name.into(),
    }
}

fn write_doc(code: &mut String, indent: &str, schema: &Value) {
    writeln!(code, "{indent}/// {}", text(schema, "doc")).expect("writing to a string");
}

fn camel_case(name: &str) -> String {
    let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split(['-', '_']).map(upper).collect()
}

fn kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}
