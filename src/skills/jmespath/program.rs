//! The program of an expression: the parser's syntax tree with literals as JSON values, names of functions resolved
//! and their arguments counted, so that evaluation can fail only for its input.

use ::jmespath::ast::{Ast, Comparator};
use serde_json::Value;

use super::functions::Function;

/// One node of a program; evaluated on a current value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// `@`
    Current,
    /// `name`
    Field(String),
    /// `[n]`, from the end if negative.
    Index(i32),
    /// `[start:stop:step]`; the step is not zero.
    Slice {
        start: Option<i32>,
        stop: Option<i32>,
        step: i32,
    },
    /// `` `json` `` or `'text'`
    Literal(Value),
    /// `first.then`, `first | then`: `then` on the value of `first`.
    Then { first: Box<Node>, then: Box<Node> },
    /// `left || right`
    Or { left: Box<Node>, right: Box<Node> },
    /// `left && right`
    And { left: Box<Node>, right: Box<Node> },
    /// `!node`
    Not(Box<Node>),
    /// `left == right` and its kin.
    Compare {
        comparator: Comparator,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// Inside a filter: `then` where the predicate holds, else null.
    Condition { predicate: Box<Node>, then: Box<Node> },
    /// The values of an object (`*`).
    Values(Box<Node>),
    /// `each` on every element of the array `source`; nulls are left out.
    Project { source: Box<Node>, each: Box<Node> },
    /// `[]`
    Flatten(Box<Node>),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`
    Hash(Vec<(String, Node)>),
    /// `name(arguments)`; their number and kinds fit the function.
    Call { function: Function, arguments: Vec<Node> },
}

/// The program of a syntax tree, or what is wrong with it.
pub(super) fn lower(ast: &Ast) -> Result<Node, String> {
    Ok(match ast {
        Ast::Identity { .. } => Node::Current,
        Ast::Field { name, .. } => Node::Field(name.clone()),
        Ast::Index { idx, .. } => Node::Index(*idx),
        Ast::Slice { step: 0, .. } => return Err("the step of a slice must not be 0".to_owned()),
        Ast::Slice { start, stop, step, .. } => Node::Slice {
            start: *start,
            stop: *stop,
            step: *step,
        },
        Ast::Literal { value, .. } => Node::Literal(
            serde_json::to_value(value.as_ref()).map_err(|error| format!("a literal is not JSON: {error}"))?,
        ),
        Ast::Subexpr { lhs, rhs, .. } => Node::Then {
            first: boxed(lhs)?,
            then: boxed(rhs)?,
        },
        Ast::Or { lhs, rhs, .. } => Node::Or {
            left: boxed(lhs)?,
            right: boxed(rhs)?,
        },
        Ast::And { lhs, rhs, .. } => Node::And {
            left: boxed(lhs)?,
            right: boxed(rhs)?,
        },
        Ast::Not { node, .. } => Node::Not(boxed(node)?),
        Ast::Comparison {
            comparator, lhs, rhs, ..
        } => Node::Compare {
            comparator: comparator.clone(),
            left: boxed(lhs)?,
            right: boxed(rhs)?,
        },
        Ast::Condition { predicate, then, .. } => Node::Condition {
            predicate: boxed(predicate)?,
            then: boxed(then)?,
        },
        Ast::ObjectValues { node, .. } => Node::Values(boxed(node)?),
        Ast::Projection { lhs, rhs, .. } => Node::Project {
            source: boxed(lhs)?,
            each: boxed(rhs)?,
        },
        Ast::Flatten { node, .. } => Node::Flatten(boxed(node)?),
        Ast::MultiList { elements, .. } => Node::List(elements.iter().map(lower).collect::<Result<_, _>>()?),
        Ast::MultiHash { elements, .. } => Node::Hash(
            elements
                .iter()
                .map(|pair| Ok((pair.key.clone(), lower(&pair.value)?)))
                .collect::<Result<_, String>>()?,
        ),
        Ast::Function { name, args, .. } => lower_call(name, args)?,
        Ast::Expref { .. } => {
            return Err("`&expression` can only be an argument of a function that takes one".to_owned());
        }
    })
}

fn boxed(ast: &Ast) -> Result<Box<Node>, String> {
    lower(ast).map(Box::new)
}

fn lower_call(name: &str, args: &[Ast]) -> Result<Node, String> {
    let function = Function::named(name).ok_or_else(|| format!("there is no function {name}()"))?;
    let (least, most) = function.arity();
    if args.len() < least || most.is_some_and(|most| args.len() > most) {
        let wanted = if most == Some(least) {
            least.to_string()
        } else {
            format!("{least} or more")
        };
        return Err(format!("{name}() takes {wanted} arguments, not {}", args.len()));
    }
    let mut arguments = Vec::with_capacity(args.len());
    for (place, argument) in args.iter().enumerate() {
        let wants_expression = function.expression_argument() == Some(place);
        arguments.push(match (argument, wants_expression) {
            (Ast::Expref { ast, .. }, true) => lower(ast)?,
            (_, true) => {
                return Err(format!(
                    "{name}() takes an expression (`&field`) as argument {}",
                    place.saturating_add(1)
                ));
            }
            (value, false) => lower(value)?,
        });
    }
    Ok(Node::Call { function, arguments })
}
