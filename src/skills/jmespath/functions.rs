//! The 26 functions of JMESPath (jmespath.org/specification.html#built-in-functions).
//!
//! Numbers stay integers where they are: `sum([1, 2])` is 3, not 3.0, and integers beyond 2^53 keep every digit.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Number, Value};

use super::{
    evaluate::{Budget, Evaluated, equal, eval, order, owned},
    program::Node,
};
use crate::skills::params::json_bytes;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:expr,)*) => {
        /// A function of JMESPath.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant,)* }

        impl Function {
            /// The function of this name.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Its name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The least and the largest number of arguments; `None` is any number.
            pub(super) fn arity(self) -> (usize, Option<usize>) {
                match self { $(Self::$variant => ($least, $most),)* }
            }
        }
    };
}

functions! {
    Abs "abs" 1 Some(1),
    Avg "avg" 1 Some(1),
    Ceil "ceil" 1 Some(1),
    Contains "contains" 2 Some(2),
    EndsWith "ends_with" 2 Some(2),
    Floor "floor" 1 Some(1),
    Join "join" 2 Some(2),
    Keys "keys" 1 Some(1),
    Length "length" 1 Some(1),
    Map "map" 2 Some(2),
    Max "max" 1 Some(1),
    MaxBy "max_by" 2 Some(2),
    Merge "merge" 1 None,
    Min "min" 1 Some(1),
    MinBy "min_by" 2 Some(2),
    NotNull "not_null" 1 None,
    Reverse "reverse" 1 Some(1),
    Sort "sort" 1 Some(1),
    SortBy "sort_by" 2 Some(2),
    StartsWith "starts_with" 2 Some(2),
    Sum "sum" 1 Some(1),
    ToArray "to_array" 1 Some(1),
    ToNumber "to_number" 1 Some(1),
    ToString "to_string" 1 Some(1),
    Type "type" 1 Some(1),
    Values "values" 1 Some(1),
}

impl Function {
    /// Which argument is an expression (`&field`), counted from 0.
    pub(super) fn expression_argument(self) -> Option<usize> {
        match self {
            Self::Map => Some(0),
            Self::MaxBy | Self::MinBy | Self::SortBy => Some(1),
            _ => None,
        }
    }
}

/// Calls `function`. The program made sure that the number and the kinds of the arguments fit.
pub(super) fn call<'v>(
    function: Function,
    arguments: &'v [Node],
    current: &'v Value,
    budget: &Budget,
) -> Evaluated<Cow<'v, Value>> {
    let call = Call { function, budget };
    match (function, arguments) {
        (Function::Map, [each, items]) => call.map(each, &*eval(items, current, budget)?),
        (Function::SortBy, [items, key]) => call.sort_by(&*eval(items, current, budget)?, key),
        (Function::MaxBy, [items, key]) => call.extreme_by(&*eval(items, current, budget)?, key, Ordering::Greater),
        (Function::MinBy, [items, key]) => call.extreme_by(&*eval(items, current, budget)?, key, Ordering::Less),
        (Function::NotNull, candidates) => {
            for candidate in candidates {
                let value = eval(candidate, current, budget)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(owned(Value::Null));
        }
        (Function::Merge, objects) => {
            let objects = objects
                .iter()
                .map(|object| eval(object, current, budget))
                .collect::<Evaluated<Vec<_>>>()?;
            call.merge(&objects)
        }
        (_, [only]) => {
            let value = eval(only, current, budget)?;
            // These three often give back what they were given; a borrowed value stays borrowed.
            match (function, &*value) {
                (Function::ToArray, Value::Array(_))
                | (Function::ToString, Value::String(_))
                | (Function::ToNumber, Value::Number(_)) => return Ok(value),
                _ => call.of_one(&value),
            }
        }
        (_, [left, right]) => call.of_two(&*eval(left, current, budget)?, &*eval(right, current, budget)?),
        _ => Err(format!(
            "{}() was called with the wrong number of arguments",
            function.name()
        )),
    }
    .map(owned)
}

/// One call, for its errors and its budget.
struct Call<'b> {
    function: Function,
    budget: &'b Budget,
}

