//! Makes closures from a checked expression.
//!
//! Each closure returns `None` for unknown. An operation that needs all its operands asks each even when the
//! first is unknown, so that the set of causes is whole; one that chooses by its first operand (`?:`, `in` with
//! a list of expressions, `exists`, `all`) stops there. A closure that returns `Some` leaves the set of causes
//! as it found it: what was unknown in an operand that did not matter is no cause.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use rustc_hash::FxHashSet;

use crate::catalogue::Type;
use crate::check::{Extreme, Form, INPUTS_MAX, Input, QUANTIFIERS_NESTED_MAX, Quantifier, TextTest, Typed};
use crate::evaluation::Undefined;
use crate::parser::Operator;
use crate::policy::{Policy, PolicyField};
use crate::value::{Facts, Value};

/// Is a condition ready to run.
pub(crate) type BoolCode = Box<dyn Fn(&Scope<'_>) -> Option<bool> + Send + Sync>;
type IntCode = Box<dyn Fn(&Scope<'_>) -> Option<i64> + Send + Sync>;
type DoubleCode = Box<dyn Fn(&Scope<'_>) -> Option<f64> + Send + Sync>;
type NumberCode = Box<dyn Fn(&Scope<'_>) -> Option<Number> + Send + Sync>;
type TextCode = Box<dyn for<'f> Fn(&Scope<'f>) -> Option<Cow<'f, str>> + Send + Sync>;
type ListCode = Box<dyn for<'f> Fn(&Scope<'f>) -> Option<&'f [String]> + Send + Sync>;

/// Longer lists of text literals are looked up by hash.
const LINEAR_SEARCH_MAX: usize = 8;

/// Holds the literals that closures lend out, which outlive every evaluation.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    texts: Vec<String>,
    lists: Vec<Vec<String>>,
}

/// Is what an evaluation reads.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'f> {
    facts: &'f dyn Facts,
    policy: &'f Policy,
    constants: &'f Constants,
    causes: &'f Cell<Causes>,
    locals: [&'f str; QUANTIFIERS_NESTED_MAX],
}

impl<'f> Scope<'f> {
    pub(crate) fn new(
        facts: &'f dyn Facts,
        policy: &'f Policy,
        constants: &'f Constants,
        causes: &'f Cell<Causes>,
    ) -> Self {
        Scope { facts, policy, constants, causes, locals: [""; QUANTIFIERS_NESTED_MAX] }
    }

    fn missing<T>(&self, input: Input) -> Option<T> {
        self.causes.set(self.causes.get().with_input(input));
        None
    }

    fn undefined<T>(&self, reason: Undefined) -> Option<T> {
        self.causes.set(self.causes.get().with_undefined(reason));
        None
    }

    fn is_known(&self, input: Input) -> bool {
        self.facts.value(input.slot).finite() != Value::Unknown
    }

    fn bool(&self, input: Input) -> Option<bool> {
        match self.facts.value(input.slot) {
            Value::Bool(value) => Some(value),
            Value::Unknown => self.missing(input),
            value => wrong_type(input, value),
        }
    }

    fn int(&self, input: Input) -> Option<i64> {
        match self.facts.value(input.slot) {
            Value::Int(value) => Some(value),
            Value::Unknown => self.missing(input),
            value => wrong_type(input, value),
        }
    }

    fn double(&self, input: Input) -> Option<f64> {
        match self.facts.value(input.slot).finite() {
            Value::Double(value) => Some(value),
            Value::Unknown => self.missing(input),
            value => wrong_type(input, value),
        }
    }

    fn text(&self, input: Input) -> Option<&'f str> {
        match self.facts.value(input.slot) {
            Value::Text(value) => Some(value),
            Value::Unknown => self.missing(input),
            value => wrong_type(input, value),
        }
    }

    fn list(&self, input: Input) -> Option<&'f [String]> {
        match self.facts.value(input.slot) {
            Value::TextList(value) => Some(value),
            Value::Unknown => self.missing(input),
            value => wrong_type(input, value),
        }
    }
}

