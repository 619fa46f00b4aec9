//! Makes a syntax tree from an expression, within limits that keep every later recursion shallow.

use crate::diagnostic::{Problem, Span};
use crate::lexer::{Token, TokenForm, is_reserved_word, tokens};

/// The longest expression, in characters.
pub const EXPRESSION_CHARS_MAX: usize = 4_096;

/// The deepest nesting of an expression.
pub const NESTING_MAX: usize = 64;

/// Is a part of an expression, as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Syntax {
    pub(crate) form: SyntaxForm,
    pub(crate) span: Span,
    /// Height of the tree below and including this node; bounded by `NESTING_MAX`.
    height: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SyntaxForm {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Syntax>),
    /// A dotted name; spaces around the dots are dropped.
    Name(String),
    Not(Box<Syntax>),
    Negate(Box<Syntax>),
    /// Two or more operands of `&&`, flat, so that a long chain is not a deep tree.
    All(Vec<Syntax>),
    Any(Vec<Syntax>),
    Binary(Operator, Box<Syntax>, Box<Syntax>),
    Conditional(Box<[Syntax; 3]>),
    Call(Box<Call>),
}

/// Is `function(arguments)` or `receiver.function(arguments)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) function_span: Span,
    pub(crate) receiver: Option<Syntax>,
    pub(crate) arguments: Vec<Syntax>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::In => "in",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        }
    }
}

