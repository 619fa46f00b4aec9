use crate::{Accepted, SignalBody};

/// Name, type and meaning of one value that a rule may read.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Dotted name, as in `geo.location.inside_prison`.
    pub name: String,
    /// Its type.
    pub kind: LeafKind,
    /// What the schema says of it.
    pub doc: &'static str,
}

/// Type of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// True or false.
    Bool,
    /// A whole number; times are milliseconds since 1970.
    Int,
    /// A number.
    Double,
    /// A text or a symbol of an enum.
    Text,
    /// A list of texts.
    TextList,
}

/// Value of a leaf, borrowed from its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeafValue<'a> {
    /// Missing, which is never false.
    Unknown,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text.
    Text(&'a str),
    /// A list of texts.
    TextList(&'a [String]),
}

impl<'a> LeafValue<'a> {
    /// Returns the value, or unknown where there is none.
    pub fn of_option<T>(value: &'a Option<T>) -> Self
    where
        Self: From<&'a T>,
    {
        value.as_ref().map_or(Self::Unknown, Self::from)
    }
}

impl From<&bool> for LeafValue<'_> {
    fn from(value: &bool) -> Self {
        Self::Bool(*value)
    }
}

impl From<&i32> for LeafValue<'_> {
    fn from(value: &i32) -> Self {
        Self::Int(i64::from(*value))
    }
}

impl From<&i64> for LeafValue<'_> {
    fn from(value: &i64) -> Self {
        Self::Int(*value)
    }
}

impl From<&f64> for LeafValue<'_> {
    fn from(value: &f64) -> Self {
        Self::Double(*value)
    }
}

impl<'a> From<&'a String> for LeafValue<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a Vec<String>> for LeafValue<'a> {
    fn from(value: &'a Vec<String>) -> Self {
        Self::TextList(value)
    }
}

/// Returns the catalogue of all that a rule may read: `session.…`, and each signal under its name.
pub fn session_leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    crate::Session::leaf_names("session.", &mut leaves);
    SignalBody::leaf_names(&mut leaves);
    leaves
}

impl Accepted {
    /// Returns the values of [`session_leaves`], in the same order, for this stage and the signals made from it.
    pub fn fused<'a>(&'a self, signal: impl Fn(&str) -> Option<&'a SignalBody>) -> Vec<LeafValue<'a>> {
        let mut values = Vec::with_capacity(160);
        self.session.leaves(&mut values);
        SignalBody::leaves(signal, &mut values);
        values
    }
}