impl Call<'_> {
    fn wrong_type(&self, wanted: &str, got: &Value) -> String {
        format!("{}() takes {wanted}, not {}", self.function.name(), type_name(got))
    }

    fn array<'a>(&self, value: &'a Value) -> Evaluated<&'a [Value]> {
        value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| self.wrong_type("an array", value))
    }

    fn text<'a>(&self, value: &'a Value) -> Evaluated<&'a str> {
        value.as_str().ok_or_else(|| self.wrong_type("a string", value))
    }

    fn number<'a>(&self, value: &'a Value) -> Evaluated<&'a Number> {
        value.as_number().ok_or_else(|| self.wrong_type("a number", value))
    }

    fn numbers<'a>(&self, value: &'a Value) -> Evaluated<Vec<&'a Number>> {
        let items = self.array(value)?;
        self.budget.pay_for(value)?;
        items
            .iter()
            .map(|item| {
                item.as_number()
                    .ok_or_else(|| self.wrong_type("an array of numbers", item))
            })
            .collect()
    }

    fn copy(&self, value: &Value) -> Evaluated<Value> {
        self.budget.own(Cow::Borrowed(value))
    }

    fn of_one(&self, value: &Value) -> Evaluated<Value> {
        match self.function {
            Function::Abs => match self.number(value)?.as_i128() {
                Some(integer) => Ok(from_integer(integer.saturating_abs())),
                None => from_float(as_float(self.number(value)?).abs()),
            },
            Function::Ceil => rounded(self.number(value)?, f64::ceil),
            Function::Floor => rounded(self.number(value)?, f64::floor),
            Function::Sum => sum(&self.numbers(value)?),
            Function::Avg => average(&self.numbers(value)?),
            Function::Keys => {
                let object = value.as_object().ok_or_else(|| self.wrong_type("an object", value))?;
                self.budget.pay_for(value)?;
                Ok(object.keys().map(|key| Value::from(key.as_str())).collect())
            }
            Function::Values => {
                let object = value.as_object().ok_or_else(|| self.wrong_type("an object", value))?;
                self.budget.pay_for(value)?;
                Ok(object.values().cloned().collect())
            }
            Function::Length => match value {
                Value::Array(items) => Ok(Value::from(items.len())),
                Value::Object(map) => Ok(Value::from(map.len())),
                Value::String(text) => {
                    self.budget.spend(text.len())?;
                    Ok(Value::from(text.chars().count()))
                }
                other => Err(self.wrong_type("a string, an array or an object", other)),
            },
            Function::Reverse => {
                self.budget.pay_for(value)?;
                match value {
                    Value::Array(items) => Ok(items.iter().rev().cloned().collect()),
                    Value::String(text) => Ok(Value::String(text.chars().rev().collect())),
                    other => Err(self.wrong_type("a string or an array", other)),
                }
            }
            Function::Sort => {
                let items = self.array(value)?;
                self.budget.pay_for(value)?;
                self.check_sortable(items)?;
                let mut items = items.to_vec();
                items.sort_by(order_of_keys);
                Ok(Value::Array(items))
            }
            Function::Max => self.extreme(value, Ordering::Greater),
            Function::Min => self.extreme(value, Ordering::Less),
            Function::ToArray => Ok(Value::Array(vec![self.copy(value)?])),
            Function::ToNumber => Ok(match value {
                Value::String(text) => serde_json::from_str::<Number>(text).map_or(Value::Null, Value::Number),
                _ => Value::Null,
            }),
            Function::ToString => {
                // Counted before it is written: a text takes up to six bytes for one in JSON.
                self.budget.spend(json_bytes(value))?;
                Ok(Value::String(value.to_string()))
            }
            Function::Type => Ok(Value::from(type_name(value))),
            other => Err(format!("{}() was called with one argument", other.name())),
        }
    }

    fn of_two(&self, left: &Value, right: &Value) -> Evaluated<Value> {
        match self.function {
            Function::Contains => {
                self.budget.pay_for(left)?;
                match left {
                    Value::Array(items) => Ok(Value::Bool(items.iter().any(|item| equal(item, right)))),
                    Value::String(text) => Ok(Value::Bool(right.as_str().is_some_and(|part| text.contains(part)))),
                    other => Err(self.wrong_type("a string or an array", other)),
                }
            }
            Function::StartsWith => Ok(Value::Bool(self.text(left)?.starts_with(self.text(right)?))),
            Function::EndsWith => Ok(Value::Bool(self.text(left)?.ends_with(self.text(right)?))),
            Function::Join => self.join(self.text(left)?, self.array(right)?),
            other => Err(format!("{}() was called with two arguments", other.name())),
        }
    }

    fn join(&self, glue: &str, parts: &[Value]) -> Evaluated<Value> {
        let mut joined = String::new();
        for (place, part) in parts.iter().enumerate() {
            let part = part
                .as_str()
                .ok_or_else(|| self.wrong_type("an array of strings", part))?;
            self.budget
                .spend(glue.len().saturating_add(part.len()).saturating_add(1))?;
            if place > 0 {
                joined.push_str(glue);
            }
            joined.push_str(part);
        }
        Ok(Value::String(joined))
    }

    fn merge(&self, objects: &[Cow<'_, Value>]) -> Evaluated<Value> {
        let mut merged = Map::new();
        for object in objects {
            let map = object.as_object().ok_or_else(|| self.wrong_type("objects", object))?;
            self.budget.pay_for(object)?;
            merged.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Ok(Value::Object(merged))
    }

    fn map(&self, each: &Node, items: &Value) -> Evaluated<Value> {
        self.array(items)?
            .iter()
            .map(|item| self.budget.own(eval(each, item, self.budget)?))
            .collect()
    }

    fn extreme(&self, value: &Value, wanted: Ordering) -> Evaluated<Value> {
        let items = self.array(value)?;
        self.budget.pay_for(value)?;
        self.check_sortable(items)?;
        let mut best: Option<&Value> = None;
        for item in items {
            if best.is_none_or(|best| order_of_keys(item, best) == wanted) {
                best = Some(item);
            }
        }
        Ok(best.cloned().unwrap_or(Value::Null))
    }

    fn extreme_by(&self, items: &Value, key: &Node, wanted: Ordering) -> Evaluated<Value> {
        let mut best: Option<(Value, &Value)> = None;
        for (key, item) in self.keyed(items, key)? {
            if best
                .as_ref()
                .is_none_or(|(best, _)| order_of_keys(&key, best) == wanted)
            {
                best = Some((key, item));
            }
        }
        best.map_or(Ok(Value::Null), |(_, item)| self.copy(item))
    }

    fn sort_by(&self, items: &Value, key: &Node) -> Evaluated<Value> {
        let mut keyed = self.keyed(items, key)?;
        keyed.sort_by(|(left, _), (right, _)| order_of_keys(left, right));
        keyed.into_iter().map(|(_, item)| self.copy(item)).collect()
    }

    /// The elements with their keys, which are all numbers or all strings.
    fn keyed<'i>(&self, items: &'i Value, key: &Node) -> Evaluated<Vec<(Value, &'i Value)>> {
        let items = self.array(items)?;
        let keys = items
            .iter()
            .map(|item| self.budget.own(eval(key, item, self.budget)?))
            .collect::<Evaluated<Vec<_>>>()?;
        self.check_sortable(&keys)?;
        Ok(keys.into_iter().zip(items).collect())
    }

    fn check_sortable(&self, keys: &[Value]) -> Evaluated<()> {
        if keys.iter().all(Value::is_number) || keys.iter().all(Value::is_string) {
            return Ok(());
        }
        Err(format!(
            "{}() orders numbers or strings, not a mix or other types",
            self.function.name()
        ))
    }
}

