//! What may be asked of Voyage's models, and what is answered.
//! Must never count more tokens one time than another: a token is four bytes.

use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::fault;
use super::vector::{Form, vector, written};

const MOST_TEXTS: usize = 1_000;
const BYTES_PER_TOKEN: usize = 4;
/// What a request may say.
const ARGUMENTS: &[&str] = &[
    "encoding_format",
    "input",
    "input_type",
    "model",
    "output_dimension",
    "output_dtype",
    "truncation",
];

/// One of Voyage's models, by its documentation.
#[derive(Debug)]
struct Model {
    name: &'static str,
    /// The vector's length when nothing else is asked for.
    dimension: usize,
    /// The model gives 256, 512, 1024 and 2048 numbers, and other types than floats.
    flexible: bool,
    /// The longest text, in tokens.
    context: usize,
    /// The most tokens of one request.
    request: usize,
}

const fn model(name: &'static str, dimension: usize, flexible: bool, context: usize, request: usize) -> Model {
    Model {
        name,
        dimension,
        flexible,
        context,
        request,
    }
}

const MODELS: &[Model] = &[
    model("voyage-3", 1024, false, 32_000, 320_000),
    model("voyage-3-large", 1024, true, 32_000, 120_000),
    model("voyage-3-lite", 512, false, 32_000, 1_000_000),
    model("voyage-3.5", 1024, true, 32_000, 320_000),
    model("voyage-3.5-lite", 1024, true, 32_000, 1_000_000),
    model("voyage-4", 1024, true, 32_000, 320_000),
    model("voyage-4-large", 1024, true, 32_000, 120_000),
    model("voyage-4-lite", 1024, true, 32_000, 1_000_000),
    model("voyage-code-3", 1024, true, 32_000, 120_000),
    model("voyage-finance-2", 1024, false, 32_000, 120_000),
    model("voyage-law-2", 1024, false, 16_000, 120_000),
    model("voyage-multilingual-2", 1024, false, 32_000, 120_000),
];
const FLEXIBLE_DIMENSIONS: [usize; 4] = [256, 512, 1024, 2048];

/// A request that Voyage would answer.
#[derive(Debug)]
pub(super) struct Order {
    model: &'static Model,
    input_type: &'static str,
    dimension: usize,
    form: Form,
    texts: Vec<String>,
    total_tokens: usize,
}

fn invalid<T>(detail: impl Into<String>) -> Result<T, Box<Response>> {
    Err(Box::new(fault(StatusCode::BAD_REQUEST, detail)))
}

fn malformed<T>(detail: impl Into<String>) -> Result<T, Box<Response>> {
    Err(Box::new(fault(StatusCode::UNPROCESSABLE_ENTITY, detail)))
}

impl Order {
    pub(super) fn read(body: &Bytes) -> Result<Self, Box<Response>> {
        let Ok(Value::Object(mut arguments)) = serde_json::from_slice(body) else {
            return invalid("The request body is no JSON object.");
        };
        arguments.retain(|_, value| !value.is_null());
        if let Some(unknown) = arguments.keys().find(|name| !ARGUMENTS.contains(&name.as_str())) {
            return invalid(format!("Argument '{unknown}' is not supported by our API."));
        }
        let model = read_model(&arguments)?;
        let input_type = match arguments.get("input_type").map(Value::as_str) {
            None => "",
            Some(Some("query")) => "query",
            Some(Some("document")) => "document",
            Some(_) => return invalid("The input_type must be null, 'query' or 'document'."),
        };
        let truncation = match arguments.get("truncation") {
            None => true,
            Some(Value::Bool(truncation)) => *truncation,
            Some(_) => return malformed("The truncation must be a boolean."),
        };
        let dimension = match arguments.get("output_dimension").map(Value::as_u64) {
            None => model.dimension,
            Some(None) => return malformed("The output_dimension must be an integer."),
            Some(Some(asked)) => {
                let asked = usize::try_from(asked).unwrap_or(usize::MAX);
                let offered = asked == model.dimension || model.flexible && FLEXIBLE_DIMENSIONS.contains(&asked);
                if !offered {
                    return invalid(format!("Model {} has no output_dimension of {asked}.", model.name));
                }
                asked
            }
        };
        let form = read_form(&arguments, model)?;
        let texts = read_texts(&arguments)?;
        let mut total_tokens = 0;
        for (index, text) in texts.iter().enumerate() {
            let tokens = tokens(text);
            if tokens > model.context && !truncation {
                let limit = model.context;
                return invalid(format!(
                    "Text {index} has {tokens} tokens, and the context of model {} {limit}. Set truncation to true.",
                    model.name
                ));
            }
            total_tokens += tokens.min(model.context);
        }
        if total_tokens > model.request {
            return invalid(format!(
                "Request to model '{}' failed. The max allowed tokens per submitted batch is {}. Your batch has \
                 {total_tokens} tokens after truncation. Please lower the number of tokens in the batch.",
                model.name, model.request
            ));
        }
        Ok(Self {
            model,
            input_type,
            dimension,
            form,
            texts,
            total_tokens,
        })
    }

