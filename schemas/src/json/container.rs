use crate::codec::{decode_datum, full_schema};
use crate::{DecodeError, Record, Session};
use apache_avro::Reader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use std::io::Read;

/// Most bytes of one block of a container file, and of one text or list in it.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// An Avro container file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AvroFileError {
    /// It does not begin as a container file does.
    #[error("cannot read the header of the Avro container file")]
    Header {
        /// The cause.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// A record cannot be read, or not be resolved into a session.
    #[error("cannot read record {position} of the Avro container file")]
    Record {
        /// Place of the record in the file, from 1.
        position: u64,
        /// The cause.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// A record is not a session, although its schema resolved into one.
    #[error("record {position} of the Avro container file is not a session")]
    Session {
        /// Place of the record in the file, from 1.
        position: u64,
        /// The cause.
        #[source]
        source: DecodeError,
    },
}

/// Reads the sessions of an Avro container file, resolving its writer's schema into ours.
///
/// The first error is the last item, since nothing tells where the record after a broken one begins.
pub fn sessions_from_avro<R: Read>(reader: R) -> impl Iterator<Item = Result<Session, AvroFileError>> {
    // The library's limit holds for the whole process; where another is set already, that one stands.
    apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX);
    let opened = Reader::builder(reader).reader_schema(full_schema(Session::INDEX)).build();
    let (reader, failed) = match opened {
        Ok(reader) => (Some(reader), None),
        Err(error) => (None, Some(AvroFileError::Header { source: Box::new(error) })),
    };
    let sessions = Sessions { reader, position: 0 };
    failed.map(Err).into_iter().chain(sessions)
}

struct Sessions<R> {
    /// Gone after the first error.
    reader: Option<Reader<'static, R>>,
    position: u64,
}

impl<R: Read> Iterator for Sessions<R> {
    type Item = Result<Session, AvroFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.reader.as_mut()?.next()?;
        self.position += 1;
        let session = session_of(value, self.position);
        if session.is_err() {
            self.reader = None;
        }
        Some(session)
    }
}

fn session_of(value: Result<Value, apache_avro::Error>, position: u64) -> Result<Session, AvroFileError> {
    let record = |error| AvroFileError::Record { position, source: Box::new(error) };
    let value = value.map_err(record)?;
    // The resolved value is encoded once more with our schema, since only that path knows every type of ours.
    let mut datum = Vec::new();
    let writer = GenericDatumWriter::builder(full_schema(Session::INDEX)).build().map_err(record)?;
    writer.write_value(&mut datum, value).map_err(record)?;
    decode_datum(&datum).map_err(|source| AvroFileError::Session { position, source })
}
