//! Rule sets as data: CEL over a typed catalogue, checked on load, three-valued, compiled to closures.
//!
//! A [`RuleSet`] is loaded from the text of a TOML file against a [`Catalogue`] of typed names. Loading reports
//! every mistake at once, each with line, column and suggestion ([`LoadError`]); what has loaded cannot fail. An
//! evaluation reads [`Facts`] by slot and returns the rules that fired, with texts and the values they saw, and
//! those that could not be decided, with what they lack ([`Evaluation`]). The crate does no input or output.
//!
//! # The language
//!
//! A subset of CEL with a type for everything, known on load: literals (int, double, text, bool, null, lists),
//! dotted names of the catalogue, `policy.*` for the values of the session's tenant,
//! `! - + * / % == != < <= > >= && || ?: in`, `has(x)`, `absent(x)`, `size`, `startsWith`, `endsWith`,
//! `contains`, `matches`, `lowerAscii`, `abs`, `min`, `max`, `int()`, `double()`, and `exists` and `all` on lists
//! of text. Where it differs from CEL, it does so to keep a missing value from passing for a known one:
//!
//! - What is missing is unknown, never an error and never false. Logic is Kleene's: an unknown operand matters
//!   only where the others leave the result open. Everything else with an unknown operand is unknown.
//! - `has(x)` asks whether a value is known; `x == null` is `absent(x)`. Neither is ever unknown.
//! - Division by zero, overflow and failed conversions are unknown, with the reason ([`Undefined`]). A double
//!   that is not finite is unknown from the start, so no comparison meets one.
//! - Ints and doubles are compared by their exact values, and never mixed in arithmetic.
//!
//! # Reading order
//!
//! `catalogue` and `value` say what rules read; `evaluation` and `policy` what they answer and what tenants set.
//! `rule_set` is the whole in one page. Below it lies the path of an expression: `lexer`, `parser` (with the
//! limits on nesting), `check` (names and types) and `compile` (closures); and that of a file: `document` (TOML
//! with places), `definition` (rules, policies, tenants) and `template` (texts). `cases` runs the cases that
//! stand beside a rule set. `sets/` has the default rule set, whose comments explain its weights.

mod cases;
mod catalogue;
mod check;
mod compile;
mod definition;
mod diagnostic;
mod document;
mod evaluation;
mod lexer;
mod parser;
mod policy;
mod rule_set;
mod template;
mod value;

pub use cases::{CASES_MAX, CaseReport, CaseResult, run_cases};
pub use catalogue::{CATALOGUE_ENTRIES_MAX, Catalogue, CatalogueError, Entry, Slot, Type};
pub use check::{INPUTS_MAX, QUANTIFIERS_NESTED_MAX};
pub use definition::{DEADLINE_MS_MAX, RULES_MAX, WEIGHT_HUNDREDTHS_MAX};
pub use diagnostic::{DIAGNOSTICS_MAX, Diagnostic, LoadError};
pub use document::FILE_BYTES_MAX;
pub use evaluation::{Evaluation, Fired, NextAction, Severity, Undecided, Undefined};
pub use parser::{EXPRESSION_CHARS_MAX, NESTING_MAX};
pub use policy::{Language, Policy};
pub use rule_set::{Rule, RuleSet};
pub use template::{SHOWN_CHARS_MAX, TEXT_CHARS_MAX};
pub use value::{Facts, OwnedValue, Value};
