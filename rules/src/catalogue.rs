//! The typed names that a rule may read.

use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::lexer::is_reserved_word;

/// Index of a catalogue entry; facts are asked for by it.
pub type Slot = usize;

/// The most entries a catalogue may hold.
pub const CATALOGUE_ENTRIES_MAX: usize = 4_096;

/// The first segment under which a rule set's own policy is readable, so no entry may start with it.
pub(crate) const POLICY_ROOT: &str = "policy";

/// Is the type of a catalogue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int,
    Double,
    Text,
    TextList,
}

impl Type {
    /// Returns the type's name as diagnostics print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Double => "double",
            Type::Text => "text",
            Type::TextList => "list of text",
        }
    }
}

/// Describes one name: its type and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Dotted, lower case: `geo.location.inside_prison`.
    pub name: String,
    pub value_type: Type,
    pub doc: String,
}

impl Entry {
    /// Makes an entry.
    pub fn new(name: impl Into<String>, value_type: Type, doc: impl Into<String>) -> Self {
        Entry { name: name.into(), value_type, doc: doc.into() }
    }
}

/// Says why a list of entries is no catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CatalogueError {
    #[error("catalogue has {count} entries, more than {CATALOGUE_ENTRIES_MAX}")]
    TooManyEntries { count: usize },
    #[error(
        "catalogue name {name:?} is not segments of lower-case letters, digits and underscores joined by dots"
    )]
    InvalidName { name: String },
    #[error("catalogue name {name:?} uses the reserved word {word:?}")]
    ReservedWord { name: String, word: String },
    #[error("catalogue has the name {name:?} twice")]
    DuplicateName { name: String },
    #[error("catalogue name {name:?} is both a value and a group of values")]
    GroupIsValue { name: String },
}

/// Maps names to slots and types.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    slots: FxHashMap<String, Slot>,
}

impl Catalogue {
    /// Makes a catalogue in which the slot of a name is its place in `entries`.
    ///
    /// Names must be unique, and none may be a dotted prefix of another, because an expression could then not
    /// tell a value from a group.
    pub fn new(entries: Vec<Entry>) -> Result<Self, CatalogueError> {
        if entries.len() > CATALOGUE_ENTRIES_MAX {
            return Err(CatalogueError::TooManyEntries { count: entries.len() });
        }
        let mut slots = FxHashMap::default();
        for (slot, entry) in entries.iter().enumerate() {
            check_name(&entry.name)?;
            if slots.insert(entry.name.clone(), slot).is_some() {
                return Err(CatalogueError::DuplicateName { name: entry.name.clone() });
            }
        }
        for entry in &entries {
            for (dot, _) in entry.name.match_indices('.') {
                let group = &entry.name[..dot];
                if slots.contains_key(group) {
                    return Err(CatalogueError::GroupIsValue { name: group.to_owned() });
                }
            }
        }
        Ok(Catalogue { entries, slots })
    }

    /// Returns the slot of a name.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    /// Returns all entries in slot order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns whether some entry lies below this dotted prefix.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry.name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.') && !group.is_empty())
        })
    }

    /// Returns the first segments of all names, each once, in slot order.
    pub(crate) fn roots(&self) -> Vec<&str> {
        let mut roots = Vec::new();
        for entry in &self.entries {
            let root = root_of(&entry.name);
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }
}

/// Returns the segment before the first dot.
pub(crate) fn root_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn check_name(name: &str) -> Result<(), CatalogueError> {
    for segment in name.split('.') {
        let mut bytes = segment.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !starts_well || !goes_on_well {
            return Err(CatalogueError::InvalidName { name: name.to_owned() });
        }
        if is_reserved_word(segment) {
            return Err(CatalogueError::ReservedWord { name: name.to_owned(), word: segment.to_owned() });
        }
    }
    if root_of(name) == POLICY_ROOT {
        return Err(CatalogueError::ReservedWord { name: name.to_owned(), word: POLICY_ROOT.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(names: &[&str]) -> Result<Catalogue, CatalogueError> {
        Catalogue::new(names.iter().map(|name| Entry::new(*name, Type::Bool, "")).collect())
    }

    #[test]
    fn slots_are_places_in_the_list() {
        let catalogue = catalogue(&["ip.tor", "ip.vpn"]).expect("both names are valid");
        assert_eq!(catalogue.slot("ip.vpn"), Some(1));
        assert_eq!(catalogue.slot("ip"), None);
        assert!(catalogue.has_group("ip"));
        assert!(!catalogue.has_group("i"));
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "Ip.tor", "ip..tor", ".ip", "ip.", "1ip", "ip.tór", "ip tor"] {
            assert_eq!(
                catalogue(&[name]).expect_err(name),
                CatalogueError::InvalidName { name: name.to_owned() }
            );
        }
        assert!(matches!(catalogue(&["a.in"]), Err(CatalogueError::ReservedWord { .. })));
        assert!(matches!(catalogue(&["policy.x"]), Err(CatalogueError::ReservedWord { .. })));
        assert!(matches!(catalogue(&["a", "a"]), Err(CatalogueError::DuplicateName { .. })));
        assert!(matches!(catalogue(&["a.b.c", "a.b"]), Err(CatalogueError::GroupIsValue { .. })));
    }
}