/// The order of two numbers or two strings, the latter by their code points.
fn order_of_keys(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn as_float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

/// An integer, or the nearest float where it does not fit 64 bits.
fn from_integer(integer: i128) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "beyond 64 bits JSON has nothing better")]
    Number::from_i128(integer).map_or_else(|| Value::from(integer as f64), Value::Number)
}

/// A float; as an integer where it is one and every digit of it is known.
fn from_float(float: f64) -> Evaluated<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Ok(Value::from(float as i64));
    }
    Number::from_f64(float)
        .map(Value::Number)
        .ok_or_else(|| "the number is too large for JSON".to_owned())
}

fn rounded(number: &Number, round: fn(f64) -> f64) -> Evaluated<Value> {
    if number.is_f64() {
        from_float(round(as_float(number)))
    } else {
        Ok(Value::Number(number.clone()))
    }
}

fn sum(numbers: &[&Number]) -> Evaluated<Value> {
    let integers: Option<i128> = numbers
        .iter()
        .try_fold(0_i128, |sum, number| sum.checked_add(number.as_i128()?));
    match integers {
        Some(sum) => Ok(from_integer(sum)),
        None => from_float(numbers.iter().map(|number| as_float(number)).sum()),
    }
}

fn average(numbers: &[&Number]) -> Evaluated<Value> {
    if numbers.is_empty() {
        return Ok(Value::Null);
    }
    #[expect(clippy::cast_precision_loss, reason = "an input has far fewer than 2^53 elements")]
    let count = numbers.len() as f64;
    from_float(as_float(sum(numbers)?.as_number().unwrap_or(&Number::from(0))) / count)
}