/// Stops: facts that do not fit the catalogue are a mistake of the program, and going on would turn it into
/// decisions.
#[cold]
fn wrong_type(input: Input, value: Value<'_>) -> ! {
    panic!("fact {} has another type than its catalogue entry: {:?}", input.slot, value.value_type())
}

/// Is the set of reasons why an expression is unknown: a bit an input, and one for each `Undefined`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Causes(u64);

impl Causes {
    fn with_input(self, input: Input) -> Self {
        Causes(self.0 | 1 << input.bit)
    }

    fn with_undefined(self, reason: Undefined) -> Self {
        Causes(self.0 | Self::undefined_bit(reason))
    }

    fn undefined_bit(reason: Undefined) -> u64 {
        1 << (INPUTS_MAX + reason as usize)
    }

    pub(crate) fn has_input(self, bit: usize) -> bool {
        self.0 & 1 << bit != 0
    }

    pub(crate) fn has_undefined(self, reason: Undefined) -> bool {
        self.0 & Self::undefined_bit(reason) != 0
    }
}

// The bits of the reasons follow those of the inputs in one word.
const _: () = assert!(INPUTS_MAX + Undefined::ALL.len() <= 64);

/// Is a number of either type; ints are never rounded to compare them with doubles.
#[derive(Clone, Copy, Debug)]
enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    fn order(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Int(left), Number::Int(right)) => left.cmp(&right),
            (Number::Double(left), Number::Double(right)) => order_of_doubles(left, right),
            (Number::Int(left), Number::Double(right)) => order_of_int_and_double(left, right),
            (Number::Double(left), Number::Int(right)) => order_of_int_and_double(right, left).reverse(),
        }
    }
}

/// Orders doubles, all of which are finite here, with 0.0 equal to -0.0.
fn order_of_doubles(left: f64, right: f64) -> Ordering {
    debug_assert!(left.is_finite() && right.is_finite());
    left.partial_cmp(&right).unwrap_or(Ordering::Equal)
}

fn order_of_int_and_double(int: i64, double: f64) -> Ordering {
    // 2^63, the first double above all ints; its negative is the least int.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if double >= LIMIT {
        return Ordering::Less;
    }
    if double < -LIMIT {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    // The value is whole and in the range of ints, so nothing is lost.
    int.cmp(&(whole as i64)).then_with(|| order_of_doubles(0.0, double - whole))
}

fn order_test(operator: Operator) -> fn(Ordering) -> bool {
    match operator {
        Operator::Equal => Ordering::is_eq,
        Operator::NotEqual => Ordering::is_ne,
        Operator::Less => Ordering::is_lt,
        Operator::LessOrEqual => Ordering::is_le,
        Operator::Greater => Ordering::is_gt,
        Operator::GreaterOrEqual => Ordering::is_ge,
        _ => unreachable!("the checker makes comparisons from comparing operators only"),
    }
}

/// Compiles an expression of type bool.
pub(crate) fn bool_code(typed: Typed, constants: &mut Constants) -> BoolCode {
    match typed.form {
        Form::Bool(value) => Box::new(move |_| Some(value)),
        Form::Input(input) => Box::new(move |scope| scope.bool(input)),
        Form::Known(input) => Box::new(move |scope| Some(scope.is_known(input))),
        Form::Not(operand) => not(*operand, constants),
        Form::All(operands) => all(operands, constants),
        Form::Any(operands) => any(operands, constants),
        Form::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            let condition = bool_code(condition, constants);
            let then = bool_code(then, constants);
            let otherwise = bool_code(otherwise, constants);
            Box::new(move |scope| if condition(scope)? { then(scope) } else { otherwise(scope) })
        }
        Form::Compare(operator, left, right) => compare(operator, *left, *right, constants),
        Form::OneOf(needle, elements) => one_of(*needle, elements, constants),
        Form::InList(needle, list) => in_list(*needle, *list, constants),
        Form::TextTest(test, text, part) => text_test(test, *text, *part, constants),
        Form::Matches(text, regex) => {
            let text = text_code(*text, constants);
            Box::new(move |scope| Some(regex.is_match(&text(scope)?)))
        }
        Form::Quantified(quantifier, list, body, depth) => {
            quantified(quantifier, *list, *body, depth, constants)
        }
        form => unreachable!("the checker gave {form:?} the type bool"),
    }
}

