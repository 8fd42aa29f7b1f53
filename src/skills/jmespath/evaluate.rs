//! Evaluation of a program on a JSON value, on a budget. Values are borrowed from the input as long as possible;
//! what is copied or walked through is paid for first.

use std::{borrow::Cow, cell::Cell, cmp::Ordering};

use ::jmespath::ast::Comparator;
use serde_json::{Map, Number, Value};

use super::{functions, program::Node};

/// What one evaluation may spend. A value costs [`VALUE_COST`] plus the bytes of its text, so this bounds the memory
/// that an evaluation takes to about 32 MiB, and its time.
const BUDGET: usize = 16 * 1024 * 1024;
/// What a single value costs to copy, its text and its children apart.
const VALUE_COST: usize = 16;
/// What it costs to evaluate one node once.
const NODE_COST: usize = 4;

/// The result of a part: the value, or what is wrong, for a person.
pub(super) type Evaluated<T> = Result<T, String>;

/// What is left to spend.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    /// Takes `cost` off.
    pub(super) fn spend(&self, cost: usize) -> Evaluated<()> {
        let left = self
            .0
            .get()
            .checked_sub(cost)
            .ok_or("the expression does too much work on this input")?;
        self.0.set(left);
        Ok(())
    }

    /// Pays for a walk through `value` or a copy of it.
    pub(super) fn pay_for(&self, value: &Value) -> Evaluated<()> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.spend(VALUE_COST),
            Value::String(text) => self.spend(VALUE_COST.saturating_add(text.len())),
            Value::Array(items) => {
                self.spend(VALUE_COST)?;
                items.iter().try_for_each(|item| self.pay_for(item))
            }
            Value::Object(map) => {
                self.spend(VALUE_COST)?;
                map.iter().try_for_each(|(key, value)| {
                    self.spend(VALUE_COST.saturating_add(key.len()))?;
                    self.pay_for(value)
                })
            }
        }
    }

    /// The value as one's own, copied if need be.
    pub(super) fn own(&self, value: Cow<'_, Value>) -> Evaluated<Value> {
        if let Cow::Borrowed(value) = value {
            self.pay_for(value)?;
        }
        Ok(value.into_owned())
    }
}

/// Evaluates a program on `input`.
pub(super) fn evaluate(program: &Node, input: &Value) -> Evaluated<Value> {
    let budget = Budget(Cell::new(BUDGET));
    budget.own(eval(program, input, &budget)?)
}

/// Evaluates one node on `current`.
pub(super) fn eval<'v>(node: &'v Node, current: &'v Value, budget: &Budget) -> Evaluated<Cow<'v, Value>> {
    budget.spend(NODE_COST)?;
    match node {
        Node::Current => Ok(Cow::Borrowed(current)),
        Node::Field(name) => Ok(borrowed_or_null(current.get(name.as_str()))),
        Node::Index(index) => Ok(borrowed_or_null(element(current, *index))),
        Node::Slice { start, stop, step } => slice(current, *start, *stop, *step, budget),
        Node::Literal(value) => Ok(Cow::Borrowed(value)),
        Node::Then { first, then } => match eval(first, current, budget)? {
            Cow::Borrowed(value) => eval(then, value, budget),
            Cow::Owned(value) => budget.own(eval(then, &value, budget)?).map(Cow::Owned),
        },
        Node::Or { left, right } => {
            let left = eval(left, current, budget)?;
            if is_truthy(&left) {
                Ok(left)
            } else {
                eval(right, current, budget)
            }
        }
        Node::And { left, right } => {
            let left = eval(left, current, budget)?;
            if is_truthy(&left) {
                eval(right, current, budget)
            } else {
                Ok(left)
            }
        }
        Node::Not(node) => Ok(owned(Value::Bool(!is_truthy(&*eval(node, current, budget)?)))),
        Node::Compare {
            comparator,
            left,
            right,
        } => {
            let (left, right) = (eval(left, current, budget)?, eval(right, current, budget)?);
            compare(comparator, &left, &right, budget).map(owned)
        }
        Node::Condition { predicate, then } => {
            let holds = is_truthy(&*eval(predicate, current, budget)?);
            if holds { eval(then, current, budget) } else { Ok(null()) }
        }
        Node::Values(node) => match &*eval(node, current, budget)? {
            Value::Object(map) => copied(map.values(), budget),
            _ => Ok(null()),
        },
        Node::Project { source, each } => match &*eval(source, current, budget)? {
            Value::Array(items) => project(items, each, budget),
            _ => Ok(null()),
        },
        Node::Flatten(node) => match &*eval(node, current, budget)? {
            Value::Array(items) => copied(items.iter().flat_map(one_level), budget),
            _ => Ok(null()),
        },
        Node::List(_) | Node::Hash(_) if current.is_null() => Ok(null()),
        Node::List(nodes) => nodes
            .iter()
            .map(|node| budget.own(eval(node, current, budget)?))
            .collect::<Evaluated<Vec<_>>>()
            .map(|items| owned(Value::Array(items))),
        Node::Hash(pairs) => pairs
            .iter()
            .map(|(key, node)| {
                budget.spend(VALUE_COST.saturating_add(key.len()))?;
                Ok((key.clone(), budget.own(eval(node, current, budget)?)?))
            })
            .collect::<Evaluated<Map<_, _>>>()
            .map(|map| owned(Value::Object(map))),
        Node::Call { function, arguments } => functions::call(*function, arguments, current, budget),
    }
}

