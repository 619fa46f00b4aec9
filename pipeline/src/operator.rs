//! What an operator is: a pure step from an event and its tables to effects.

use crate::step::Step;
use crate::table::TableSpec;
use schemas::{Accepted, Key, Marker, Message, Payload, Signal, TimeMs, TopicSpec};
use std::sync::Arc;

/// A pure step: no clock, network, disk, environment or randomness inside, and no state in `self`.
///
/// The same operator runs alone in a process, fused with others, and inside a replay.
pub trait Operator: Send + Sync + 'static {
    /// What it reads: one data topic's records.
    type Input: Port;

    /// Returns its name, topics, tables and sources of time.
    fn descriptor(&self) -> &Descriptor;

    /// Handles one event. A reject undoes what the event has done so far and sends it to the dead letters.
    fn on_event(&self, event: Event<Self::Input>, step: &mut Step<'_>) -> Result<(), Reject>;

    /// Handles a timer that it has set and that is now due.
    fn on_timer(&self, _timer: &Timer, _step: &mut Step<'_>) -> Result<(), Reject> {
        Ok(())
    }
}

/// What the runtime must know of an operator.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Its name, as in `ip-intel`.
    pub name: &'static str,
    /// Its version, written into what it makes.
    pub version: &'static str,
    /// The topic it reads.
    pub input: &'static TopicSpec,
    /// The topics it writes.
    pub outputs: &'static [&'static TopicSpec],
    /// Its tables.
    pub tables: &'static [TableSpec],
    /// Where its time comes from.
    pub time: TimeSource,
    /// The topics in which it tells how far it has come.
    pub progress_to: &'static [&'static TopicSpec],
}

/// Where an operator's time comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The append time of its input; where the input is idle, the runner appends ticks.
    AppendTime,
    /// The least progress of these operators. One that is silent for longer than `silence_ms` of its input's append
    /// time does not count until it is heard again. Where the input is idle, the runner appends ticks.
    Progress {
        /// Their names.
        operators: Vec<String>,
        /// The span of silence.
        silence_ms: TimeMs,
    },
}

/// What an operator reads from its topic.
pub trait Port: Sized + Send + 'static {
    /// Returns the input, where the message is one of its own.
    fn from_message(message: Message) -> Option<Self>;
}

impl<T: Payload> Port for Arc<T> {
    fn from_message(message: Message) -> Option<Self> {
        T::from_message(&message).cloned()
    }
}

/// Input of an operator that fuses: stages, the signals made from them, and markers.
#[derive(Clone, Debug)]
pub enum SignalPort {
    /// A stage of a session.
    Stage(Arc<Accepted>),
    /// A signal.
    Signal(Arc<Signal>),
    /// A control change.
    Marker(Arc<Marker>),
}

impl Port for SignalPort {
    fn from_message(message: Message) -> Option<Self> {
        match message {
            Message::Accepted(stage) => Some(Self::Stage(stage)),
            Message::Signal(signal) => Some(Self::Signal(signal)),
            Message::Marker(marker) => Some(Self::Marker(marker)),
            _ => None,
        }
    }
}

/// An input with what the log says of it.
#[derive(Clone, Debug)]
pub struct Event<I> {
    /// The input.
    pub input: I,
    /// Its key, as it stands on the topic.
    pub key: Option<Key>,
    /// Append time of the record it came from.
    pub append_time: TimeMs,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When it was due, by the operator's time.
    pub at: TimeMs,
    /// What it was set for.
    pub key: Vec<u8>,
}

/// Bad data: it goes to the dead letters with its reason, and the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Short code, as in `coordinates_out_of_range`.
    pub reason: &'static str,
    /// What was wrong and where, without personal data.
    pub detail: String,
}

impl Reject {
    /// Makes a reject.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// An operator without its input's type, as the runtime hosts it.
pub trait AnyOperator: Send + Sync {
    /// Returns what the runtime must know of it.
    fn descriptor(&self) -> &Descriptor;

    /// Handles a message.
    fn on_message(&self, event: Event<Message>, step: &mut Step<'_>) -> Result<(), Reject>;

    /// Handles a timer.
    fn on_timer(&self, timer: &Timer, step: &mut Step<'_>) -> Result<(), Reject>;
}

impl<O: Operator> AnyOperator for O {
    fn descriptor(&self) -> &Descriptor {
        Operator::descriptor(self)
    }

    fn on_message(&self, event: Event<Message>, step: &mut Step<'_>) -> Result<(), Reject> {
        // A topic also holds records for its other readers; those are not this operator's.
        let Some(input) = O::Input::from_message(event.input) else { return Ok(()) };
        self.on_event(Event { input, key: event.key, append_time: event.append_time }, step)
    }

    fn on_timer(&self, timer: &Timer, step: &mut Step<'_>) -> Result<(), Reject> {
        Operator::on_timer(self, timer, step)
    }
}
