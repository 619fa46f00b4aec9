//! Gives every part of an expression its type, or says why it has none.
//!
//! The result is a tree in which names are resolved and nothing can be ill-typed, so that what runs an
//! expression needs no error path.

use regex::{Regex, RegexBuilder};

use crate::catalogue::{Catalogue, POLICY_ROOT, Slot, Type, root_of};
use crate::diagnostic::{Problem, Span};
use crate::parser::{Call, Operator, Syntax, SyntaxForm};
use crate::policy::PolicyField;

/// The most catalogue names that one expression may read; each is a bit in the set of missing inputs.
pub const INPUTS_MAX: usize = 60;

/// The deepest nesting of `exists` and `all`, whose cost multiplies.
pub const QUANTIFIERS_NESTED_MAX: usize = 2;

/// The most memory that one compiled pattern may take.
const PATTERN_SIZE_BYTES_MAX: usize = 1 << 20;

const FUNCTIONS: [&str; 15] = [
    "abs",
    "absent",
    "all",
    "contains",
    "double",
    "endsWith",
    "exists",
    "has",
    "int",
    "lowerAscii",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
];

/// Is an expression with names resolved and types known.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) form: Form,
    pub(crate) value_type: Type,
}

/// Is a catalogue name as one expression reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) slot: Slot,
    /// Place in the expression's list of inputs, below `INPUTS_MAX`.
    pub(crate) bit: u8,
}

#[derive(Clone, Debug)]
pub(crate) enum Form {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    TextList(Vec<String>),
    Input(Input),
    Policy(PolicyField),
    /// The text that the enclosing quantifier at this depth stands on.
    Local(usize),
    /// Whether the input has a value; never unknown itself.
    Known(Input),
    Not(Box<Typed>),
    Negate(Box<Typed>),
    All(Vec<Typed>),
    Any(Vec<Typed>),
    Compare(Operator, Box<Typed>, Box<Typed>),
    Arithmetic(Operator, Box<Typed>, Box<Typed>),
    Conditional(Box<[Typed; 3]>),
    /// `needle in [element, …]`.
    OneOf(Box<Typed>, Vec<Typed>),
    /// `needle in list`.
    InList(Box<Typed>, Box<Typed>),
    TextTest(TextTest, Box<Typed>, Box<Typed>),
    Matches(Box<Typed>, Regex),
    Size(Box<Typed>),
    LowerAscii(Box<Typed>),
    Absolute(Box<Typed>),
    Extreme(Extreme, Vec<Typed>),
    ToDouble(Box<Typed>),
    ToInt(Box<Typed>),
    Quantified(Quantifier, Box<Typed>, Box<Typed>, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extreme {
    Least,
    Greatest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Exists,
    All,
}

/// Is a condition that may be run, with what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) tree: Typed,
    /// Slots in the order in which the expression names them first; `Input::bit` is the place here.
    pub(crate) inputs: Vec<Slot>,
    pub(crate) policy_fields: Vec<PolicyField>,
}

/// Checks a condition: everything named must exist and the whole must be a bool.
pub(crate) fn check_condition(syntax: &Syntax, catalogue: &Catalogue) -> Result<Condition, Vec<Problem>> {
    let mut checker = Checker {
        catalogue,
        locals: Vec::new(),
        inputs: Vec::new(),
        policy_fields: Vec::new(),
        problems: Vec::new(),
    };
    let tree = checker.expect(syntax, Type::Bool, "a condition");
    match tree {
        Some(tree) if checker.problems.is_empty() => {
            Ok(Condition { tree, inputs: checker.inputs, policy_fields: checker.policy_fields })
        }
        _ => Err(checker.problems),
    }
}

/// Returns the names that a text may mean, for suggestions.
pub(crate) fn readable_names(catalogue: &Catalogue) -> impl Iterator<Item = &str> {
    let entries = catalogue.entries().iter().map(|entry| entry.name.as_str());
    entries.chain(PolicyField::ALL.into_iter().map(|field| -> &str { field.name() }))
}

/// Says that a name is not in the catalogue, and which one may be meant.
pub(crate) fn unknown_name(name: &str, span: Span, catalogue: &Catalogue) -> Problem {
    if catalogue.has_group(name) || name == POLICY_ROOT {
        let member = readable_names(catalogue)
            .find(|candidate| candidate.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
        let problem = Problem::new(span, format!("`{name}` is a group of values, not a value"));
        return match member {
            Some(member) => problem.with_suggestion(format!("name one of its values, such as `{member}`")),
            None => problem,
        };
    }
    Problem::new(span, format!("unknown name `{name}`")).with_nearest(name, readable_names(catalogue))
}

struct Checker<'c> {
    catalogue: &'c Catalogue,
    locals: Vec<String>,
    inputs: Vec<Slot>,
    policy_fields: Vec<PolicyField>,
    problems: Vec<Problem>,
}

/// Every method returns `None` after it has added a problem, so that one mistake is told once.
impl Checker<'_> {
    fn problem(&mut self, problem: Problem) -> Option<Typed> {
        self.problems.push(problem);
        None
    }

