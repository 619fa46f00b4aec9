//! What travels on the topics: one variant a record, shared in memory between operators of one process.

use crate::codec::EncodeError;
use crate::topic::TopicSpec;
use crate::*;
use std::sync::Arc;

macro_rules! messages {
    ($($name:ident),+ $(,)?) => {
        /// A record of any topic.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $(#[doc = concat!("A [`", stringify!($name), "`].")] $name(Arc<$name>),)+
        }

        $(impl From<$name> for Message {
            fn from(record: $name) -> Self {
                Self::$name(Arc::new(record))
            }
        }

        impl Payload for $name {
            fn from_message(message: &Message) -> Option<&Arc<Self>> {
                match message {
                    Message::$name(record) => Some(record),
                    _ => None,
                }
            }

            fn into_message(record: Arc<Self>) -> Message {
                Message::$name(record)
            }
        })+

        impl Message {
            /// Appends the record in the wire format.
            pub fn encode(&self, codec: &Codec, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Self::$name(record) => codec.encode(record.as_ref(), out),)+
                }
            }

            /// Returns the name of its type, as the schemas have it.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)+
                }
            }

            /// Reads a record of a topic.
            pub fn decode(codec: &Codec, topic: &TopicSpec, bytes: &[u8]) -> Result<Self, DecodeError> {
                let index = codec.type_of(bytes)?.unwrap_or(topic.records[0]);
                if !topic.records.contains(&index) {
                    return Err(DecodeError::Misplaced { found: PUBLISHED[index].file.into(), topic: topic.name.into() });
                }
                $(if index == $name::INDEX {
                    return codec.decode::<$name>(bytes).map(Self::from);
                })+
                Err(DecodeError::Misplaced { found: PUBLISHED[index].file.into(), topic: topic.name.into() })
            }

            /// Reads a row of a table, whatever its type.
            pub fn decode_row(codec: &Codec, bytes: &[u8]) -> Result<Self, DecodeError> {
                let index = codec.type_of(bytes)?;
                $(if index == Some($name::INDEX) {
                    return codec.decode::<$name>(bytes).map(Self::from);
                })+
                let found = index.map_or("a schema that is not ours", |index| PUBLISHED[index].file);
                Err(DecodeError::Misplaced { found: found.into(), topic: "table".into() })
            }
        }
    };
}

/// A record that travels as a [`Message`] or stands in a table.
pub trait Payload: Record {
    /// Returns the record, where the message is of this type.
    fn from_message(message: &Message) -> Option<&Arc<Self>>;

    /// Makes a message of it.
    fn into_message(record: Arc<Self>) -> Message;
}

messages!(
    Session,
    Accepted,
    Signal,
    Decision,
    DeadLetter,
    Image,
    Progress,
    Marker,
    RuleSetRecord,
    StepRecord,
    Clock,
    IntakeSession,
    FusionSession,
);
