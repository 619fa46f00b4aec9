use serde::{Deserialize, Serialize};

/// A value of one of the primitive types, as in the values that a reason shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A number.
    Double(f64),
    /// A text.
    Text(String),
}
