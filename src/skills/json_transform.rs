//! `json_transform`: reshapes JSON with JMESPath. Pure and deterministic: no effects, no clock, no network.

use futures::future::{FutureExt, LocalBoxFuture, ready};
use serde_json::{Map, Value, json};

use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    contract::{Identity, Limit},
    failure::{Failure, failures},
    jmespath::{self, Expression, MAX_EXPRESSION_BYTES},
    params::{self, Field, Reader, Stage},
};
use crate::problem::{FieldError, pointer_token};

/// The largest input and output, in bytes of compact JSON.
const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The most expressions of a mapping.
const MAX_MAPPING: usize = 100;

const IDENTITY: Identity = Identity {
    name: "json_transform",
    version: "1",
    integrations: &[],
};

/// The skill `json_transform`.
pub struct JsonTransform;

failures! {
    /// How a transform can fail.
    enum TransformFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        ExpressionFailed {
            code: "expression_failed", category: Category::Validation, retryable: false,
            when: "an expression does not fit the input: a function was given a value of a wrong type, or the work was \
                   more than the budget of one evaluation",
        },
        OutputTooLarge {
            code: "output_too_large", category: Category::Content, retryable: false,
            when: "the result has more than 1 MiB as JSON, or nests deeper than 64 levels",
        },
    }
}

/// What to compute, once every reference is filled in.
enum Program {
    /// The result is the output.
    One(Expression),
    /// The output is an object with one field per expression.
    Mapping(Vec<(String, Expression)>),
}

struct Params<'a> {
    input: Field<&'a Value>,
    program: Field<Program>,
}

fn read(params: &Value, stage: Stage) -> Result<Params<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let input = reader.json("input", MAX_JSON_BYTES);
    reader.require("input", &input);
    let expression = reader.string("expression", MAX_EXPRESSION_BYTES);
    let mapping = reader.object("mapping", MAX_MAPPING);
    match (expression.is_present(), mapping.is_present()) {
        (true, true) => reader.refuse(
            "/mapping",
            params::CONFLICTING_FIELDS,
            "give expression or mapping, not both",
        ),
        (false, false) => reader.refuse("/expression", params::REQUIRED, "give expression or mapping"),
        _ => {}
    }
    let program = match (expression, mapping) {
        (Field::Is(text), _) => {
            compile(&mut reader, "/expression", text).map_or(Field::Open, |one| Field::Is(Program::One(one)))
        }
        (_, Field::Is(map)) => read_mapping(&mut reader, map),
        _ => Field::Open,
    };
    reader.finish()?;
    Ok(Params { input, program })
}

fn read_mapping(reader: &mut Reader<'_>, map: &Map<String, Value>) -> Field<Program> {
    let mut expressions = Vec::with_capacity(map.len());
    for (name, value) in map {
        let pointer = format!("/mapping/{}", pointer_token(name));
        match value.as_str() {
            None => reader.refuse(pointer, params::WRONG_TYPE, "an expression is a string"),
            Some(text) if reader.is_template(text) => {}
            Some(text) => {
                expressions.extend(compile(reader, &pointer, text).map(|expression| (name.clone(), expression)))
            }
        }
    }
    if expressions.len() == map.len() {
        Field::Is(Program::Mapping(expressions))
    } else {
        Field::Open
    }
}

fn compile(reader: &mut Reader<'_>, pointer: &str, text: &str) -> Option<Expression> {
    jmespath::compile(text)
        .map_err(|reason| reader.refuse(pointer, params::INVALID_VALUE, reason))
        .ok()
}

