//! Rule sets by hash, and the catalogue of all that a rule may read.

use rules::{Catalogue, Entry, RuleSet, Type};
use schemas::{LeafKind, Message, TopicSpec};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// The rule set that is in force before any other is published.
pub const DEFAULT_RULES: &str = include_str!("../../../rules/sets/default.toml");

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let entry = |leaf: schemas::Leaf| {
        let value_type = match leaf.kind {
            LeafKind::Bool => Type::Bool,
            LeafKind::Int => Type::Int,
            LeafKind::Double => Type::Double,
            LeafKind::Text => Type::Text,
            LeafKind::TextList => Type::TextList,
        };
        Entry::new(leaf.name, value_type, leaf.doc)
    };
    let entries = schemas::session_leaves().into_iter().map(entry).collect();
    // The schemas are compiled in, and a test loads the catalogue.
    Catalogue::new(entries).unwrap_or_else(|error| panic!("the schemas give no catalogue: {error}"))
});

/// Returns the catalogue of all that a rule may read: `session.…` and each signal under its name, made from the
/// schemas.
pub fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

/// Rule sets by hash. A hash stands for one content for ever, so that reading it here is a pure function.
pub struct RuleLibrary {
    built_in: Arc<RuleSet>,
    loaded: RwLock<HashMap<String, Arc<RuleSet>>>,
}

impl Default for RuleLibrary {
    fn default() -> Self {
        // The text is compiled in, and a test loads it.
        let built_in = RuleSet::load(DEFAULT_RULES, catalogue())
            .unwrap_or_else(|error| panic!("the built-in rules: {error}"));
        Self::new(built_in)
    }
}

impl RuleLibrary {
    /// Makes a library with the rule set that is in force before any other is published.
    pub fn new(built_in: RuleSet) -> Self {
        Self { built_in: Arc::new(built_in), loaded: RwLock::default() }
    }

    /// Returns a loaded rule set, or the built-in one where no hash is given.
    ///
    /// # Panics
    ///
    /// Where the hash is not loaded: the runtime loads it before it hands over anything that needs it.
    pub fn get(&self, hash: Option<&str>) -> Arc<RuleSet> {
        let Some(hash) = hash else { return Arc::clone(&self.built_in) };
        self.find(hash).unwrap_or_else(|| panic!("rule set {hash} was to be loaded before its marker"))
    }

    fn find(&self, hash: &str) -> Option<Arc<RuleSet>> {
        if self.built_in.hash() == hash {
            return Some(Arc::clone(&self.built_in));
        }
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }
}

impl pipeline::Library for RuleLibrary {
    fn kind(&self) -> &'static str {
        crate::RULES_CONTROL
    }

    fn topic(&self) -> &'static TopicSpec {
        &schemas::topic::RULES
    }

    fn has(&self, hash: &str) -> bool {
        self.find(hash).is_some()
    }

    fn load(&self, message: &Message) -> Result<(), String> {
        let Message::RuleSetRecord(record) = message else {
            return Err("the record is not a rule set".into());
        };
        let rules = RuleSet::load(&record.source, catalogue()).map_err(|error| error.to_string())?;
        if rules.hash() != record.hash {
            return Err(format!("its content has the hash {}", rules.hash()));
        }
        self.loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.hash.clone(), Arc::new(rules));
        Ok(())
    }
}
