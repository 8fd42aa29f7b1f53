//! Voyage's embeddings: `POST /embeddings`. Must never give vectors that are not those of the texts, in their order.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::provider::{Answered, Endpoint, ErrorKind, Provider, ProviderError, Traffic, bearer, kind_of_status};

/// The most texts of one request.
pub const MAX_TEXTS: usize = 1_000;
/// The longest text that a model looks at, in tokens; the rest of a longer one is cut off.
pub const MAX_TEXT_TOKENS: usize = 32_000;
/// An error, or what is around the vectors.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// What is around one vector.
const ITEM_BYTES: usize = 128;

/// What Voyage's documentation says of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// The name that requests use.
    pub name: &'static str,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The most tokens of one request.
    pub request_tokens: usize,
}

const fn model(name: &'static str, dimensions: usize, request_tokens: usize) -> Model {
    Model {
        name,
        dimensions,
        request_tokens,
    }
}

/// The models that may be asked for; the first unless another one is named.
pub const MODELS: [Model; 9] = [
    model("voyage-3", 1024, 320_000),
    model("voyage-3-lite", 512, 1_000_000),
    model("voyage-code-3", 1024, 120_000),
    model("voyage-3-large", 1024, 120_000),
    model("voyage-3.5", 1024, 320_000),
    model("voyage-3.5-lite", 1024, 1_000_000),
    model("voyage-4", 1024, 320_000),
    model("voyage-4-lite", 1024, 1_000_000),
    model("voyage-4-large", 1024, 120_000),
];

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// At most [`MAX_TEXTS`], none of them empty.
    pub texts: &'a [&'a str],
    /// Of [`MODELS`].
    pub model: Model,
    /// `query`, `document` or nothing.
    pub input_type: Option<&'a str>,
}

/// The vectors of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One for each text, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// What is billed.
    pub total_tokens: u64,
    /// What went over the wire.
    pub traffic: Traffic,
}

#[derive(Serialize)]
struct Request<'a> {
    input: &'a [&'a str],
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_type: Option<&'a str>,
    /// A quarter as long as decimals, and exact.
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    usage: Tokens,
}

#[derive(Deserialize)]
struct Item {
    embedding: String,
    index: usize,
}

#[derive(Deserialize)]
struct Tokens {
    total_tokens: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    /// A sentence; a list of objects where the request has a wrong form.
    detail: Value,
}

/// Asks for the vectors of some texts.
///
/// # Errors
/// [`ProviderError`]; its kind is [`ErrorKind::TooLarge`] where fewer texts might do.
pub async fn embed(
    endpoint: &Endpoint,
    key: &SecretString,
    texts: Texts<'_>,
    timeout: Duration,
) -> Result<Embedded, ProviderError> {
    let request = Request {
        input: texts.texts,
        model: texts.model.name,
        input_type: texts.input_type,
        encoding_format: "base64",
    };
    let body = serde_json::to_vec(&request).map_err(|_| {
        ProviderError::new(
            Provider::Voyage,
            ErrorKind::Rejected,
            "the texts cannot be written as JSON",
        )
    })?;
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer(Provider::Voyage, key)?)]);
    let vector_bytes = texts.model.dimensions.saturating_mul(6).saturating_add(ITEM_BYTES);
    let max_bytes = texts
        .texts
        .len()
        .saturating_mul(vector_bytes)
        .saturating_add(ENVELOPE_BYTES);
    let answered = endpoint.post(headers, body, timeout, max_bytes).await?;
    if !answered.status.is_success() {
        return Err(refused(endpoint, answered));
    }
    match read(&answered.body, texts) {
        Ok((vectors, total_tokens)) => Ok(Embedded {
            vectors,
            total_tokens,
            traffic: answered.traffic,
        }),
        Err(reason) => Err(endpoint.refusal(answered, ErrorKind::InvalidAnswer, reason)),
    }
}

