//! How far long work is, on the standard error: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two looks of a person at a line.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
/// Time between two lines of a log that is kept.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Tells how far long work is.
pub struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    shown_at: Instant,
    /// A line stands on the terminal that the next one replaces.
    has_line: bool,
}

impl Progress {
    /// Makes one that tells nothing where it is to be quiet.
    pub fn new(is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: io::stderr().is_terminal(), shown_at: Instant::now(), has_line: false }
    }

    /// Shows how far the work is, if the last time is some while ago.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let interval = if self.is_terminal { TERMINAL_INTERVAL } else { LINE_INTERVAL };
        if self.is_quiet || self.shown_at.elapsed() < interval {
            return;
        }
        self.shown_at = Instant::now();
        let text = text();
        // Work does not fail because nobody can be told how far it is.
        let _ = if self.is_terminal {
            self.has_line = true;
            write!(io::stderr(), "\r\x1b[K{text}").and_then(|()| io::stderr().flush())
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }

    /// Writes a line that stays, unless it is to be quiet.
    pub fn note(&mut self, text: &str) {
        if !self.is_quiet {
            self.tell(text);
        }
    }

    /// Writes a line that stays, quiet or not: a problem is always told.
    pub fn tell(&mut self, text: &str) {
        self.clear();
        // As above: the exit code tells too.
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