fn transform(params: &Value) -> Result<Value, (TransformFailure, String)> {
    let (input, program) = match read(params, Stage::Resolved) {
        Ok(Params {
            input: Field::Is(input),
            program: Field::Is(program),
        }) => (input, program),
        Ok(_) => {
            return Err((
                TransformFailure::InvalidParams,
                "input and expression are required".to_owned(),
            ));
        }
        Err(errors) => return Err((TransformFailure::InvalidParams, params::in_words(&errors))),
    };
    let output = match program {
        Program::One(expression) => search(&expression, input)?,
        Program::Mapping(expressions) => {
            let mut output = Map::new();
            let mut bytes = 0_usize;
            for (name, expression) in expressions {
                let value = jmespath::search(&expression, input)
                    .map_err(|reason| (TransformFailure::ExpressionFailed, format!("{name}: {reason}")))?;
                // A hundred results just below the limit would not fit the memory there is.
                bytes = bytes.saturating_add(bounded(&value)?);
                if bytes > MAX_JSON_BYTES {
                    return Err(too_large());
                }
                output.insert(name, value);
            }
            Value::Object(output)
        }
    };
    bounded(&output)?;
    Ok(output)
}

fn search(expression: &Expression, input: &Value) -> Result<Value, (TransformFailure, String)> {
    jmespath::search(expression, input).map_err(|reason| (TransformFailure::ExpressionFailed, reason))
}

/// The size of a result, if it may be stored.
fn bounded(value: &Value) -> Result<usize, (TransformFailure, String)> {
    if params::nests_deeper_than(value, params::MAX_DEPTH) {
        let reason = format!("the result nests deeper than {} levels", params::MAX_DEPTH);
        return Err((TransformFailure::OutputTooLarge, reason));
    }
    Some(params::json_bytes(value))
        .filter(|bytes| *bytes <= MAX_JSON_BYTES)
        .ok_or_else(too_large)
}

fn too_large() -> (TransformFailure, String) {
    (
        TransformFailure::OutputTooLarge,
        format!("the result has more than {MAX_JSON_BYTES} bytes as JSON"),
    )
}

impl Skill for JsonTransform {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned).map(drop)
    }

    fn effect_class(&self, _: &Value) -> EffectClass {
        EffectClass::Pure
    }

    fn host(&self, _: &Value) -> Option<String> {
        None
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        let outcome = match transform(call.params) {
            Ok(output) => Outcome::succeeded(output),
            Err((failure, reason)) => Outcome::failed(failure.error(reason)),
        };
        ready(outcome).boxed_local()
    }
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Computes a JSON value from another one with JMESPath, or an object with one expression per field.",
        input_schema: schema(),
        output_schema: json!({
            "description": "What the expression gives (null if it finds nothing), or an object with the fields of the mapping."
        }),
        effects: &[EffectClass::Pure],
        idempotency: "Pure: the same params give the same output.",
        cost_model: "Free.",
        limits: vec![
            Limit {
                what: "input",
                max: MAX_JSON_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "expression",
                max: MAX_EXPRESSION_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "mapping",
                max: MAX_MAPPING as u64,
                unit: "items",
            },
            Limit {
                what: "output",
                max: MAX_JSON_BYTES as u64,
                unit: "bytes",
            },
        ],
        failure_modes: TransformFailure::modes(),
        volatile: &[],
        example: json!({
            "input": {"items": [{"name": "pear", "price": 3}, {"name": "fig", "price": 5}]},
            "mapping": {"names": "items[*].name", "total": "sum(items[*].price)", "dearest": "max_by(items, &price).name"}
        }),
    }
}

/// The JSON Schema of the params.
fn schema() -> Value {
    let expression = |description: &str| json!({"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION_BYTES, "description": description});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["input"],
        "oneOf": [{"required": ["expression"]}, {"required": ["mapping"]}],
        "properties": {
            "input": {"description": "Any JSON, at most 1 MiB and 64 levels deep."},
            "expression": expression("A JMESPath expression (jmespath.org), evaluated on the input."),
            "mapping": {
                "type": "object",
                "maxProperties": MAX_MAPPING,
                "additionalProperties": expression("A JMESPath expression for this field."),
                "description": "The output's fields, each with the expression that gives its value."
            }
        }
    })
}

#[cfg(test)]
mod tests;