    fn check(&mut self, syntax: &Syntax) -> Option<Typed> {
        let typed = |form, value_type| Some(Typed { form, value_type });
        match &syntax.form {
            SyntaxForm::Null => self.problem(
                Problem::new(syntax.span, "null can only be compared with a name by `==` or `!=`")
                    .with_suggestion("ask with has(name) or absent(name)"),
            ),
            SyntaxForm::Bool(value) => typed(Form::Bool(*value), Type::Bool),
            SyntaxForm::Int(value) => typed(Form::Int(*value), Type::Int),
            SyntaxForm::Double(value) => typed(Form::Double(*value), Type::Double),
            SyntaxForm::Text(value) => typed(Form::Text(value.clone()), Type::Text),
            SyntaxForm::List(elements) => self.text_list(elements),
            SyntaxForm::Name(name) => self.name(name, syntax.span),
            SyntaxForm::Not(operand) => {
                let operand = self.expect(operand, Type::Bool, "`!`")?;
                typed(Form::Not(Box::new(operand)), Type::Bool)
            }
            SyntaxForm::Negate(operand) => self.negate(operand),
            SyntaxForm::All(operands) => {
                let operands = self.expect_each(operands, Type::Bool, "`&&`")?;
                typed(Form::All(operands), Type::Bool)
            }
            SyntaxForm::Any(operands) => {
                let operands = self.expect_each(operands, Type::Bool, "`||`")?;
                typed(Form::Any(operands), Type::Bool)
            }
            SyntaxForm::Binary(operator, left, right) => self.binary(*operator, left, right, syntax.span),
            SyntaxForm::Conditional(parts) => self.conditional(parts),
            SyntaxForm::Call(call) => self.call(call, syntax.span),
        }
    }

    fn expect(&mut self, syntax: &Syntax, value_type: Type, needed_by: &str) -> Option<Typed> {
        let typed = self.check(syntax)?;
        if typed.value_type == value_type {
            return Some(typed);
        }
        let found = typed.value_type.as_str();
        self.problem(Problem::new(
            syntax.span,
            format!("{needed_by} needs {}, found {found}", value_type.as_str()),
        ))
    }

    /// Checks all before it gives up, so that the mistakes of each are told.
    fn expect_each(&mut self, syntaxes: &[Syntax], value_type: Type, needed_by: &str) -> Option<Vec<Typed>> {
        let checked: Vec<_> =
            syntaxes.iter().map(|syntax| self.expect(syntax, value_type, needed_by)).collect();
        checked.into_iter().collect()
    }

    fn name(&mut self, name: &str, span: Span) -> Option<Typed> {
        if let Some(depth) = self.locals.iter().position(|local| local == name) {
            return Some(Typed { form: Form::Local(depth), value_type: Type::Text });
        }
        if let Some(field) = PolicyField::from_name(name) {
            if !self.policy_fields.contains(&field) {
                self.policy_fields.push(field);
            }
            return Some(Typed { form: Form::Policy(field), value_type: field.value_type() });
        }
        let input = self.input(name, span)?;
        let value_type = self.catalogue.entries()[input.slot].value_type;
        Some(Typed { form: Form::Input(input), value_type })
    }