/// The vectors of an answer, each at the place of its text.
fn read(body: &[u8], texts: Texts<'_>) -> Result<(Vec<Vec<f32>>, u64), &'static str> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "the answer is not a list of vectors")?;
    if answer.data.len() != texts.texts.len() {
        return Err("the answer has not one vector for each text");
    }
    let mut vectors = vec![Vec::new(); texts.texts.len()];
    for item in answer.data {
        let place = vectors.get_mut(item.index).filter(|place| place.is_empty());
        let place = place.ok_or("the answer has not one vector for each text")?;
        *place = vector(&item.embedding)
            .filter(|vector| vector.len() == texts.model.dimensions)
            .ok_or("the answer has a vector that is not one of the model's")?;
    }
    Ok((vectors, answer.usage.total_tokens))
}

/// Numbers of 32 bits, the least byte first.
fn vector(encoded: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(encoded).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (rest.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
}

fn refused(endpoint: &Endpoint, answered: Answered) -> ProviderError {
    let refused: Refused = serde_json::from_slice(&answered.body).unwrap_or_default();
    let message = match refused.detail {
        Value::Null => format!("status {} without an error of Voyage's", answered.status.as_u16()),
        Value::String(detail) => detail,
        other => other.to_string(),
    };
    let kind = kind(&message, answered.status);
    endpoint.refusal(answered, kind, message)
}

fn kind(message: &str, status: StatusCode) -> ErrorKind {
    // There is no code for it: "The max allowed tokens per submitted batch is 120000. Your batch has …".
    let is_too_large = ["max allowed tokens", "batch size limit"]
        .iter()
        .any(|words| message.contains(words));
    if status == StatusCode::BAD_REQUEST && is_too_large {
        ErrorKind::TooLarge
    } else {
        kind_of_status(status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::costs::PriceTable;

    const TWO: Model = model("two", 2, 100);

    fn texts<'a>(texts: &'a [&'a str]) -> Texts<'a> {
        Texts {
            texts,
            model: TWO,
            input_type: None,
        }
    }

    fn encoded(numbers: &[f32]) -> String {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }

    fn answer(items: &[(usize, &[f32])]) -> Vec<u8> {
        let data: Vec<Value> = items
            .iter()
            .map(|(index, numbers)| json!({"object": "embedding", "embedding": encoded(numbers), "index": index}))
            .collect();
        serde_json::to_vec(&json!({"object": "list", "data": data, "usage": {"total_tokens": 3}})).unwrap()
    }

    #[test]
    fn vectors_are_put_where_their_index_says() {
        let body = answer(&[(1, &[0.25, -0.5]), (0, &[1.0, 0.0])]);
        let read = read(&body, texts(&["a", "b"]));
        assert_eq!(read, Ok((vec![vec![1.0, 0.0], vec![0.25, -0.5]], 3)));
    }

    #[test]
    fn an_answer_that_is_not_one_vector_for_each_text_is_none() {
        let two = &["a", "b"];
        for body in [
            answer(&[(0, &[1.0, 0.0])]),
            answer(&[(0, &[1.0, 0.0]), (0, &[1.0, 0.0])]),
            answer(&[(0, &[1.0, 0.0]), (2, &[1.0, 0.0])]),
            answer(&[(0, &[1.0, 0.0]), (1, &[1.0])]),
            answer(&[(0, &[1.0, 0.0]), (1, &[1.0, f32::NAN])]),
            b"{}".to_vec(),
            b"{\"data\":[],\"usage\":{\"total_tokens\":1}}".to_vec(),
            b"\xff".to_vec(),
        ] {
            assert!(read(&body, texts(two)).is_err(), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn every_model_has_a_price_and_the_other_way_round() {
        let mut names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        names.sort_unstable();
        assert_eq!(
            PriceTable::shipped().models(Provider::Voyage).collect::<Vec<_>>(),
            names
        );
    }
}