fn not(operand: Typed, constants: &mut Constants) -> BoolCode {
    // The two most frequent conditions of all; a call less each.
    match operand.form {
        Form::Input(input) => Box::new(move |scope| scope.bool(input).map(|value| !value)),
        Form::Known(input) => Box::new(move |scope| Some(!scope.is_known(input))),
        _ => {
            let operand = bool_code(operand, constants);
            Box::new(move |scope| operand(scope).map(|value| !value))
        }
    }
}

fn all(operands: Vec<Typed>, constants: &mut Constants) -> BoolCode {
    let operands = bool_codes(operands, constants);
    Box::new(move |scope| fold(scope, &operands, false, |operand| operand(scope)))
}

fn any(operands: Vec<Typed>, constants: &mut Constants) -> BoolCode {
    let operands = bool_codes(operands, constants);
    Box::new(move |scope| fold(scope, &operands, true, |operand| operand(scope)))
}

fn bool_codes(operands: Vec<Typed>, constants: &mut Constants) -> Vec<BoolCode> {
    operands.into_iter().map(|operand| bool_code(operand, constants)).collect()
}

/// Joins truth values: one that equals `deciding` decides; else one unknown makes the whole unknown.
#[inline]
fn fold<T>(
    scope: &Scope<'_>,
    operands: impl IntoIterator<Item = T>,
    deciding: bool,
    truth: impl Fn(T) -> Option<bool>,
) -> Option<bool> {
    let causes_before = scope.causes.get();
    let mut is_unknown = false;
    for operand in operands {
        match truth(operand) {
            Some(value) if value == deciding => {
                if is_unknown {
                    scope.causes.set(causes_before);
                }
                return Some(deciding);
            }
            Some(_) => {}
            None => is_unknown = true,
        }
    }
    if is_unknown { None } else { Some(!deciding) }
}

fn compare(operator: Operator, left: Typed, right: Typed, constants: &mut Constants) -> BoolCode {
    match (left.value_type, right.value_type) {
        (Type::Bool, _) => {
            let negated = operator == Operator::NotEqual;
            let (left, right) = (bool_code(left, constants), bool_code(right, constants));
            Box::new(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some((left? == right?) != negated)
            })
        }
        (Type::Text, _) => compare_texts(operator, left, right, constants),
        (Type::TextList, _) => {
            let negated = operator == Operator::NotEqual;
            let (left, right) = (list_code(left, constants), list_code(right, constants));
            Box::new(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some((left? == right?) != negated)
            })
        }
        (Type::Double, Type::Double) => compare_doubles(operator, left, right, constants),
        _ => {
            let test = order_test(operator);
            let (left, right) = (number_code(left, constants), number_code(right, constants));
            Box::new(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some(test(left?.order(right?)))
            })
        }
    }
}

fn compare_doubles(operator: Operator, left: Typed, right: Typed, constants: &mut Constants) -> BoolCode {
    let test = order_test(operator);
    match (left.form, right.form) {
        (Form::Input(input), Form::Double(literal)) => {
            Box::new(move |scope| Some(test(order_of_doubles(scope.double(input)?, literal))))
        }
        (left_form, right_form) => {
            let left = double_code(Typed { form: left_form, value_type: Type::Double }, constants);
            let right = double_code(Typed { form: right_form, value_type: Type::Double }, constants);
            Box::new(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some(test(order_of_doubles(left?, right?)))
            })
        }
    }
}

fn compare_texts(operator: Operator, left: Typed, right: Typed, constants: &mut Constants) -> BoolCode {
    let test = order_test(operator);
    match (left.form, right.form) {
        (Form::Input(input), Form::Text(literal)) => match operator {
            Operator::Equal => Box::new(move |scope| Some(scope.text(input)? == literal)),
            Operator::NotEqual => Box::new(move |scope| Some(scope.text(input)? != literal)),
            _ => Box::new(move |scope| Some(test(scope.text(input)?.cmp(literal.as_str())))),
        },
        (left_form, right_form) => {
            let left = text_code(Typed { form: left_form, value_type: Type::Text }, constants);
            let right = text_code(Typed { form: right_form, value_type: Type::Text }, constants);
            Box::new(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some(test(left?.cmp(&right?)))
            })
        }
    }
}