    fn input(&mut self, name: &str, span: Span) -> Option<Input> {
        let Some(slot) = self.catalogue.slot(name) else {
            self.problems.push(unknown_name(name, span, self.catalogue));
            return None;
        };
        let place = match self.inputs.iter().position(|known| *known == slot) {
            Some(place) => place,
            None if self.inputs.len() == INPUTS_MAX => {
                self.problems
                    .push(Problem::new(span, format!("expression reads more than {INPUTS_MAX} names")));
                return None;
            }
            None => {
                self.inputs.push(slot);
                self.inputs.len() - 1
            }
        };
        // The place is below `INPUTS_MAX`, which fits.
        Some(Input { slot, bit: place as u8 })
    }

    fn text_list(&mut self, elements: &[Syntax]) -> Option<Typed> {
        let mut texts = Vec::with_capacity(elements.len());
        for element in elements {
            match &element.form {
                SyntaxForm::Text(text) => texts.push(text.clone()),
                _ => {
                    return self.problem(
                        Problem::new(element.span, "a list used here holds text literals only")
                            .with_suggestion("other elements are allowed to the right of `in`"),
                    );
                }
            }
        }
        Some(Typed { form: Form::TextList(texts), value_type: Type::TextList })
    }

    fn negate(&mut self, operand: &Syntax) -> Option<Typed> {
        let typed = self.number(operand, "`-`")?;
        let value_type = typed.value_type;
        let form = match typed.form {
            Form::Double(value) => Form::Double(-value),
            _ => Form::Negate(Box::new(typed)),
        };
        Some(Typed { form, value_type })
    }

    fn number(&mut self, syntax: &Syntax, needed_by: &str) -> Option<Typed> {
        let typed = self.check(syntax)?;
        if is_number(typed.value_type) {
            return Some(typed);
        }
        let found = typed.value_type.as_str();
        self.problem(Problem::new(syntax.span, format!("{needed_by} needs a number, found {found}")))
    }

    fn conditional(&mut self, parts: &[Syntax; 3]) -> Option<Typed> {
        let [condition, then, otherwise] = parts;
        let condition = self.expect(condition, Type::Bool, "the condition of `?:`");
        let then_typed = self.check(then);
        let otherwise_typed = self.check(otherwise);
        let (condition, then_typed, otherwise_typed) = (condition?, then_typed?, otherwise_typed?);
        let value_type = then_typed.value_type;
        if value_type != otherwise_typed.value_type {
            let message = format!(
                "both branches of `?:` need one type, found {} and {}",
                value_type.as_str(),
                otherwise_typed.value_type.as_str()
            );
            return self.problem(Problem::new(otherwise.span, message));
        }
        let form = Form::Conditional(Box::new([condition, then_typed, otherwise_typed]));
        Some(Typed { form, value_type })
    }

    fn binary(&mut self, operator: Operator, left: &Syntax, right: &Syntax, span: Span) -> Option<Typed> {
        match operator {
            Operator::Equal | Operator::NotEqual if right.form == SyntaxForm::Null => {
                self.null_test(operator, left)
            }
            Operator::Equal | Operator::NotEqual if left.form == SyntaxForm::Null => {
                self.null_test(operator, right)
            }
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => self.compare(operator, left, right, span),
            Operator::In => self.membership(left, right),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => self.arithmetic(operator, left, right, span),
        }
    }

    /// Reads `name == null` as `absent(name)`, which is what CEL means by it on a nullable field; as an
    /// ordinary comparison with something missing it would never be decided.
    fn null_test(&mut self, operator: Operator, operand: &Syntax) -> Option<Typed> {
        let known = self.known(operand, &format!("`{} null`", operator.as_str()))?;
        if operator == Operator::NotEqual {
            return Some(known);
        }
        Some(Typed { form: Form::Not(Box::new(known)), value_type: Type::Bool })
    }