/// Parses an expression; the problem returned is the first one.
pub(crate) fn parse(text: &str) -> Result<Syntax, Problem> {
    if text.chars().count() > EXPRESSION_CHARS_MAX {
        return Err(Problem::new(
            Span::new(0, 0),
            format!("expression is longer than {EXPRESSION_CHARS_MAX} characters"),
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    if parser.peek() == &TokenForm::End {
        return Err(Problem::new(Span::new(0, 0), "expression is empty"));
    }
    let syntax = parser.conditional()?;
    if parser.peek() != &TokenForm::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    Ok(syntax)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// Calls of `conditional` and `unary` that are open, which bounds the parser's own recursion.
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &TokenForm {
        &self.tokens[self.at].form
    }

    fn span(&self) -> Span {
        self.tokens[self.at].span
    }

    /// Returns the current token and moves on; the last token, `End`, is never left.
    fn take(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if token.form != TokenForm::End {
            self.at += 1;
        }
        token
    }

    fn take_symbol(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == &TokenForm::Symbol(symbol);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect_symbol(&mut self, symbol: &'static str) -> Result<Span, Problem> {
        let span = self.span();
        if self.take_symbol(symbol) { Ok(span) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Problem {
        let found = match self.peek() {
            TokenForm::End => "the end".to_owned(),
            TokenForm::Int(_) | TokenForm::Double(_) => "a number".to_owned(),
            TokenForm::Text(_) => "a text".to_owned(),
            TokenForm::Word(word) => format!("`{word}`"),
            TokenForm::Symbol(symbol) => format!("`{symbol}`"),
        };
        let problem = Problem::new(self.span(), format!("expected {expected}, found {found}"));
        match self.peek() {
            TokenForm::Word(word) if word == "and" => problem.with_suggestion("write `&&`"),
            TokenForm::Word(word) if word == "or" => problem.with_suggestion("write `||`"),
            TokenForm::Word(word) if word == "not" => problem.with_suggestion("write `!`"),
            _ => problem,
        }
    }

    fn enter(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        // A nesting level of the source opens at most two calls: one of `conditional`, one of `unary`.
        if self.depth > 2 * NESTING_MAX { Err(too_deep(self.span())) } else { Ok(()) }
    }

    fn conditional(&mut self) -> Result<Syntax, Problem> {
        self.enter()?;
        let condition = self.any()?;
        let syntax = if self.take_symbol("?") {
            let then = self.any()?;
            self.expect_symbol(":")?;
            let otherwise = self.conditional()?;
            let span = condition.span.to(otherwise.span);
            let height = height_of([&condition, &then, &otherwise]);
            node(SyntaxForm::Conditional(Box::new([condition, then, otherwise])), span, height)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(syntax)
    }

    fn any(&mut self) -> Result<Syntax, Problem> {
        self.chain("||", Parser::all, SyntaxForm::Any)
    }

    fn all(&mut self) -> Result<Syntax, Problem> {
        self.chain("&&", |parser| parser.binary(0), SyntaxForm::All)
    }

    fn chain(
        &mut self,
        symbol: &'static str,
        operand: impl Fn(&mut Parser) -> Result<Syntax, Problem>,
        form: impl Fn(Vec<Syntax>) -> SyntaxForm,
    ) -> Result<Syntax, Problem> {
        let first = operand(self)?;
        if self.peek() != &TokenForm::Symbol(symbol) {
            return Ok(first);
        }
        let start = first.span;
        let mut end = first.span;
        let mut operands = vec![first];
        while self.take_symbol(symbol) {
            let next = operand(self)?;
            end = next.span;
            operands.push(next);
        }
        let height = height_of(&operands);
        node(form(operands), start.to(end), height)
    }

    /// Parses left-associative operators that bind at least as tightly as `level`.
    fn binary(&mut self, level: u8) -> Result<Syntax, Problem> {
        let mut left = self.unary()?;
        while let Some((operator, operator_level)) = operator_of(self.peek()) {
            if operator_level < level {
                break;
            }
            self.take();
            let right = self.binary(operator_level + 1)?;
            let span = left.span.to(right.span);
            let height = height_of([&left, &right]);
            left = node(SyntaxForm::Binary(operator, Box::new(left), Box::new(right)), span, height)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Syntax, Problem> {
        self.enter()?;
        let start = self.span();
        let syntax = if self.take_symbol("!") {
            let operand = self.unary()?;
            let span = start.to(operand.span);
            let height = height_of([&operand]);
            node(SyntaxForm::Not(Box::new(operand)), span, height)?
        } else if self.take_symbol("-") {
            self.negative(start)?
        } else {
            self.postfix()?
        };
        self.depth -= 1;
        Ok(syntax)
    }

    /// Parses what follows a minus sign; a literal takes the sign in, because the magnitude of the least int
    /// is no int.
    fn negative(&mut self, minus: Span) -> Result<Syntax, Problem> {
        if let TokenForm::Int(magnitude) = *self.peek() {
            let span = minus.to(self.span());
            self.take();
            let value = 0_i64
                .checked_sub_unsigned(magnitude)
                .ok_or_else(|| Problem::new(span, "number is too large for an int"))?;
            return node(SyntaxForm::Int(value), span, 0);
        }
        let operand = self.unary()?;
        let span = minus.to(operand.span);
        let height = height_of([&operand]);
        node(SyntaxForm::Negate(Box::new(operand)), span, height)
    }

    fn postfix(&mut self) -> Result<Syntax, Problem> {
        let mut syntax = self.primary()?;
        loop {
            if self.peek() == &TokenForm::Symbol("[") {
                return Err(Problem::new(self.span(), "indexing is not supported")
                    .with_suggestion("use `in`, `exists` or `all` on lists"));
            }
            if !self.take_symbol(".") {
                return Ok(syntax);
            }
            let (member, member_span) = self.word("a name after `.`")?;
            if self.take_symbol("(") {
                let (arguments, close) = self.arguments(")")?;
                let span = syntax.span.to(close);
                let height = height_of(arguments.iter().chain([&syntax]));
                let call =
                    Call { function: member, function_span: member_span, receiver: Some(syntax), arguments };
                syntax = node(SyntaxForm::Call(Box::new(call)), span, height)?;
            } else if let SyntaxForm::Name(name) = &mut syntax.form {
                name.push('.');
                name.push_str(&member);
                syntax.span = syntax.span.to(member_span);
            } else {
                return Err(Problem::new(member_span, "only names have members"));
            }
        }
    }

    /// Takes a word that may be a name.
    fn word(&mut self, expected: &str) -> Result<(String, Span), Problem> {
        let span = self.span();
        match self.peek() {
            TokenForm::Word(word) if !is_reserved_word(word) => {
                let word = word.clone();
                self.take();
                Ok((word, span))
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn primary(&mut self) -> Result<Syntax, Problem> {
        let token = self.tokens[self.at].clone();
        let span = token.span;
        let form = match token.form {
            TokenForm::Int(magnitude) => SyntaxForm::Int(
                i64::try_from(magnitude).map_err(|_| Problem::new(span, "number is too large for an int"))?,
            ),
            TokenForm::Double(value) => SyntaxForm::Double(value),
            TokenForm::Text(value) => SyntaxForm::Text(value),
            TokenForm::Symbol("(") => return self.parenthesised(),
            TokenForm::Symbol("[") => return self.list(),
            TokenForm::Symbol("{") => return Err(Problem::new(span, "maps are not supported")),
            TokenForm::Word(word) => match word.as_str() {
                "true" => SyntaxForm::Bool(true),
                "false" => SyntaxForm::Bool(false),
                "null" => SyntaxForm::Null,
                "in" => return Err(self.unexpected("a value")),
                _ if is_reserved_word(&word) => {
                    return Err(Problem::new(span, format!("`{word}` is a reserved word")));
                }
                _ => return self.name_or_call(),
            },
            TokenForm::Symbol(_) | TokenForm::End => return Err(self.unexpected("a value")),
        };
        self.take();
        node(form, span, 0)
    }

    fn name_or_call(&mut self) -> Result<Syntax, Problem> {
        let (word, span) = self.word("a name")?;
        if !self.take_symbol("(") {
            return node(SyntaxForm::Name(word), span, 0);
        }
        let (arguments, close) = self.arguments(")")?;
        let height = height_of(&arguments);
        let call = Call { function: word, function_span: span, receiver: None, arguments };
        node(SyntaxForm::Call(Box::new(call)), span.to(close), height)
    }

    fn parenthesised(&mut self) -> Result<Syntax, Problem> {
        let open = self.expect_symbol("(")?;
        let mut syntax = self.conditional()?;
        let close = self.expect_symbol(")")?;
        // A name in parentheses takes no more members: `(a).b` is not `a.b`, and needs no meaning.
        if matches!(syntax.form, SyntaxForm::Name(_)) && self.peek() == &TokenForm::Symbol(".") {
            let is_call =
                matches!(self.tokens.get(self.at + 2).map(|token| &token.form), Some(TokenForm::Symbol("(")));
            if !is_call {
                return Err(Problem::new(self.span(), "only names have members"));
            }
        }
        syntax.span = open.to(close);
        Ok(syntax)
    }

    fn list(&mut self) -> Result<Syntax, Problem> {
        let open = self.expect_symbol("[")?;
        let (elements, close) = self.arguments("]")?;
        let height = height_of(&elements);
        node(SyntaxForm::List(elements), open.to(close), height)
    }

    /// Parses expressions up to the closing symbol; a list may end with a comma, arguments may not.
    fn arguments(&mut self, close: &'static str) -> Result<(Vec<Syntax>, Span), Problem> {
        let mut arguments = Vec::new();
        loop {
            let span = self.span();
            if (arguments.is_empty() || close == "]") && self.take_symbol(close) {
                return Ok((arguments, span));
            }
            arguments.push(self.conditional()?);
            let span_after = self.span();
            if self.take_symbol(close) {
                return Ok((arguments, span_after));
            }
            if !self.take_symbol(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }
}

fn operator_of(form: &TokenForm) -> Option<(Operator, u8)> {
    let symbol = match form {
        TokenForm::Symbol(symbol) => *symbol,
        TokenForm::Word(word) if word == "in" => "in",
        _ => return None,
    };
    Some(match symbol {
        "==" => (Operator::Equal, 0),
        "!=" => (Operator::NotEqual, 0),
        "<" => (Operator::Less, 0),
        "<=" => (Operator::LessOrEqual, 0),
        ">" => (Operator::Greater, 0),
        ">=" => (Operator::GreaterOrEqual, 0),
        "in" => (Operator::In, 0),
        "+" => (Operator::Add, 1),
        "-" => (Operator::Subtract, 1),
        "*" => (Operator::Multiply, 2),
        "/" => (Operator::Divide, 2),
        "%" => (Operator::Remainder, 2),
        _ => return None,
    })
}

fn height_of<'a>(children: impl IntoIterator<Item = &'a Syntax>) -> usize {
    children.into_iter().map(|child| child.height).max().unwrap_or(0)
}

fn node(form: SyntaxForm, span: Span, children_height: usize) -> Result<Syntax, Problem> {
    let height = children_height + 1;
    if height > NESTING_MAX { Err(too_deep(span)) } else { Ok(Syntax { form, span, height }) }
}

fn too_deep(span: Span) -> Problem {
    Problem::new(span, format!("expression is nested deeper than {NESTING_MAX} levels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tree in full parentheses, so that a test shows what binds to what.
    fn shape(syntax: &Syntax) -> String {
        let joined = |parts: &[Syntax], by: &str| parts.iter().map(shape).collect::<Vec<_>>().join(by);
        match &syntax.form {
            SyntaxForm::Null => "null".to_owned(),
            SyntaxForm::Bool(value) => value.to_string(),
            SyntaxForm::Int(value) => value.to_string(),
            SyntaxForm::Double(value) => format!("{value:?}"),
            SyntaxForm::Text(value) => format!("{value:?}"),
            SyntaxForm::List(elements) => format!("[{}]", joined(elements, ", ")),
            SyntaxForm::Name(name) => name.clone(),
            SyntaxForm::Not(operand) => format!("!{}", shape(operand)),
            SyntaxForm::Negate(operand) => format!("-{}", shape(operand)),
            SyntaxForm::All(operands) => format!("({})", joined(operands, " && ")),
            SyntaxForm::Any(operands) => format!("({})", joined(operands, " || ")),
            SyntaxForm::Binary(operator, left, right) => {
                format!("({} {} {})", shape(left), operator.as_str(), shape(right))
            }
            SyntaxForm::Conditional(parts) => format!("({})", joined(&parts[..], " ? ")),
            SyntaxForm::Call(call) => {
                let receiver = call.receiver.as_ref().map(|receiver| shape(receiver) + ".");
                format!(
                    "{}{}({})",
                    receiver.unwrap_or_default(),
                    call.function,
                    joined(&call.arguments, ", ")
                )
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let syntax = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        assert_eq!(shape(&syntax), expected, "{text}");
    }

    #[test]
    fn precedence_and_associativity() {
        check("a || b && !c == d", "(a || (b && (!c == d)))");
        check("a && b && c", "(a && b && c)");
        check("1 - 2 - 3 * 4 % 5", "((1 - 2) - ((3 * 4) % 5))");
        check("a + 1 < b * 2", "((a + 1) < (b * 2))");
        check("a < b == c", "((a < b) == c)");
        check("x in ['a', 'b',] || y", "((x in [\"a\", \"b\"]) || y)");
        check("a ? b : c ? d : e", "(a ? b ? (c ? d ? e))");
        check("-a - -3", "(-a - -3)");
        check("--9223372036854775808", "--9223372036854775808");
    }

    #[test]
    fn names_and_calls() {
        check("geo . location.inside_prison", "geo.location.inside_prison");
        check("ip.address.startsWith('10.')", "ip.address.startsWith(\"10.\")");
        check("a.b.lowerAscii().size() > 1", "(a.b.lowerAscii().size() > 1)");
        check("(a.b).size()", "a.b.size()");
        check("max(1, -2.5, a)", "max(1, -2.5, a)");
        check("l.exists(v, v == 'x')", "l.exists(v, (v == \"x\"))");
    }

    #[track_caller]
    fn refuse(text: &str, message_part: &str) {
        let problem = parse(text).expect_err(text);
        assert!(problem.message.contains(message_part), "{text}: {problem:?}");
    }

    #[test]
    fn refusals() {
        refuse("", "empty");
        refuse("  // nothing", "empty");
        refuse("a b", "expected an operator or the end, found `b`");
        refuse("a and b", "found `and`");
        refuse("(a", "expected `)`, found the end");
        refuse("a[0]", "indexing");
        refuse("{}", "maps");
        refuse("f(a,)", "expected a value");
        refuse("a.in", "found `in`");
        refuse("for", "reserved");
        refuse("(a).b", "only names have members");
        refuse("'x'.y", "only names have members");
        refuse("9223372036854775808", "too large");
        refuse("-9223372036854775809", "too large");
        refuse("a ?", "expected a value");
        refuse(&"a".repeat(EXPRESSION_CHARS_MAX + 1), "longer than");
    }

    #[test]
    fn deep_nesting_is_refused_and_wide_chains_are_not() {
        for (open, close) in
            [("(", ")"), ("!", ""), ("-", ""), ("[", "]"), ("f(", ")"), ("a?b:", ""), ("a+(", ")")]
        {
            let count = 4_000 / (open.len() + close.len());
            let text = format!("{}a{}", open.repeat(count), close.repeat(count));
            refuse(&text, "nested deeper");
        }
        refuse(&format!("a{}", ".size()".repeat(500)), "nested deeper");
        refuse(&format!("a{}", "+a".repeat(500)), "nested deeper");
        parse(&format!("a{}", " && a".repeat(800))).expect("a flat chain is not nested");
        parse(&format!("{}a{}", "(".repeat(60), ")".repeat(60))).expect("60 levels are allowed");
    }
}