fn one_of(needle: Typed, elements: Vec<Typed>, constants: &mut Constants) -> BoolCode {
    match needle.value_type {
        Type::Text => one_of_texts(needle, elements, constants),
        Type::Bool => {
            let needle = bool_code(needle, constants);
            let elements = bool_codes(elements, constants);
            Box::new(move |scope| {
                let needle = needle(scope)?;
                fold(scope, &elements, true, |element| Some(element(scope)? == needle))
            })
        }
        _ => {
            let needle = number_code(needle, constants);
            let elements: Vec<_> =
                elements.into_iter().map(|element| number_code(element, constants)).collect();
            Box::new(move |scope| {
                let needle = needle(scope)?;
                fold(scope, &elements, true, |element| Some(element(scope)?.order(needle).is_eq()))
            })
        }
    }
}

fn one_of_texts(needle: Typed, elements: Vec<Typed>, constants: &mut Constants) -> BoolCode {
    let needle = text_code(needle, constants);
    let literals: Option<Vec<String>> = elements
        .iter()
        .map(|element| match &element.form {
            Form::Text(literal) => Some(literal.clone()),
            _ => None,
        })
        .collect();
    match literals {
        Some(literals) if literals.len() <= LINEAR_SEARCH_MAX => Box::new(move |scope| {
            let needle = needle(scope)?;
            Some(literals.iter().any(|literal| *literal == needle))
        }),
        Some(literals) => {
            let literals: FxHashSet<String> = literals.into_iter().collect();
            Box::new(move |scope| Some(literals.contains(needle(scope)?.as_ref())))
        }
        None => {
            let elements: Vec<_> =
                elements.into_iter().map(|element| text_code(element, constants)).collect();
            Box::new(move |scope| {
                let needle = needle(scope)?;
                fold(scope, &elements, true, |element| Some(element(scope)? == needle))
            })
        }
    }
}

fn in_list(needle: Typed, list: Typed, constants: &mut Constants) -> BoolCode {
    let (needle, list) = (text_code(needle, constants), list_code(list, constants));
    Box::new(move |scope| {
        let (needle, list) = (needle(scope), list(scope));
        let needle = needle?;
        Some(list?.iter().any(|element| *element == needle))
    })
}

fn text_test(test: TextTest, text: Typed, part: Typed, constants: &mut Constants) -> BoolCode {
    let (text, part) = (text_code(text, constants), text_code(part, constants));
    let test: fn(&str, &str) -> bool = match test {
        TextTest::StartsWith => |text, part| text.starts_with(part),
        TextTest::EndsWith => |text, part| text.ends_with(part),
        TextTest::Contains => |text, part| text.contains(part),
    };
    Box::new(move |scope| {
        let (text, part) = (text(scope), part(scope));
        Some(test(&text?, &part?))
    })
}

fn quantified(
    quantifier: Quantifier,
    list: Typed,
    body: Typed,
    depth: usize,
    constants: &mut Constants,
) -> BoolCode {
    let (list, body) = (list_code(list, constants), bool_code(body, constants));
    let deciding = quantifier == Quantifier::Exists;
    Box::new(move |scope| {
        let list = list(scope)?;
        fold(scope, list, deciding, |element| {
            let mut inner = *scope;
            inner.locals[depth] = element;
            body(&inner)
        })
    })
}