    fn known(&mut self, operand: &Syntax, needed_by: &str) -> Option<Typed> {
        match &operand.form {
            SyntaxForm::Name(name)
                if PolicyField::from_name(name).is_none() && !self.locals.contains(name) =>
            {
                let input = self.input(name, operand.span)?;
                Some(Typed { form: Form::Known(input), value_type: Type::Bool })
            }
            _ => {
                self.problem(Problem::new(operand.span, format!("{needed_by} needs a name of the catalogue")))
            }
        }
    }

    fn compare(&mut self, operator: Operator, left: &Syntax, right: &Syntax, span: Span) -> Option<Typed> {
        let left_typed = self.check(left);
        let right_typed = self.check(right);
        let (left_typed, right_typed) = (left_typed?, right_typed?);
        let (left_type, right_type) = (left_typed.value_type, right_typed.value_type);
        let symbol = operator.as_str();
        if left_type != right_type && !(is_number(left_type) && is_number(right_type)) {
            let message =
                format!("`{symbol}` cannot compare {} with {}", left_type.as_str(), right_type.as_str());
            let problem = Problem::new(span, message);
            return self.problem(match (left_type, right_type) {
                (Type::Text, Type::TextList) => problem.with_suggestion("ask with `in`"),
                _ => problem,
            });
        }
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if !is_equality && matches!(left_type, Type::Bool | Type::TextList) {
            let message = format!("`{symbol}` cannot order values of type {}", left_type.as_str());
            return self.problem(Problem::new(span, message));
        }
        let form = Form::Compare(operator, Box::new(left_typed), Box::new(right_typed));
        Some(Typed { form, value_type: Type::Bool })
    }

    fn membership(&mut self, needle: &Syntax, list: &Syntax) -> Option<Typed> {
        let needle_typed = self.check(needle);
        let form = match &list.form {
            SyntaxForm::List(elements) => {
                let checked: Vec<_> = elements.iter().map(|element| self.check(element)).collect();
                let checked: Option<Vec<Typed>> = checked.into_iter().collect();
                let (needle_typed, checked) = (needle_typed?, checked?);
                self.element_types(&needle_typed, elements, &checked)?;
                Form::OneOf(Box::new(needle_typed), checked)
            }
            _ => {
                let list_typed = self.expect(list, Type::TextList, "`in`");
                let (needle_typed, list_typed) = (needle_typed?, list_typed?);
                if needle_typed.value_type != Type::Text {
                    let found = needle_typed.value_type.as_str();
                    let message = format!("a list of text cannot hold {found}");
                    return self.problem(Problem::new(needle.span, message));
                }
                Form::InList(Box::new(needle_typed), Box::new(list_typed))
            }
        };
        Some(Typed { form, value_type: Type::Bool })
    }

    fn element_types(&mut self, needle: &Typed, elements: &[Syntax], checked: &[Typed]) -> Option<()> {
        let needle_type = needle.value_type;
        if needle_type == Type::TextList {
            let span = elements.first().map_or(Span::new(0, 0), |element| element.span);
            self.problems.push(Problem::new(span, "a list cannot be an element of a list"));
            return None;
        }
        for (element, typed) in elements.iter().zip(checked) {
            let element_type = typed.value_type;
            if element_type != needle_type && !(is_number(element_type) && is_number(needle_type)) {
                let message =
                    format!("`in` cannot compare {} with {}", needle_type.as_str(), element_type.as_str());
                self.problems.push(Problem::new(element.span, message));
                return None;
            }
        }
        Some(())
    }

    fn arithmetic(&mut self, operator: Operator, left: &Syntax, right: &Syntax, span: Span) -> Option<Typed> {
        let left_typed = self.check(left);
        let right_typed = self.check(right);
        let (left_typed, right_typed) = (left_typed?, right_typed?);
        let (left_type, right_type) = (left_typed.value_type, right_typed.value_type);
        let symbol = operator.as_str();
        let is_allowed = match left_type {
            Type::Int => true,
            Type::Double => operator != Operator::Remainder,
            Type::Text => operator == Operator::Add,
            Type::Bool | Type::TextList => false,
        };
        if left_type != right_type || !is_allowed {
            let message =
                format!("`{symbol}` cannot be applied to {} and {}", left_type.as_str(), right_type.as_str());
            let problem = Problem::new(span, message);
            return self.problem(match (left_type, right_type) {
                (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
                    problem.with_suggestion("convert one side with double() or int(), or write 2 as 2.0")
                }
                _ => problem,
            });
        }
        let form = Form::Arithmetic(operator, Box::new(left_typed), Box::new(right_typed));
        Some(Typed { form, value_type: left_type })
    }

