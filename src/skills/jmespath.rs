//! JMESPath for plans: the expressions of `json_transform` and the conditions (`when`) of steps.
//!
//! The grammar is the crate `jmespath`'s; the evaluation is our own, because every evaluation here runs on a budget:
//! an expression of a hundred bytes can double its value forty times, and a Worker that runs out of memory takes the
//! requests beside it along. Evaluation is pure, deterministic, and must never panic.

mod depth;
mod evaluate;
mod functions;
mod program;

use serde_json::Value;

/// The longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4 * 1024;

/// An expression that compiled: its grammar, function names and numbers of arguments are right.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    program: program::Node,
}

/// Compiles an expression, of at most [`MAX_EXPRESSION_BYTES`] bytes and a bounded depth.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn compile(expression: &str) -> Result<Expression, String> {
    if expression.len() > MAX_EXPRESSION_BYTES {
        return Err(format!(
            "an expression may have {MAX_EXPRESSION_BYTES} bytes, this one has {}",
            expression.len()
        ));
    }
    depth::check(expression)?;
    let ast = ::jmespath::parse(expression)
        .map_err(|error| format!("{} (line {}, column {})", error.reason, error.line, error.column))?;
    Ok(Expression {
        program: program::lower(&ast)?,
    })
}

/// Evaluates an expression on `input`.
///
/// # Errors
/// What is wrong with the input or the expression, for a person, or that the budget was used up.
pub fn search(expression: &Expression, input: &Value) -> Result<Value, String> {
    evaluate::evaluate(&expression.program, input)
}

/// Whether an expression holds on `input`: anything but `false`, `null`, and the empty string, array and object.
///
/// # Errors
/// As [`search`].
pub fn truthy(expression: &Expression, input: &Value) -> Result<bool, String> {
    search(expression, input).map(|value| evaluate::is_truthy(&value))
}

#[cfg(test)]
mod tests;