fn number_code(typed: Typed, constants: &mut Constants) -> NumberCode {
    match (typed.value_type, typed.form) {
        (_, Form::Int(value)) => Box::new(move |_| Some(Number::Int(value))),
        (_, Form::Double(value)) => Box::new(move |_| Some(Number::Double(value))),
        (Type::Int, Form::Input(input)) => Box::new(move |scope| scope.int(input).map(Number::Int)),
        (Type::Double, Form::Input(input)) => Box::new(move |scope| scope.double(input).map(Number::Double)),
        (Type::Int, form) => {
            let code = int_code(Typed { form, value_type: Type::Int }, constants);
            Box::new(move |scope| code(scope).map(Number::Int))
        }
        (value_type, form) => {
            let code = double_code(Typed { form, value_type }, constants);
            Box::new(move |scope| code(scope).map(Number::Double))
        }
    }
}

fn int_code(typed: Typed, constants: &mut Constants) -> IntCode {
    match typed.form {
        Form::Int(value) => Box::new(move |_| Some(value)),
        Form::Input(input) => Box::new(move |scope| scope.int(input)),
        Form::Policy(PolicyField::DeadlineMs) => Box::new(|scope| Some(scope.policy.deadline_ms)),
        Form::Negate(operand) => {
            let operand = int_code(*operand, constants);
            Box::new(move |scope| {
                operand(scope)?.checked_neg().or_else(|| scope.undefined(Undefined::Overflow))
            })
        }
        Form::Absolute(operand) => {
            let operand = int_code(*operand, constants);
            Box::new(move |scope| {
                operand(scope)?.checked_abs().or_else(|| scope.undefined(Undefined::Overflow))
            })
        }
        Form::Arithmetic(operator, left, right) => int_arithmetic(operator, *left, *right, constants),
        Form::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            let condition = bool_code(condition, constants);
            let then = int_code(then, constants);
            let otherwise = int_code(otherwise, constants);
            Box::new(move |scope| if condition(scope)? { then(scope) } else { otherwise(scope) })
        }
        Form::Extreme(extreme, operands) => {
            let operands: Vec<_> = operands.into_iter().map(|operand| int_code(operand, constants)).collect();
            let pick: fn(i64, i64) -> i64 = if extreme == Extreme::Least { i64::min } else { i64::max };
            Box::new(move |scope| reduce(operands.iter().map(|operand| operand(scope)), pick))
        }
        Form::Size(operand) => size(*operand, constants),
        Form::ToInt(operand) => to_int(*operand, constants),
        form => unreachable!("the checker gave {form:?} the type int"),
    }
}

/// Combines all values, asking each even after an unknown one.
fn reduce<T>(values: impl Iterator<Item = Option<T>>, pick: fn(T, T) -> T) -> Option<T> {
    values
        .reduce(|best, value| match (best, value) {
            (Some(best), Some(value)) => Some(pick(best, value)),
            _ => None,
        })
        .flatten()
}

fn int_arithmetic(operator: Operator, left: Typed, right: Typed, constants: &mut Constants) -> IntCode {
    let (left, right) = (int_code(left, constants), int_code(right, constants));
    let divides = matches!(operator, Operator::Divide | Operator::Remainder);
    let apply: fn(i64, i64) -> Option<i64> = match operator {
        Operator::Add => i64::checked_add,
        Operator::Subtract => i64::checked_sub,
        Operator::Multiply => i64::checked_mul,
        Operator::Divide => i64::checked_div,
        Operator::Remainder => i64::checked_rem,
        _ => unreachable!("the checker makes arithmetic from calculating operators only"),
    };
    Box::new(move |scope| {
        let (left, right) = (left(scope), right(scope));
        let (left, right) = (left?, right?);
        if divides && right == 0 {
            return scope.undefined(Undefined::DivisionByZero);
        }
        apply(left, right).or_else(|| scope.undefined(Undefined::Overflow))
    })
}

fn size(operand: Typed, constants: &mut Constants) -> IntCode {
    // No length reaches the end of the ints, because no memory does.
    if operand.value_type == Type::TextList {
        let list = list_code(operand, constants);
        return Box::new(move |scope| Some(list(scope)?.len() as i64));
    }
    let text = text_code(operand, constants);
    Box::new(move |scope| Some(text(scope)?.chars().count() as i64))
}

