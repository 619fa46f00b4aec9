//! Sessions from files: JSON lines, an Avro container or Parquet.
//!
//! Columns of a Parquet file are the fields of a session as in JSON: structs and lists as they are, or columns with
//! dotted names, as in `device.model`. A null in Parquet is an absent field.

use anyhow::{Context, Result};
use parquet::file::reader::SerializedFileReader;
use parquet::record::{Field, Row};
use schemas::Session;
use schemas::json::{
    AttachmentFile, AttachmentSource, JsonError, ParsedSession, session_from_json, session_from_value,
    sessions_from_avro, time_to_text,
};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// First bytes of an Avro container.
const AVRO_MAGIC: &[u8] = b"Obj\x01";
/// First bytes of a Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// A session of a file.
#[derive(Debug)]
pub struct InputSession {
    /// Its line, or its number in an Avro container or a Parquet file, from 1.
    pub line: u64,
    /// The session, with the hashes of its attachments.
    pub session: Session,
    /// Attachments whose bytes are in the input or beside it.
    pub files: Vec<AttachmentFile>,
    /// Folder that the paths of attachments are relative to.
    pub folder: PathBuf,
}

/// A session that cannot be read; the ones after it can.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The line does not hold a session.
    #[error("{name}, line {line}: {problems}")]
    Line {
        /// Name of the input.
        name: String,
        /// The line.
        line: u64,
        /// Every problem found.
        problems: JsonError,
    },
    /// An attachment's file cannot be read.
    #[error("{name}, line {line}: attachment {attachment}: cannot read {path}")]
    Attachment {
        /// Name of the input.
        name: String,
        /// The line.
        line: u64,
        /// The attachment.
        attachment: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The input itself cannot be read further.
    #[error("{name}, after record {line}")]
    Broken {
        /// Name of the input.
        name: String,
        /// The last record read.
        line: u64,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Sessions of an input, one after the other.
pub type Sessions = Box<dyn Iterator<Item = Result<InputSession, InputError>> + Send>;

/// Opens an input: a file, or `-` for the standard input.
pub fn sessions(path: &Path) -> Result<Sessions> {
    let (name, folder, source): (String, PathBuf, Box<dyn Read + Send>) = if path == Path::new("-") {
        ("standard input".into(), PathBuf::from("."), Box::new(std::io::stdin()))
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        (path.display().to_string(), folder, Box::new(file))
    };
    let mut reader = BufReader::with_capacity(1 << 20, source);
    let start = reader.fill_buf().with_context(|| format!("cannot read {name}"))?;
    if start.starts_with(AVRO_MAGIC) {
        return Ok(Box::new(avro_sessions(reader, name, folder)));
    }
    if start.starts_with(PARQUET_MAGIC) {
        drop(reader);
        return parquet_sessions(path, name, folder);
    }
    Ok(Box::new(JsonLines { reader, name, folder, line: 0, text: Vec::new(), broken: false }))
}

fn avro_sessions(
    reader: impl Read + Send,
    name: String,
    folder: PathBuf,
) -> impl Iterator<Item = Result<InputSession, InputError>> + Send {
    let mut line = 0;
    sessions_from_avro(reader).map(move |session| {
        line += 1;
        let folder = folder.clone();
        session.map(|session| InputSession { line, session, files: Vec::new(), folder }).map_err(|error| {
            InputError::Broken { name: name.clone(), line: line - 1, source: Box::new(error) }
        })
    })
}

fn parquet_sessions(path: &Path, name: String, folder: PathBuf) -> Result<Sessions> {
    let file =
        File::open(path).with_context(|| format!("cannot open {name} as Parquet, which has to be a file"))?;
    let reader = SerializedFileReader::new(file).with_context(|| format!("cannot read {name} as Parquet"))?;
    let mut line = 0;
    Ok(Box::new(reader.into_iter().map(move |row| {
        line += 1;
        let row = row.map_err(|error| InputError::Broken {
            name: name.clone(),
            line: line - 1,
            source: Box::new(error),
        })?;
        let parsed = session_from_value(row_value(&row));
        finished(parsed, &name, line, &folder)
    })))
}

/// Returns a row as the JSON that a line would hold.
fn row_value(row: &Row) -> Value {
    let mut members = Map::new();
    for (name, field) in row.get_column_iter() {
        let value = field_value(field);
        if !value.is_null() {
            insert(&mut members, name, value);
        }
    }
    Value::Object(members)
}

/// Puts a value under a dotted name.
fn insert(members: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        Some((first, rest)) => {
            let inner = members.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
        None => {
            members.insert(name.to_owned(), value);
        }
    }
}

fn field_value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        // As text, so that a single is not widened into digits that were never there.
        Field::Float(value) => value.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => text.clone().into(),
        Field::TimestampMillis(time) => time_value(*time),
        Field::TimestampMicros(time) => time_value(time.div_euclid(1_000)),
        Field::Group(row) => match row_value(row) {
            Value::Object(members) if members.is_empty() => Value::Null,
            value => value,
        },
        Field::ListInternal(list) => list.elements().iter().map(field_value).collect(),
        Field::MapInternal(map) => {
            let entry = |(key, value): &(Field, Field)| match key {
                Field::Str(key) => Some((key.clone(), field_value(value))),
                _ => None,
            };
            Value::Object(map.entries().iter().filter_map(entry).collect())
        }
        // Dates and decimals: their text is what a line would hold.
        other => Value::String(other.to_string()),
    }
}

fn time_value(time: i64) -> Value {
    time_to_text(time).map_or_else(|| time.into(), Value::String)
}

struct JsonLines<R> {
    reader: R,
    name: String,
    folder: PathBuf,
    line: u64,
    text: Vec<u8>,
    broken: bool,
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<InputSession, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            self.text.clear();
            match self.reader.read_until(b'\n', &mut self.text) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(source) => {
                    self.broken = true;
                    let (name, line) = (self.name.clone(), self.line);
                    return Some(Err(InputError::Broken { name, line, source: Box::new(source) }));
                }
            }
            let text = self.text.trim_ascii();
            if !text.is_empty() {
                return Some(self.session(text));
            }
        }
        None
    }
}

impl<R> JsonLines<R> {
    fn session(&self, text: &[u8]) -> Result<InputSession, InputError> {
        finished(session_from_json(text), &self.name, self.line, &self.folder)
    }
}

fn finished(
    parsed: Result<ParsedSession, JsonError>,
    name: &str,
    line: u64,
    folder: &Path,
) -> Result<InputSession, InputError> {
    let parsed = parsed.map_err(|problems| InputError::Line { name: name.to_owned(), line, problems })?;
    let mut input =
        InputSession { line, session: parsed.session, files: parsed.files, folder: folder.to_owned() };
    hash_files(&mut input, name)?;
    Ok(input)
}

/// Notes size and hash of the attachments whose bytes are in files beside the input.
fn hash_files(input: &mut InputSession, name: &str) -> Result<(), InputError> {
    for file in &input.files {
        let AttachmentSource::Path(path) = &file.source else { continue };
        let path = input.folder.join(path);
        let bytes = std::fs::read(&path).map_err(|source| InputError::Attachment {
            name: name.to_owned(),
            line: input.line,
            attachment: file.attachment_id.clone(),
            path: path.clone(),
            source,
        })?;
        let attachments = input.session.attachments.iter_mut().flatten();
        for attachment in attachments.filter(|attachment| attachment.id == file.attachment_id) {
            attachment.size = i64::try_from(bytes.len()).ok();
            attachment.sha256 = Some(schemas::sha256_hex(&bytes));
        }
    }
    Ok(())
}
