//! What a tenant wants decided how.

use crate::catalogue::Type;
use crate::value::Value;

/// Is the policy of one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Countries in which a position or an address is at home: ISO 3166-1 alpha-2, at least one.
    pub home_countries: Vec<String>,
    /// Time from the opening of a session to its decision with what is there, 1 to 3,600,000.
    pub deadline_ms: i64,
    /// Signals without which a decision is at least `review`.
    pub required_signals: Vec<String>,
    /// Score from which evidence alone asks for review; above 0.
    pub review_score_min: f64,
    /// Lower edge of the band of flagged sessions; not below `review_score_min`, at most 100.
    pub flag_score_min: f64,
    /// Language in which the tenant reads texts by default.
    pub language: Language,
}

/// Is a language of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    En,
    Es,
}

impl Language {
    /// Lists all languages.
    pub const ALL: [Language; 2] = [Language::En, Language::Es];

    /// Returns the ISO 639-1 code.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Es => "es",
        }
    }
}

impl Default for Policy {
    /// Returns the policy of a rule set that states none.
    fn default() -> Self {
        Policy {
            home_countries: vec!["MX".to_owned()],
            deadline_ms: 5_000,
            required_signals: Vec::new(),
            review_score_min: 30.0,
            flag_score_min: 70.0,
            language: Language::Es,
        }
    }
}

/// Is a policy value that a condition can read as `policy.<name>`, with the value of the session's tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyField {
    HomeCountries,
    DeadlineMs,
    RequiredSignals,
    ReviewScoreMin,
    FlagScoreMin,
    Language,
}

impl PolicyField {
    pub(crate) const ALL: [PolicyField; 6] = [
        PolicyField::HomeCountries,
        PolicyField::DeadlineMs,
        PolicyField::RequiredSignals,
        PolicyField::ReviewScoreMin,
        PolicyField::FlagScoreMin,
        PolicyField::Language,
    ];

    /// Returns the name as conditions and texts write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PolicyField::HomeCountries => "policy.home_countries",
            PolicyField::DeadlineMs => "policy.deadline_ms",
            PolicyField::RequiredSignals => "policy.required_signals",
            PolicyField::ReviewScoreMin => "policy.review_score_min",
            PolicyField::FlagScoreMin => "policy.flag_score_min",
            PolicyField::Language => "policy.language",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<PolicyField> {
        PolicyField::ALL.into_iter().find(|field| field.name() == name)
    }

    pub(crate) fn value_type(self) -> Type {
        match self {
            PolicyField::HomeCountries | PolicyField::RequiredSignals => Type::TextList,
            PolicyField::DeadlineMs => Type::Int,
            PolicyField::ReviewScoreMin | PolicyField::FlagScoreMin => Type::Double,
            PolicyField::Language => Type::Text,
        }
    }

    pub(crate) fn value(self, policy: &Policy) -> Value<'_> {
        match self {
            PolicyField::HomeCountries => Value::TextList(&policy.home_countries),
            PolicyField::DeadlineMs => Value::Int(policy.deadline_ms),
            PolicyField::RequiredSignals => Value::TextList(&policy.required_signals),
            PolicyField::ReviewScoreMin => Value::Double(policy.review_score_min),
            PolicyField::FlagScoreMin => Value::Double(policy.flag_score_min),
            PolicyField::Language => Value::Text(policy.language.as_str()),
        }
    }
}