fn to_int(operand: Typed, constants: &mut Constants) -> IntCode {
    match operand.value_type {
        Type::Int => int_code(operand, constants),
        Type::Double => {
            let operand = double_code(operand, constants);
            Box::new(move |scope| {
                let value = operand(scope)?;
                // Both limits are exact: -2^63 is an int, 2^63 is not.
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
                    Some(value as i64)
                } else {
                    scope.undefined(Undefined::Conversion)
                }
            })
        }
        _ => {
            let text = text_code(operand, constants);
            Box::new(move |scope| {
                text(scope)?.parse().ok().or_else(|| scope.undefined(Undefined::Conversion))
            })
        }
    }
}

fn double_code(typed: Typed, constants: &mut Constants) -> DoubleCode {
    match typed.form {
        Form::Double(value) => Box::new(move |_| Some(value)),
        Form::Input(input) => Box::new(move |scope| scope.double(input)),
        Form::Policy(PolicyField::ReviewScoreMin) => Box::new(|scope| Some(scope.policy.review_score_min)),
        Form::Policy(PolicyField::FlagScoreMin) => Box::new(|scope| Some(scope.policy.flag_score_min)),
        Form::Negate(operand) => {
            let operand = double_code(*operand, constants);
            Box::new(move |scope| operand(scope).map(|value| -value))
        }
        Form::Absolute(operand) => {
            let operand = double_code(*operand, constants);
            Box::new(move |scope| operand(scope).map(f64::abs))
        }
        Form::Arithmetic(operator, left, right) => double_arithmetic(operator, *left, *right, constants),
        Form::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            let condition = bool_code(condition, constants);
            let then = double_code(then, constants);
            let otherwise = double_code(otherwise, constants);
            Box::new(move |scope| if condition(scope)? { then(scope) } else { otherwise(scope) })
        }
        Form::Extreme(extreme, operands) => {
            let operands: Vec<_> =
                operands.into_iter().map(|operand| double_code(operand, constants)).collect();
            let pick: fn(f64, f64) -> f64 = if extreme == Extreme::Least { f64::min } else { f64::max };
            Box::new(move |scope| reduce(operands.iter().map(|operand| operand(scope)), pick))
        }
        Form::ToDouble(operand) => to_double(*operand, constants),
        form => unreachable!("the checker gave {form:?} the type double"),
    }
}

fn double_arithmetic(operator: Operator, left: Typed, right: Typed, constants: &mut Constants) -> DoubleCode {
    let (left, right) = (double_code(left, constants), double_code(right, constants));
    let divides = operator == Operator::Divide;
    let apply: fn(f64, f64) -> f64 = match operator {
        Operator::Add => |left, right| left + right,
        Operator::Subtract => |left, right| left - right,
        Operator::Multiply => |left, right| left * right,
        Operator::Divide => |left, right| left / right,
        _ => unreachable!("the checker makes arithmetic from calculating operators only"),
    };
    Box::new(move |scope| {
        let (left, right) = (left(scope), right(scope));
        let (left, right) = (left?, right?);
        if divides && right == 0.0 {
            return scope.undefined(Undefined::DivisionByZero);
        }
        let value = apply(left, right);
        if value.is_finite() { Some(value) } else { scope.undefined(Undefined::Overflow) }
    })
}

fn to_double(operand: Typed, constants: &mut Constants) -> DoubleCode {
    match operand.value_type {
        Type::Double => double_code(operand, constants),
        Type::Int => {
            let operand = int_code(operand, constants);
            Box::new(move |scope| operand(scope).map(|value| value as f64))
        }
        _ => {
            let text = text_code(operand, constants);
            Box::new(move |scope| match text(scope)?.parse::<f64>() {
                Ok(value) if value.is_finite() => Some(value),
                _ => scope.undefined(Undefined::Conversion),
            })
        }
    }
}

/// Fixes the lifetimes of a closure that lends text from the scope, which inference alone gets wrong.
fn text_closure<F>(closure: F) -> TextCode
where
    F: for<'f> Fn(&Scope<'f>) -> Option<Cow<'f, str>> + Send + Sync + 'static,
{
    Box::new(closure)
}

