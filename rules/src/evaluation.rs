//! What a rule set says about one session.

use crate::value::OwnedValue;

/// Says how much a rule that fired weighs in the decision, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Counts in the score only.
    Evidence,
    /// Makes the decision at least `review`.
    Review,
    /// Makes the decision `flag`.
    Flag,
}

impl Severity {
    /// Lists all severities from least to most.
    pub const ALL: [Severity; 3] = [Severity::Evidence, Severity::Review, Severity::Flag];

    /// Returns the word used in files and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Evidence => "evidence",
            Severity::Review => "review",
            Severity::Flag => "flag",
        }
    }
}

/// Is what a consumer should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextAction {
    Approve,
    ManualReview,
    Hold,
    RetakeSelfie,
    RetakeDocument,
    CorrectField,
}

impl NextAction {
    /// Lists all actions.
    pub const ALL: [NextAction; 6] = [
        NextAction::Approve,
        NextAction::ManualReview,
        NextAction::Hold,
        NextAction::RetakeSelfie,
        NextAction::RetakeDocument,
        NextAction::CorrectField,
    ];

    /// Returns the word used in files and records.
    pub fn as_str(self) -> &'static str {
        match self {
            NextAction::Approve => "approve",
            NextAction::ManualReview => "manual_review",
            NextAction::Hold => "hold",
            NextAction::RetakeSelfie => "retake_selfie",
            NextAction::RetakeDocument => "retake_document",
            NextAction::CorrectField => "correct_field",
        }
    }
}

/// Holds the rules that fired and those that could not be decided, each in the order of the file.
///
/// A rule that is in neither list did not fire or is disabled for the tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation<'s> {
    pub fired: Vec<Fired<'s>>,
    pub unknown: Vec<Undecided<'s>>,
}

/// Is a rule that fired, with the tenant's severity and weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired<'s> {
    pub code: &'s str,
    pub severity: Severity,
    /// Weight in hundredths, 0 to 99.
    pub weight_hundredths: u8,
    pub next_action: Option<NextAction>,
    pub risk_flag: Option<&'s str>,
    pub text_en: String,
    pub text_es: String,
    /// Values read by the condition, then those listed under `values`, then those named only by the texts;
    /// each name once.
    pub values: Vec<(&'s str, OwnedValue)>,
}

/// Is a rule whose condition is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided<'s> {
    pub rule: &'s str,
    /// The unknown names that kept the condition from being decided, in the order in which it reads them.
    pub missing: Vec<&'s str>,
    /// The operations on known values that had no result.
    pub undefined: Vec<Undefined>,
}

/// Is a reason why an operation on known values has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undefined {
    DivisionByZero,
    Overflow,
    Conversion,
}

impl Undefined {
    /// Lists all reasons.
    pub const ALL: [Undefined; 3] = [Undefined::DivisionByZero, Undefined::Overflow, Undefined::Conversion];

    /// Returns the reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Undefined::DivisionByZero => "division by zero",
            Undefined::Overflow => "overflow",
            Undefined::Conversion => "conversion",
        }
    }
}