    pub(super) fn answer(&self) -> Response {
        let data: Vec<Value> = self
            .texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let vector = vector(self.model.name, self.input_type, text, self.dimension);
                json!({ "object": "embedding", "embedding": written(&vector, self.form), "index": index })
            })
            .collect();
        Json(json!({
            "object": "list",
            "data": data,
            "model": self.model.name,
            "usage": { "total_tokens": self.total_tokens },
        }))
        .into_response()
    }
}

fn read_model(arguments: &Map<String, Value>) -> Result<&'static Model, Box<Response>> {
    let name = match arguments.get("model") {
        None => return invalid("The argument 'model' is missing."),
        Some(Value::String(name)) => name,
        Some(_) => return malformed("The model must be a string."),
    };
    if let Some(model) = MODELS.iter().find(|model| model.name == name) {
        return Ok(model);
    }
    let known: Vec<_> = MODELS.iter().map(|model| format!("'{}'", model.name)).collect();
    let known = known.join(", ");
    invalid(format!(
        "Model {name} is not supported. Supported models are [{known}]."
    ))
}

fn read_form(arguments: &Map<String, Value>, model: &Model) -> Result<Form, Box<Response>> {
    let form = match arguments.get("output_dtype").map(Value::as_str) {
        None | Some(Some("float")) => Form::Float,
        Some(Some("int8")) => Form::Int8,
        Some(Some("uint8")) => Form::Uint8,
        Some(Some("binary")) => Form::Binary,
        Some(Some("ubinary")) => Form::Ubinary,
        Some(_) => return invalid("The output_dtype must be 'float', 'int8', 'uint8', 'binary' or 'ubinary'."),
    };
    if form != Form::Float && !model.flexible {
        return invalid(format!("Model {} gives only floats.", model.name));
    }
    match arguments.get("encoding_format").map(Value::as_str) {
        None => Ok(form),
        Some(Some("base64")) if form == Form::Float => Ok(Form::Base64),
        Some(Some("base64")) => invalid("This stand-in encodes only floats."),
        Some(_) => invalid("The encoding_format must be null or 'base64'."),
    }
}

fn read_texts(arguments: &Map<String, Value>) -> Result<Vec<String>, Box<Response>> {
    let texts = match arguments.get("input") {
        None => return invalid("The argument 'input' is missing."),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => {
            let texts: Option<Vec<_>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            match texts {
                Some(texts) => texts,
                None => return malformed("The input must be a string or a list of strings."),
            }
        }
        Some(_) => return malformed("The input must be a string or a list of strings."),
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return invalid("The input must not be empty, nor may one of its texts.");
    }
    if texts.len() > MOST_TEXTS {
        let count = texts.len();
        return invalid(format!(
            "The batch size limit is {MOST_TEXTS}. Your batch size is {count}."
        ));
    }
    Ok(texts)
}

fn tokens(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_four_bytes_rounded_up() {
        assert_eq!(
            [tokens("a"), tokens("abcd"), tokens("abcde"), tokens("üü")],
            [1, 1, 2, 1]
        );
    }
}
