//! Values as rules see them, and where they come from.

use crate::catalogue::{Slot, Type};

/// Is a fact as the engine reads it, borrowed from its owner.
///
/// `Unknown` stands for everything that is missing: not sent, not configured, failed, late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Unknown,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    TextList(&'a [String]),
}

impl Value<'_> {
    /// Copies the value out of its owner.
    pub fn to_owned_value(self) -> OwnedValue {
        match self {
            Value::Unknown => OwnedValue::Unknown,
            Value::Bool(value) => OwnedValue::Bool(value),
            Value::Int(value) => OwnedValue::Int(value),
            Value::Double(value) => OwnedValue::Double(value),
            Value::Text(value) => OwnedValue::Text(value.to_owned()),
            Value::TextList(value) => OwnedValue::TextList(value.to_vec()),
        }
    }

    /// Returns the value's type, or `None` if it is unknown.
    pub fn value_type(self) -> Option<Type> {
        match self {
            Value::Unknown => None,
            Value::Bool(_) => Some(Type::Bool),
            Value::Int(_) => Some(Type::Int),
            Value::Double(_) => Some(Type::Double),
            Value::Text(_) => Some(Type::Text),
            Value::TextList(_) => Some(Type::TextList),
        }
    }

    /// Returns the value, or `Unknown` in place of a double that is not finite.
    ///
    /// The engine never computes with NaN or infinities: each comparison with them would be a silent "no".
    pub(crate) fn finite(self) -> Self {
        match self {
            Value::Double(value) if !value.is_finite() => Value::Unknown,
            value => value,
        }
    }
}

/// Is a value that a fired rule saw, kept for the explanation.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    Unknown,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    TextList(Vec<String>),
}

impl OwnedValue {
    /// Borrows the value.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            OwnedValue::Unknown => Value::Unknown,
            OwnedValue::Bool(value) => Value::Bool(*value),
            OwnedValue::Int(value) => Value::Int(*value),
            OwnedValue::Double(value) => Value::Double(*value),
            OwnedValue::Text(value) => Value::Text(value),
            OwnedValue::TextList(value) => Value::TextList(value),
        }
    }
}

/// Gives the facts of one session.
///
/// `slot` is an index into the catalogue that the rule set was loaded with. A value is `Unknown` or has the
/// type of its catalogue entry; any other type means that facts and catalogue do not belong together, and
/// stops the evaluation with a panic. A double that is not finite counts as `Unknown`.
pub trait Facts {
    /// Returns the value of a slot.
    fn value(&self, slot: Slot) -> Value<'_>;
}

impl<F: Facts + ?Sized> Facts for &F {
    fn value(&self, slot: Slot) -> Value<'_> {
        (**self).value(slot)
    }
}

/// Owned facts by slot, for cases, tests and tools; slots beyond the end are unknown.
impl Facts for Vec<OwnedValue> {
    fn value(&self, slot: Slot) -> Value<'_> {
        self.get(slot).map_or(Value::Unknown, OwnedValue::as_value)
    }
}
