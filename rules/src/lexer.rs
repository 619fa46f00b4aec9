//! Cuts an expression into tokens.

use crate::diagnostic::{Problem, Span};

/// Words that are part of the language or that CEL keeps for later, so they can name nothing.
const RESERVED_WORDS: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Returns whether a word cannot be a name.
pub(crate) fn is_reserved_word(word: &str) -> bool {
    RESERVED_WORDS.contains(&word)
}

/// Is a piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) form: TokenForm,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenForm {
    /// A magnitude; a minus sign is a token of its own, and only the parser can tell which it is.
    Int(u64),
    Double(f64),
    Text(String),
    Word(String),
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "<", ">", "+",
    "-", "*", "/",
];

/// Cuts the text into tokens; the last is always `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let token = lexer.token()?;
        let is_end = token.form == TokenForm::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn span_from(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    /// Moves over white space and `//` comments.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else {
            return Ok(Token { form: TokenForm::End, span: Span::new(start, start) });
        };
        let second = chars.next();
        let form = if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
            self.number()?
        } else if matches!(first, '"' | '\'') {
            self.text_literal(false)?
        } else if matches!(first, 'r' | 'R') && matches!(second, Some('"' | '\'')) {
            self.at += 1;
            self.text_literal(true)?
        } else if matches!(first, 'b' | 'B') && matches!(second, Some('"' | '\'')) {
            return Err(Problem::new(Span::new(start, start + 1), "bytes are not supported")
                .with_suggestion("write a text without the prefix"));
        } else if first.is_ascii_alphabetic() || first == '_' {
            self.word()
        } else {
            self.symbol(first)?
        };
        Ok(Token { form, span: self.span_from(start) })
    }

    fn word(&mut self) -> TokenForm {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        TokenForm::Word(rest[..end].to_owned())
    }

    fn symbol(&mut self, first: char) -> Result<TokenForm, Problem> {
        let rest = self.rest();
        if first == '%' {
            self.at += 1;
            return Ok(TokenForm::Symbol("%"));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(TokenForm::Symbol(symbol));
        }
        let span = Span::new(self.at, self.at + first.len_utf8());
        let problem = Problem::new(span, format!("unexpected character {first:?}"));
        Err(match first {
            '=' => problem.with_suggestion("compare with `==`"),
            '&' => problem.with_suggestion("write `&&`"),
            '|' => problem.with_suggestion("write `||`"),
            '“' | '”' | '‘' | '’' | '«' | '»' => {
                problem.with_suggestion("quote texts with ' or \"")
            }
            _ => problem,
        })
    }

    fn number(&mut self) -> Result<TokenForm, Problem> {
        let start = self.at;
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.at += 2;
            let digits = self.take_while(|byte| byte.is_ascii_hexdigit());
            let value = u64::from_str_radix(digits, 16);
            self.refuse_number_tail(start)?;
            return value.map(TokenForm::Int).map_err(|_| {
                Problem::new(self.span_from(start), "hexadecimal number is empty or too large")
            });
        }
        self.take_while(|byte| byte.is_ascii_digit());
        let mut is_double = false;
        let after = self.rest().as_bytes();
        if after.first() == Some(&b'.') && after.get(1).is_some_and(u8::is_ascii_digit) {
            is_double = true;
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        if let Some(length) = exponent_prefix_length(self.rest().as_bytes()) {
            is_double = true;
            self.at += length;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let written = &self.text[start..self.at];
        self.refuse_number_tail(start)?;
        if is_double {
            return match written.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(TokenForm::Double(value)),
                _ => Err(Problem::new(self.span_from(start), "number is too large for a double")),
            };
        }
        written
            .parse::<u64>()
            .map(TokenForm::Int)
            .map_err(|_| Problem::new(self.span_from(start), "number is too large for an int"))
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| !keep(byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Refuses `12ab`, `1.` and the unsigned `12u`, which would otherwise give a puzzling error later.
    fn refuse_number_tail(&mut self, start: usize) -> Result<(), Problem> {
        let Some(next) = self.rest().chars().next() else {
            return Ok(());
        };
        if matches!(next, 'u' | 'U') {
            return Err(Problem::new(Span::new(start, self.at + 1), "unsigned numbers are not supported")
                .with_suggestion("write the number without `u`"));
        }
        if next.is_ascii_alphanumeric() || next == '_' {
            return Err(Problem::new(Span::new(start, self.at + 1), "malformed number"));
        }
        if next == '.' && !self.rest()[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(Problem::new(Span::new(start, self.at + 1), "malformed number")
                .with_suggestion("write a digit on both sides of the point"));
        }
        Ok(())
    }

    fn text_literal(&mut self, raw: bool) -> Result<TokenForm, Problem> {
        let start = self.at;
        let quote = &self.rest()[..1];
        let triple = self.rest().starts_with(&quote.repeat(3));
        let delimiter = if triple { quote.repeat(3) } else { quote.to_owned() };
        self.at += delimiter.len();
        let mut value = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(&delimiter) {
                self.at += delimiter.len();
                return Ok(TokenForm::Text(value));
            }
            match rest.chars().next() {
                None => return Err(Problem::new(Span::new(start, start + 1), "text is not closed")),
                Some('\n' | '\r') if !triple => {
                    return Err(Problem::new(Span::new(start, start + 1), "text is not closed on its line")
                        .with_suggestion("write a line break as \\n"));
                }
                Some('\\') if !raw => value.push(self.escape()?),
                Some(character) => {
                    value.push(character);
                    self.at += character.len_utf8();
                }
            }
        }
    }

    /// Reads one escape; `at` stands on its backslash.
    fn escape(&mut self) -> Result<char, Problem> {
        let start = self.at;
        self.at += 1;
        let Some(letter) = self.rest().chars().next() else {
            return Err(Problem::new(Span::new(start, self.at), "text is not closed"));
        };
        self.at += letter.len_utf8();
        let simple = match letter {
            '\\' | '"' | '\'' | '`' | '?' => Some(letter),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            _ => None,
        };
        if let Some(character) = simple {
            return Ok(character);
        }
        let (radix, digit_count) = match letter {
            'x' | 'X' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='3' => {
                self.at -= 1;
                (8, 3)
            }
            _ => {
                return Err(Problem::new(self.span_from(start), format!("unknown escape \\{letter}"))
                    .with_suggestion("write a backslash as \\\\, or the text as r'…'"));
            }
        };
        let digits = self.rest().get(..digit_count).unwrap_or_default();
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        let code = if is_number { u32::from_str_radix(digits, radix).ok() } else { None };
        match code.and_then(char::from_u32) {
            Some(character) => {
                self.at += digit_count;
                Ok(character)
            }
            None => Err(Problem::new(self.span_from(start), "escape is not the code of a character")),
        }
    }
}

