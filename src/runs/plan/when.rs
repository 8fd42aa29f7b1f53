//! Which steps a condition names, told from its syntax tree.
//!
//! A condition sees `{steps: {<id>: {output, status}}, input}`, and of `steps` only what it names: so that what has to
//! be loaded is known when the plan is validated. That is decidable because the two objects in which a step could hide,
//! the document itself and `steps`, may only be entered by a name; where they could reach anything else (`@`,
//! `steps.*`, `keys(steps)`) the condition is refused.

use std::collections::BTreeSet;

use jmespath::ast::Ast;

use crate::skills::jmespath::compile;

/// Compiles a condition and gives the ids of the steps it names.
///
/// # Errors
/// Code and detail.
pub(super) fn named_steps(condition: &str) -> Result<BTreeSet<String>, (&'static str, String)> {
    let refuse = |detail| ("invalid_value", detail);
    compile(condition).map_err(refuse)?;
    let ast = jmespath::parse(condition).map_err(|error| refuse(error.to_string()))?;
    let mut walk = Walk::default();
    walk.value(&ast, Place::Document)?;
    Ok(walk.named)
}

/// Where an expression stands, or what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The whole document.
    Document,
    /// Its `steps`.
    Steps,
    /// A value from which no step can be reached that has not been named.
    Value,
}

type Refusal = (&'static str, String);

#[derive(Default)]
struct Walk {
    named: BTreeSet<String>,
}

impl Walk {
    /// Follows an expression that must give a mere value.
    fn value(&mut self, ast: &Ast, from: Place) -> Result<Place, Refusal> {
        match self.follow(ast, from)? {
            Place::Value => Ok(Place::Value),
            Place::Document => Err(whole(
                "the whole document",
                "name `steps.<id>.output`, `steps.<id>.status` or `input`",
            )),
            Place::Steps => Err(whole(
                "all of `steps`",
                "name the steps one by one: `steps.<id>.output`, `steps.<id>.status`",
            )),
        }
    }

    fn values<'a>(&mut self, parts: impl IntoIterator<Item = &'a Ast>, from: Place) -> Result<Place, Refusal> {
        parts
            .into_iter()
            .try_fold(Place::Value, |_, part| self.value(part, from))
    }

    /// Follows an expression evaluated at `from` to what it gives.
    fn follow(&mut self, ast: &Ast, from: Place) -> Result<Place, Refusal> {
        match ast {
            Ast::Identity { .. } => Ok(from),
            Ast::Literal { .. } => Ok(Place::Value),
            Ast::Field { name, .. } => self.field(name, from),
            Ast::Subexpr { lhs, rhs, .. } => {
                let reached = self.follow(lhs, from)?;
                self.follow(rhs, reached)
            }
            // Evaluated by a function on values that it was given, and it can only have been given values.
            Ast::Expref { ast, .. } => self.value(ast, Place::Value),
            // The right side is evaluated on the elements of the left one.
            Ast::Projection { lhs, rhs, .. } => {
                let elements = self.value(lhs, from)?;
                self.value(rhs, elements)
            }
            Ast::Index { .. } | Ast::Slice { .. } => self.value(&Ast::Identity { offset: 0 }, from),
            Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => self.value(node, from),
            // `!steps.a.output` is `(!steps).a.output` to JMESPath, and always null.
            Ast::Not { node, .. } => self.value(node, from).map_err(|(code, detail)| {
                (
                    code,
                    format!("{detail}; `!` binds tighter than `.`, write !(steps.<id>.output)"),
                )
            }),
            Ast::And { lhs, rhs, .. }
            | Ast::Or { lhs, rhs, .. }
            | Ast::Comparison { lhs, rhs, .. }
            | Ast::Condition {
                predicate: lhs,
                then: rhs,
                ..
            } => self.values([&**lhs, &**rhs], from),
            Ast::Function { args, .. } | Ast::MultiList { elements: args, .. } => self.values(args, from),
            Ast::MultiHash { elements, .. } => self.values(elements.iter().map(|pair| &pair.value), from),
        }
    }

    fn field(&mut self, name: &str, from: Place) -> Result<Place, Refusal> {
        match (from, name) {
            (Place::Value, _) | (Place::Document, "input") => Ok(Place::Value),
            (Place::Document, "steps") => Ok(Place::Steps),
            (Place::Document, other) => {
                let detail = format!("a condition sees `steps` and `input`, there is no `{other}`");
                Err(("unknown_reference", detail))
            }
            (Place::Steps, id) => {
                self.named.insert(id.to_owned());
                Ok(Place::Value)
            }
        }
    }
}

