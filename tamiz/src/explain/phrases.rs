//! The words of an account, in each language. Words that are not listed stand as they are: a newer process may know
//! more than this one.

use super::Language;

/// Words of a record, and what they mean.
type Words = &'static [(&'static str, &'static str)];

/// What an account says in one language.
pub(super) struct Phrases {
    /// Name of the member of a text in this language.
    pub code: &'static str,
    pub outcomes: Words,
    pub next_actions: Words,
    pub causes: Words,
    pub severities: Words,
    pub statuses: Words,
    pub changes: Words,
    pub session: &'static str,
    pub tenant: &'static str,
    pub account: &'static str,
    pub risk: &'static str,
    pub of_hundred: &'static str,
    pub next_step: &'static str,
    pub decided: &'static str,
    pub occasion: &'static str,
    pub revision: &'static str,
    pub of: &'static str,
    pub echoed: &'static str,
    pub event_time: &'static str,
    pub flags: &'static str,
    pub why: &'static str,
    pub no_reasons: &'static str,
    pub weight: &'static str,
    pub seen: &'static str,
    pub score: &'static str,
    pub score_one: &'static str,
    pub score_many: &'static str,
    pub score_none: &'static str,
    pub score_banded: &'static str,
    pub without: &'static str,
    pub undecided: &'static str,
    pub lacking: &'static str,
    pub signals: &'static str,
    pub not_known: &'static str,
    pub versions: &'static str,
    pub rule_set: &'static str,
    pub data: &'static str,
    pub operators: &'static str,
    pub revisions: &'static str,
    pub changed: &'static str,
    pub not_found: &'static str,
    pub yes: &'static str,
    pub no: &'static str,
    pub unknown: &'static str,
}

impl Phrases {
    /// Returns the words of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::En => &ENGLISH,
            Language::Es => &SPANISH,
        }
    }
}

/// Returns what a word means, or the word where it is not known.
pub(super) fn meaning(words: Words, word: &str) -> &str {
    words.iter().find(|(known, _)| *known == word).map_or(word, |(_, meaning)| meaning)
}

static ENGLISH: Phrases = Phrases {
    code: "en",
    outcomes: &[("pass", "PASS"), ("review", "REVIEW"), ("flag", "FLAG")],
    next_actions: &[
        ("approve", "let the session go on"),
        ("manual_review", "let a person look at it"),
        ("hold", "hold the session and investigate"),
        ("retake_selfie", "ask for another selfie"),
        ("retake_document", "ask for another picture of the document"),
        ("correct_field", "ask the person to correct what was entered"),
    ],
    causes: &[
        ("all_signals", "every expected signal was there"),
        ("deadline", "the deadline passed before every expected signal was there"),
        ("stage", "a later stage of the session came"),
        ("late_signal", "a signal came after the decision before"),
        ("link", "another session was found to be linked with it"),
        ("report", "a report about it came"),
    ],
    severities: &[
        ("evidence", "evidence: counts in the score only"),
        ("review", "asks for a review"),
        ("flag", "asks to hold the session"),
    ],
    statuses: &[
        ("ok", "ok"),
        ("missing", "had not come in time"),
        ("not_configured", "not set up here"),
        ("not_applicable", "does not apply"),
        ("failed", "failed"),
    ],
    changes: &[
        ("inputs", "what the session says"),
        ("decision", "outcome"),
        ("risk_score", "score"),
        ("next_action", "next step"),
        ("reasons", "reasons"),
        ("not_evaluated", "missing signals"),
        ("complete", "completeness"),
        ("rule_set", "rules"),
    ],
    session: "Session",
    tenant: "tenant",
    account: "account",
    risk: "risk",
    of_hundred: "of 100",
    next_step: "Next step",
    decided: "Decided",
    occasion: "Occasion",
    revision: "revision",
    of: "of",
    echoed: "Known to you as",
    event_time: "It happened",
    flags: "Flags",
    why: "Why",
    no_reasons: "No rule fired.",
    weight: "weight",
    seen: "seen",
    score: "How the score comes about",
    score_one: "The one reason weighs",
    score_many: "Taken as independent of each other, the reasons together give",
    score_none: "Without a reason the score is 0.",
    score_banded: "So that score and outcome never contradict each other, it is told as",
    without: "What the decision had to do without",
    undecided: "Rules that could not be judged",
    lacking: "for want of",
    signals: "What was seen",
    not_known: "not known",
    versions: "What it was made with",
    rule_set: "rules",
    data: "data",
    operators: "operators",
    revisions: "Revisions",
    changed: "changed",
    not_found: "not among the decisions at hand",
    yes: "yes",
    no: "no",
    unknown: "not known",
};

