//! Text for people: columns, wrapped lines, colours where they are wanted, and nothing that could steer a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// Characters of a line that is wrapped.
pub const LINE_CHARS_MAX: usize = 100;

/// Returns a text with every control character in its escaped form.
///
/// Ids and reasons come from outside: a terminal that obeyed their escape sequences could be made to show anything.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if steers(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Tells whether a character moves the cursor, or turns the direction of the text around.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As texts do.
    Left,
    /// As numbers do.
    Right,
}

/// Writes rows in columns, each as wide as its widest cell; the last one takes what it needs.
pub fn columns(out: &mut dyn Write, sides: &[Side], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for ((cell, side), width) in row.iter().zip(sides).zip(&widths) {
            let padding = " ".repeat(width - cell.chars().count());
            match side {
                Side::Left => line.extend([cell.as_str(), &padding]),
                Side::Right => line.extend([&padding, cell.as_str()]),
            }
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Returns a text in lines of at most [`LINE_CHARS_MAX`] characters, the first after `first` and the others after as
/// many spaces. A word that is longer than a line stays whole, so that it can be copied.
pub fn wrapped(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let mut lines = String::from(first);
    let mut used = indent;
    let mut is_first_word = true;
    for word in text.split_whitespace() {
        let chars = word.chars().count();
        if is_first_word {
            is_first_word = false;
        } else if used + 1 + chars > LINE_CHARS_MAX {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        } else {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += chars;
    }
    lines
}

/// Colours of a terminal, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    is_coloured: bool,
}

impl Style {
    /// Returns the style of the standard output: coloured on a terminal, unless the environment asks for none
    /// (`NO_COLOR`, or a terminal that is `dumb`).
    pub fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { is_coloured: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// Returns a style without colours.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Returns a heading.
    pub fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }

    /// Returns what matters less.
    pub fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// Returns a text in the colour of an outcome or a severity.
    pub fn outcome(self, outcome: &str, text: &str) -> String {
        match outcome {
            "pass" => self.painted("32", text),
            "review" => self.painted("33", text),
            "flag" => self.painted("31", text),
            _ => text.to_owned(),
        }
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns a number with its noun, in the plural unless it is one.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

/// Returns the candidate that is likest to what was written, where one is like it.
pub fn likest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.75;
    let scored =
        candidates.into_iter().map(|candidate| (strsim::jaro_winkler(written, candidate), candidate));
    let (likeness, candidate) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= LIKENESS_MIN).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert!(matches!(plain("Peñón, 12 m²"), Cow::Borrowed(_)));
        assert_eq!(plain("a\x1b[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
        assert_eq!(plain("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["código", "n", "rest"], ["a", "100", "x"], ["bcd", "7", ""]];
        let rows: Vec<Vec<String>> = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let mut out = Vec::new();
        columns(&mut out, &[Side::Left, Side::Right, Side::Left], &rows).expect("a vector takes everything");
        assert_eq!(
            String::from_utf8(out).expect("it is UTF-8"),
            "código    n  rest\na       100  x\nbcd       7\n"
        );
    }

    #[test]
    fn long_texts_are_wrapped_at_words() {
        assert_eq!(wrapped("- ", "one  two"), "- one two");
        let text = "palabra ".repeat(30);
        let lines = wrapped("   ", &text);
        assert!(lines.lines().count() > 2);
        assert!(
            lines
                .lines()
                .all(|line| line.chars().count() <= LINE_CHARS_MAX && line.starts_with("   palabra"))
        );
        let long = "x".repeat(2 * LINE_CHARS_MAX);
        assert_eq!(wrapped("", &format!("a {long}")), format!("a\n{long}"));
    }

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        let coloured = Style { is_coloured: true };
        assert_eq!(coloured.outcome("flag", "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(coloured.outcome("other", "x"), "x");
        assert_eq!(Style::plain().bold("x"), "x");
    }

    #[test]
    fn the_likest_name_is_found() {
        assert_eq!(likest("decision", ["decisions", "sessions"]), Some("decisions"));
        assert_eq!(likest("zzz", ["decisions", "sessions"]), None);
    }
}