    fn call(&mut self, call: &Call, span: Span) -> Option<Typed> {
        match call.function.as_str() {
            "has" => self.presence(call, span, true),
            "absent" => self.presence(call, span, false),
            "exists" => self.quantified(call, span, Quantifier::Exists),
            "all" => self.quantified(call, span, Quantifier::All),
            "size" => self.size(call, span),
            "startsWith" => self.text_test(call, span, TextTest::StartsWith),
            "endsWith" => self.text_test(call, span, TextTest::EndsWith),
            "contains" => self.text_test(call, span, TextTest::Contains),
            "matches" => self.matches(call, span),
            "lowerAscii" => self.lower_ascii(call, span),
            "abs" => self.absolute(call, span),
            "min" => self.extreme(call, span, Extreme::Least),
            "max" => self.extreme(call, span, Extreme::Greatest),
            "double" => self.conversion(call, span, Type::Double),
            "int" => self.conversion(call, span, Type::Int),
            unknown => {
                let problem = Problem::new(call.function_span, format!("unknown function `{unknown}`"));
                self.problem(problem.with_nearest(unknown, FUNCTIONS))
            }
        }
    }

    fn usage(&mut self, call: &Call, span: Span, usage: &str) -> Option<Typed> {
        let message = format!("`{}` is called as {usage}", call.function);
        self.problem(Problem::new(span, message))
    }