static SPANISH: Phrases = Phrases {
    code: "es",
    outcomes: &[("pass", "APROBADA"), ("review", "EN REVISIÓN"), ("flag", "EN ALERTA")],
    next_actions: &[
        ("approve", "dejar que la sesión continúe"),
        ("manual_review", "pedir a una persona que la revise"),
        ("hold", "retener la sesión e investigar"),
        ("retake_selfie", "pedir otra selfie"),
        ("retake_document", "pedir otra imagen del documento"),
        ("correct_field", "pedir a la persona que corrija lo que capturó"),
    ],
    causes: &[
        ("all_signals", "estaban todas las señales esperadas"),
        ("deadline", "venció el plazo antes de que llegaran todas las señales esperadas"),
        ("stage", "llegó una etapa posterior de la sesión"),
        ("late_signal", "llegó una señal después de la decisión anterior"),
        ("link", "se encontró otra sesión vinculada con ella"),
        ("report", "llegó un reporte sobre ella"),
    ],
    severities: &[
        ("evidence", "indicio: solo cuenta en la puntuación"),
        ("review", "pide una revisión"),
        ("flag", "pide retener la sesión"),
    ],
    statuses: &[
        ("ok", "ok"),
        ("missing", "no llegó a tiempo"),
        ("not_configured", "no está configurada aquí"),
        ("not_applicable", "no aplica"),
        ("failed", "falló"),
    ],
    changes: &[
        ("inputs", "los datos de la sesión"),
        ("decision", "el resultado"),
        ("risk_score", "la puntuación"),
        ("next_action", "el siguiente paso"),
        ("reasons", "los motivos"),
        ("not_evaluated", "las señales que faltan"),
        ("complete", "si está completa"),
        ("rule_set", "las reglas"),
    ],
    session: "Sesión",
    tenant: "cliente",
    account: "cuenta",
    risk: "riesgo",
    of_hundred: "de 100",
    next_step: "Siguiente paso",
    decided: "Decidida",
    occasion: "Ocasión",
    revision: "revisión",
    of: "de",
    echoed: "Sus referencias",
    event_time: "Ocurrió",
    flags: "Banderas",
    why: "Por qué",
    no_reasons: "No se activó ninguna regla.",
    weight: "peso",
    seen: "visto",
    score: "Cómo se forma la puntuación",
    score_one: "El único motivo pesa",
    score_many: "Tomados como independientes entre sí, los motivos juntos dan",
    score_none: "Sin motivos, la puntuación es 0.",
    score_banded: "Para que puntuación y resultado nunca se contradigan, se informa como",
    without: "Lo que la decisión no pudo considerar",
    undecided: "Reglas que no se pudieron evaluar",
    lacking: "por falta de",
    signals: "Lo que se vio",
    not_known: "se desconoce",
    versions: "Con qué se hizo",
    rule_set: "reglas",
    data: "datos",
    operators: "operadores",
    revisions: "Revisiones",
    changed: "cambió",
    not_found: "no está entre las decisiones a la mano",
    yes: "sí",
    no: "no",
    unknown: "se desconoce",
};

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Cause, NextAction, Outcome, Severity, SignalStatus};

    #[test]
    fn every_word_of_the_schemas_has_a_meaning_in_both_languages() {
        for phrases in [&ENGLISH, &SPANISH] {
            for (words, symbols) in [
                (phrases.outcomes, Outcome::SYMBOLS),
                (phrases.next_actions, NextAction::SYMBOLS),
                (phrases.causes, Cause::SYMBOLS),
                (phrases.severities, Severity::SYMBOLS),
                (phrases.statuses, SignalStatus::SYMBOLS),
            ] {
                for symbol in symbols {
                    assert!(words.iter().any(|(known, _)| known == symbol), "{} {symbol}", phrases.code);
                }
            }
        }
        assert_eq!(meaning(ENGLISH.causes, "something_new"), "something_new");
    }
}