fn whole(what: &str, instead: &str) -> Refusal {
    (
        "invalid_value",
        format!("a condition cannot use {what} as a value; {instead}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::skills::jmespath::search;

    fn names(condition: &str) -> Vec<String> {
        named_steps(condition)
            .unwrap_or_else(|error| panic!("{condition}: {error:?}"))
            .into_iter()
            .collect()
    }

    #[test]
    fn the_steps_that_a_condition_names_are_found_wherever_they_stand() {
        for (condition, expected) in [
            ("steps.a.output", &["a"] as &[&str]),
            (
                "steps.a.status == 'succeeded' && length(steps.b.output.items) > `0`",
                &["a", "b"],
            ),
            ("steps.\"my-step\".output.ok", &["my-step"]),
            ("!(steps.a.output) || input.force", &["a"]),
            ("steps | a.status", &["a"]),
            ("@.steps.a.output", &["a"]),
            ("steps.[a.output, b.output][0]", &["a", "b"]),
            ("{x: steps.a.output, y: input}.x", &["a"]),
            ("steps.a.output[?price > `3`] | [0].id", &["a"]),
            ("steps.a.output[*].steps.b", &["a"]),
            ("steps.a.output.*.b", &["a"]),
            ("max_by(steps.a.output, &price).steps", &["a"]),
            ("steps.a.output[].tags[] | contains(@, 'x')", &["a"]),
            ("steps.steps.output == 'steps.c'", &["steps"]),
            ("input.steps.c", &[]),
            ("not_null(steps.a.output, steps.b.output)", &["a", "b"]),
            ("`true`", &[]),
        ] {
            assert_eq!(names(condition), expected, "{condition}");
        }
    }

    #[test]
    fn what_could_reach_a_step_without_its_name_is_refused() {
        for condition in [
            "@",
            "*",
            "steps",
            "steps.*",
            "steps.*.status",
            "keys(steps)",
            "keys(@)",
            "values(steps)",
            "steps[0]",
            "[0]",
            "[]",
            "[*]",
            "[?a]",
            "steps[]",
            "steps[?status]",
            "!steps",
            "!steps.a.output",
            "steps && input.x",
            "input.x || steps",
            "steps == `{}`",
            "[@][0]",
            "[steps]",
            "{a: @}.a.steps.b",
            "(steps || input).a",
            "map(&steps, [@])",
            "to_string(@)",
            "@ | @",
            "merge(steps, input)",
        ] {
            assert_eq!(
                named_steps(condition).map_err(|(code, _)| code),
                Err("invalid_value"),
                "{condition}"
            );
        }
        assert_eq!(
            named_steps("secrets.x").map_err(|(code, _)| code),
            Err("unknown_reference")
        );
        assert_eq!(
            named_steps("stepz.a.output").map_err(|(code, _)| code),
            Err("unknown_reference")
        );
        assert_eq!(
            named_steps("steps.my-step").map_err(|(code, _)| code),
            Err("invalid_value")
        );
        assert_eq!(
            named_steps("nosuch(input)").map_err(|(code, _)| code),
            Err("invalid_value")
        );
        assert_eq!(named_steps("").map_err(|(code, _)| code), Err("invalid_value"));
    }

    fn condition() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "@", "steps", "input", "a", "b", "c", "output", "status", "*", "`1`", "'a'", "[0]", "[*]", "[]",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(5, 24, 3, |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                4 => pair.clone().prop_map(|(a, b)| format!("{a}.{b}")),
                1 => inner.clone().prop_map(|a| format!("steps.{a}")),
                1 => pair.clone().prop_map(|(a, b)| format!("{a} | {b}")),
                1 => pair.clone().prop_map(|(a, b)| format!("({a} || {b})")),
                1 => pair.clone().prop_map(|(a, b)| format!("({a} == {b})")),
                1 => pair.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
                1 => pair.clone().prop_map(|(a, b)| format!("{a}[?{b}]")),
                1 => pair.prop_map(|(a, b)| format!("map(&{a}, {b})")),
                1 => inner.clone().prop_map(|a| format!("not_null({a})")),
                1 => inner.clone().prop_map(|a| format!("keys({a})")),
                1 => inner.prop_map(|a| format!("{{x: {a}}}.x")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// The proof that the analysis is sound: a step that was not named can hold anything, or be missing, and the
        /// condition gives the same.
        #[test]
        fn a_step_that_was_not_named_changes_nothing(condition in condition()) {
            let Ok(named) = named_steps(&condition) else { return Ok(()) };
            let inner = json!({"a": [1, {"b": 2}], "c": {"steps": {"a": 1}}, "steps": {"b": 3}});
            let all: Map<String, Value> =
                ["a", "b", "c", "input", "output", "status", "steps"].iter().map(|id| ((*id).to_owned(), json!({"output": inner, "status": "succeeded", "a": id}))).collect();
            let only: Map<String, Value> = all.iter().filter(|(id, _)| named.contains(*id)).map(|(id, step)| (id.clone(), step.clone())).collect();
            let given = |steps: Map<String, Value>| {
                search(&compile(&condition).unwrap(), &json!({"steps": steps, "input": {"a": {"b": [1]}, "b": 1}}))
            };
            prop_assert_eq!(given(all), given(only));
        }
    }
}