/// Returns the length of `e`, `e+` or `e-` if a digit follows it.
fn exponent_prefix_length(bytes: &[u8]) -> Option<usize> {
    if !matches!(bytes.first(), Some(b'e' | b'E')) {
        return None;
    }
    let length = if matches!(bytes.get(1), Some(b'+' | b'-')) { 2 } else { 1 };
    bytes.get(length).is_some_and(u8::is_ascii_digit).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<TokenForm> {
        let tokens = tokens(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        tokens.into_iter().map(|token| token.form).filter(|form| *form != TokenForm::End).collect()
    }

    fn problem(text: &str) -> Problem {
        tokens(text).expect_err(text)
    }

    #[test]
    fn numbers() {
        assert_eq!(forms("12 0x1F"), [TokenForm::Int(12), TokenForm::Int(31)]);
        assert_eq!(forms("1.5 .5 2e3 2.5E-1"), [1.5, 0.5, 2000.0, 0.25].map(TokenForm::Double).to_vec(),);
        assert_eq!(forms("9223372036854775808"), [TokenForm::Int(1 << 63)]);
        for text in ["1u", "1.", "12ab", "1e400", "99999999999999999999", "0x", "1_000"] {
            problem(text);
        }
    }

    #[test]
    fn texts_and_escapes() {
        for (source, expected) in [
            (r#"'it''s'"#, vec!["it", "s"]),
            (r#""a\n\t\\\"""#, vec!["a\n\t\\\""]),
            (r#"'\x41\u00e9\U0001F600\101'"#, vec!["Aé😀A"]),
            (r#"r'\d+\.'"#, vec![r"\d+\."]),
            ("'''a\n'b'c'''", vec!["a\n'b'c"]),
            ("\"\"\"x\"y\"\"\"", vec!["x\"y"]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|text| TokenForm::Text(text.to_owned())).collect();
            assert_eq!(forms(source), expected, "{source}");
        }
        for text in ["'abc", "'a\nb'", r"'\q'", r"'\ud800'", r"'\x4'", "'''a''", "b'x'", "'\\"] {
            problem(text);
        }
    }

    #[test]
    fn symbols_words_and_comments() {
        assert_eq!(
            forms("a<=b // till the end\n&&!c"),
            [
                TokenForm::Word("a".into()),
                TokenForm::Symbol("<="),
                TokenForm::Word("b".into()),
                TokenForm::Symbol("&&"),
                TokenForm::Symbol("!"),
                TokenForm::Word("c".into()),
            ]
        );
        assert_eq!(problem("a = b").suggestion.as_deref(), Some("compare with `==`"));
        assert_eq!(problem("a & b").span, Span::new(2, 3));
        assert!(problem("é").message.contains("'é'"));
    }
}