/// All but `false`, `null`, and the empty string, array and object; every number is truthy.
pub(super) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Whether two values are the same; numbers by their value (`1` is `1.0`), integers exactly.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right) == Ordering::Equal,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

/// The order of two numbers: exact between integers, by `f64` otherwise. JSON knows no NaN.
pub(super) fn order(left: &Number, right: &Number) -> Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// `value`, borrowed from nowhere.
pub(super) fn owned<'v>(value: Value) -> Cow<'v, Value> {
    Cow::Owned(value)
}

fn null<'v>() -> Cow<'v, Value> {
    owned(Value::Null)
}

fn borrowed_or_null(value: Option<&Value>) -> Cow<'_, Value> {
    value.map_or_else(null, Cow::Borrowed)
}

fn copied<'v, 'i>(items: impl Iterator<Item = &'i Value>, budget: &Budget) -> Evaluated<Cow<'v, Value>> {
    let mut array = Vec::new();
    for item in items {
        budget.pay_for(item)?;
        array.push(item.clone());
    }
    Ok(owned(Value::Array(array)))
}

fn one_level(item: &Value) -> &[Value] {
    match item {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

fn project<'v>(items: &[Value], each: &Node, budget: &Budget) -> Evaluated<Cow<'v, Value>> {
    let mut array = Vec::new();
    for item in items {
        let value = eval(each, item, budget)?;
        if !value.is_null() {
            array.push(budget.own(value)?);
        }
    }
    Ok(owned(Value::Array(array)))
}

fn element(value: &Value, index: i32) -> Option<&Value> {
    let items = value.as_array()?;
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 {
        items.len().checked_sub(distance)?
    } else {
        distance
    };
    items.get(place)
}

/// As slices are in Python: ends beyond the array are clamped, a negative step walks backwards.
fn slice<'v>(
    value: &Value,
    start: Option<i32>,
    stop: Option<i32>,
    step: i32,
    budget: &Budget,
) -> Evaluated<Cow<'v, Value>> {
    let Value::Array(items) = value else { return Ok(null()) };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    // Walking backwards, an end may lie just before the first element; walking forwards, just behind the last.
    let (first, last) = if step < 0 {
        (-1, length.saturating_sub(1))
    } else {
        (0, length)
    };
    let clamp = |end: i32| {
        let end = i64::from(end);
        (if end < 0 { end.saturating_add(length) } else { end }).clamp(first, last.max(first))
    };
    let (from, to) = if step < 0 {
        (start.map_or(last, clamp), stop.map_or(first, clamp))
    } else {
        (start.map_or(first, clamp), stop.map_or(last, clamp))
    };
    let mut picked = Vec::new();
    let mut at = from;
    while if step < 0 { at > to } else { at < to } {
        picked.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
        at = at.saturating_add(i64::from(step));
    }
    copied(picked.into_iter(), budget)
}

/// Equality between all values; order between numbers only, and null for others, as the specification has it.
fn compare(comparator: &Comparator, left: &Value, right: &Value, budget: &Budget) -> Evaluated<Value> {
    match comparator {
        Comparator::Equal | Comparator::NotEqual => {
            budget.pay_for(left)?;
            Ok(Value::Bool(equal(left, right) == (*comparator == Comparator::Equal)))
        }
        ordering => {
            let (Value::Number(left), Value::Number(right)) = (left, right) else {
                return Ok(Value::Null);
            };
            let order = order(left, right);
            Ok(Value::Bool(match ordering {
                Comparator::LessThan => order.is_lt(),
                Comparator::LessThanEqual => order.is_le(),
                Comparator::GreaterThan => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
    }
}