fn text_code(typed: Typed, constants: &mut Constants) -> TextCode {
    match typed.form {
        Form::Text(literal) => {
            let place = constants.texts.len();
            constants.texts.push(literal);
            text_closure(move |scope| Some(Cow::Borrowed(scope.constants.texts[place].as_str())))
        }
        Form::Input(input) => text_closure(move |scope| scope.text(input).map(Cow::Borrowed)),
        Form::Policy(PolicyField::Language) => {
            text_closure(|scope| Some(Cow::Borrowed(scope.policy.language.as_str())))
        }
        Form::Local(depth) => text_closure(move |scope| Some(Cow::Borrowed(scope.locals[depth]))),
        Form::Arithmetic(Operator::Add, left, right) => {
            let (left, right) = (text_code(*left, constants), text_code(*right, constants));
            text_closure(move |scope| {
                let (left, right) = (left(scope), right(scope));
                Some(Cow::Owned(left?.into_owned() + &right?))
            })
        }
        Form::LowerAscii(operand) => {
            let operand = text_code(*operand, constants);
            text_closure(move |scope| {
                let text = operand(scope)?;
                if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Some(text);
                }
                let mut text = text.into_owned();
                text.make_ascii_lowercase();
                Some(Cow::Owned(text))
            })
        }
        Form::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            let condition = bool_code(condition, constants);
            let then = text_code(then, constants);
            let otherwise = text_code(otherwise, constants);
            text_closure(move |scope| if condition(scope)? { then(scope) } else { otherwise(scope) })
        }
        form => unreachable!("the checker gave {form:?} the type text"),
    }
}

/// Does for lists what `text_closure` does for texts.
fn list_closure<F>(closure: F) -> ListCode
where
    F: for<'f> Fn(&Scope<'f>) -> Option<&'f [String]> + Send + Sync + 'static,
{
    Box::new(closure)
}

fn list_code(typed: Typed, constants: &mut Constants) -> ListCode {
    match typed.form {
        Form::TextList(literals) => {
            let place = constants.lists.len();
            constants.lists.push(literals);
            list_closure(move |scope| Some(scope.constants.lists[place].as_slice()))
        }
        Form::Input(input) => list_closure(move |scope| scope.list(input)),
        Form::Policy(PolicyField::HomeCountries) => {
            list_closure(|scope| Some(scope.policy.home_countries.as_slice()))
        }
        Form::Policy(PolicyField::RequiredSignals) => {
            list_closure(|scope| Some(scope.policy.required_signals.as_slice()))
        }
        Form::Conditional(parts) => {
            let [condition, then, otherwise] = *parts;
            let condition = bool_code(condition, constants);
            let then = list_code(then, constants);
            let otherwise = list_code(otherwise, constants);
            list_closure(move |scope| if condition(scope)? { then(scope) } else { otherwise(scope) })
        }
        form => unreachable!("the checker gave {form:?} the type list of text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_and_doubles_are_compared_exactly() {
        let big = 9_007_199_254_740_993_i64; // 2^53 + 1 is no double.
        for (int, double, expected) in [
            (1, 1.0, Ordering::Equal),
            (1, 1.5, Ordering::Less),
            (-1, -1.5, Ordering::Greater),
            (0, -0.0, Ordering::Equal),
            (big, 9_007_199_254_740_992.0, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (i64::MIN, -1e300, Ordering::Greater),
        ] {
            assert_eq!(order_of_int_and_double(int, double), expected, "{int} and {double}");
            assert_eq!(Number::Double(double).order(Number::Int(int)), expected.reverse());
        }
    }

    #[test]
    fn each_cause_has_a_bit_of_its_own() {
        let mut causes = Causes::default();
        for bit in 0..INPUTS_MAX {
            assert!(!causes.has_input(bit));
            causes = causes.with_input(Input { slot: 0, bit: bit as u8 });
            assert!(causes.has_input(bit));
        }
        for reason in Undefined::ALL {
            assert!(!causes.has_undefined(reason));
            causes = causes.with_undefined(reason);
            assert!(causes.has_undefined(reason));
        }
    }
}
