use std::fmt;

/// Most characters of one name in a path; a hostile name shall not fill the logs.
const NAME_CHARS_MAX: usize = 64;

/// Where in a session something stands. It borrows from the reader's stack, so that a path costs nothing until it is
/// written down.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Whole,
    Field { written: &'a str, canonical: &'a str },
    Item(usize),
}

impl<'a> At<'a> {
    pub(super) const WHOLE: At<'static> = At { parent: None, step: Step::Whole };

    /// Returns the place of a member that has another name than the schema's.
    pub(super) fn alias(&'a self, written: &'a str, canonical: &'a str) -> At<'a> {
        At { parent: Some(self), step: Step::Field { written, canonical } }
    }

    pub(super) fn field(&'a self, name: &'a str) -> At<'a> {
        self.alias(name, name)
    }

    pub(super) fn item(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), step: Step::Item(index) }
    }

    /// Tells whether it is an item of a list, or stands within one.
    pub(super) fn is_in_list(&self) -> bool {
        matches!(self.step, Step::Item(_)) || self.parent.is_some_and(At::is_in_list)
    }

    /// Returns the path in the schema's names, whole and as [`Session::cleared`](crate::Session) has it.
    pub(super) fn canonical_path(&self) -> String {
        let before = self.parent.map(At::canonical_path).unwrap_or_default();
        match self.step {
            Step::Whole => before,
            Step::Field { canonical, .. } if before.is_empty() => canonical.to_owned(),
            Step::Field { canonical, .. } => format!("{before}.{canonical}"),
            Step::Item(index) => format!("{before}[{index}]"),
        }
    }
}

/// Writes the path as its author wrote it, names cut short and without control characters.
impl fmt::Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(out)?;
        }
        match self.step {
            Step::Whole => Ok(()),
            Step::Item(index) => write!(out, "[{index}]"),
            Step::Field { written, .. } => {
                let first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Whole));
                write!(out, "{}{}", if first { "" } else { "." }, cut(written))
            }
        }
    }
}

/// Returns a name as it may stand in a message.
fn cut(name: &str) -> String {
    let mut text: String = name.chars().take(NAME_CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_fields_and_items() {
        let whole = At::WHOLE;
        let list = whole.field("attachments");
        let item = list.item(2);
        assert_eq!(item.field("kind").to_string(), "attachments[2].kind");
        let name = whole.field("name");
        let alias = name.alias("first_name", "given_names");
        assert_eq!(alias.to_string(), "name.first_name");
        assert_eq!(alias.canonical_path(), "name.given_names");
        assert_eq!(whole.to_string(), "");
    }

    #[test]
    fn a_hostile_name_is_cut_and_escaped() {
        let name = format!("a\n{}", "é".repeat(100_000));
        let text = At::WHOLE.field(&name).to_string();
        assert!(text.starts_with("a\\né") && text.ends_with('…'), "{text}");
        assert!(text.chars().count() < NAME_CHARS_MAX + 8);
    }
}