    fn presence(&mut self, call: &Call, span: Span, wanted: bool) -> Option<Typed> {
        let (None, [operand]) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, "has(name) or absent(name)");
        };
        let known = self.known(operand, &format!("`{}`", call.function))?;
        if wanted {
            return Some(known);
        }
        Some(Typed { form: Form::Not(Box::new(known)), value_type: Type::Bool })
    }

    fn quantified(&mut self, call: &Call, span: Span, quantifier: Quantifier) -> Option<Typed> {
        let usage = "list.exists(v, condition) or list.all(v, condition)";
        let (Some(list), [variable, body]) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, usage);
        };
        let list = self.expect(list, Type::TextList, &format!("`{}`", call.function));
        let SyntaxForm::Name(local) = &variable.form else {
            return self.usage(call, span, usage);
        };
        let is_taken = self.locals.contains(local)
            || local == POLICY_ROOT
            || self.catalogue.entries().iter().any(|entry| root_of(&entry.name) == local);
        if is_taken || local.contains('.') {
            let message = format!("`{local}` cannot name the variable, because it has a meaning already");
            return self.problem(Problem::new(variable.span, message).with_suggestion("call it `v`"));
        }
        if self.locals.len() == QUANTIFIERS_NESTED_MAX {
            let message =
                format!("`exists` and `all` are nested deeper than {QUANTIFIERS_NESTED_MAX} levels");
            return self.problem(Problem::new(span, message));
        }
        let depth = self.locals.len();
        self.locals.push(local.clone());
        let body = self.expect(body, Type::Bool, &format!("the condition of `{}`", call.function));
        self.locals.pop();
        let form = Form::Quantified(quantifier, Box::new(list?), Box::new(body?), depth);
        Some(Typed { form, value_type: Type::Bool })
    }

    /// Returns the operands of a function that may be written `f(x, …)` or `x.f(…)`.
    fn operands(call: &Call) -> Vec<&Syntax> {
        call.receiver.iter().chain(&call.arguments).collect()
    }

    fn size(&mut self, call: &Call, span: Span) -> Option<Typed> {
        let operands = Self::operands(call);
        let [operand] = operands.as_slice() else {
            return self.usage(call, span, "size(x) or x.size()");
        };
        let typed = self.check(operand)?;
        if !matches!(typed.value_type, Type::Text | Type::TextList) {
            let found = typed.value_type.as_str();
            let message = format!("`size` needs text or list of text, found {found}");
            return self.problem(Problem::new(operand.span, message));
        }
        Some(Typed { form: Form::Size(Box::new(typed)), value_type: Type::Int })
    }

    fn text_test(&mut self, call: &Call, span: Span, test: TextTest) -> Option<Typed> {
        let (Some(receiver), [argument]) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, &format!("text.{}(text)", call.function));
        };
        let needed_by = format!("`{}`", call.function);
        let text = self.expect(receiver, Type::Text, &needed_by);
        let part = self.expect(argument, Type::Text, &needed_by);
        let form = Form::TextTest(test, Box::new(text?), Box::new(part?));
        Some(Typed { form, value_type: Type::Bool })
    }

    fn matches(&mut self, call: &Call, span: Span) -> Option<Typed> {
        let operands = Self::operands(call);
        let [text, pattern] = operands.as_slice() else {
            return self.usage(call, span, "text.matches('pattern')");
        };
        let text = self.expect(text, Type::Text, "`matches`");
        let SyntaxForm::Text(written) = &pattern.form else {
            return self.problem(Problem::new(
                pattern.span,
                "the pattern of `matches` is a text literal, because it is compiled on load",
            ));
        };
        let regex = match RegexBuilder::new(written).size_limit(PATTERN_SIZE_BYTES_MAX).build() {
            Ok(regex) => regex,
            Err(error) => {
                // The library prints the pattern with a pointer on several lines and the reason on the last.
                let told = error.to_string();
                let reason = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("the pattern of `matches` is not valid: {reason}");
                return self.problem(Problem::new(pattern.span, message));
            }
        };
        Some(Typed { form: Form::Matches(Box::new(text?), regex), value_type: Type::Bool })
    }

    fn lower_ascii(&mut self, call: &Call, span: Span) -> Option<Typed> {
        let (Some(receiver), []) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, "text.lowerAscii()");
        };
        let typed = self.expect(receiver, Type::Text, "`lowerAscii`")?;
        Some(Typed { form: Form::LowerAscii(Box::new(typed)), value_type: Type::Text })
    }

    fn absolute(&mut self, call: &Call, span: Span) -> Option<Typed> {
        let (None, [operand]) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, "abs(number)");
        };
        let typed = self.number(operand, "`abs`")?;
        let value_type = typed.value_type;
        Some(Typed { form: Form::Absolute(Box::new(typed)), value_type })
    }

    fn extreme(&mut self, call: &Call, span: Span, extreme: Extreme) -> Option<Typed> {
        if call.receiver.is_some() || call.arguments.len() < 2 {
            return self.usage(call, span, &format!("{}(number, number, …)", call.function));
        }
        let needed_by = format!("`{}`", call.function);
        let checked: Vec<_> =
            call.arguments.iter().map(|argument| self.number(argument, &needed_by)).collect();
        let checked: Vec<Typed> = checked.into_iter().collect::<Option<_>>()?;
        let value_type = checked[0].value_type;
        if let Some(place) = checked.iter().position(|typed| typed.value_type != value_type) {
            let message = format!("{needed_by} needs numbers of one type, found int and double");
            return self.problem(
                Problem::new(call.arguments[place].span, message)
                    .with_suggestion("convert with double() or int()"),
            );
        }
        Some(Typed { form: Form::Extreme(extreme, checked), value_type })
    }

    fn conversion(&mut self, call: &Call, span: Span, to: Type) -> Option<Typed> {
        let (None, [operand]) = (&call.receiver, call.arguments.as_slice()) else {
            return self.usage(call, span, &format!("{}(value)", call.function));
        };
        let typed = self.check(operand)?;
        if !matches!(typed.value_type, Type::Int | Type::Double | Type::Text) {
            let found = typed.value_type.as_str();
            let message = format!("`{}` needs a number or text, found {found}", call.function);
            return self.problem(Problem::new(operand.span, message));
        }
        let typed = Box::new(typed);
        let form = if to == Type::Double { Form::ToDouble(typed) } else { Form::ToInt(typed) };
        Some(Typed { form, value_type: to })
    }
}

fn is_number(value_type: Type) -> bool {
    matches!(value_type, Type::Int | Type::Double)
}
