//! A large input in parts under Voyage's limits: one request after the other, each with its usage row. Must never ask for
//! ever: a provider that calls every part too large is given up on.

use std::{collections::VecDeque, ops::Range, time::Duration};

use jiff::Timestamp;

use super::{CLASS, Params};
use crate::{
    costs::{PriceTable, Tokens},
    integrations::{
        provider::{ErrorKind, Provider, ProviderError},
        voyage::{self, Embedded, MAX_TEXT_TOKENS, MAX_TEXTS, Model, Texts},
    },
    skills::{
        Call,
        outcome::IntegrationCall,
        provider::{self, Allowed, Stopped},
    },
    tenants::Held,
};

/// Bytes for which one token is counted. Prose has four and more to a token, dense scripts and code two to three; where it
/// is fewer, the part is halved when the provider says so.
const BYTES_PER_TOKEN: usize = 2;
/// The most requests of one call: the parts of the largest input, and room for halving some of them.
const MAX_REQUESTS: usize = 64;

/// The vectors of all texts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Vectors {
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) total_tokens: u64,
}

impl Vectors {
    /// The skill's output as JSON. Written by hand: a million numbers as values would take three times their text.
    pub(super) fn into_json(self, model: Model) -> Result<Vec<u8>, serde_json::Error> {
        let head = format!(
            r#"{{"model":"{}","dimensions":{},"total_tokens":{},"embeddings":["#,
            model.name, model.dimensions, self.total_tokens
        );
        let mut json = head.into_bytes();
        for (index, vector) in self.vectors.into_iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &vector)?;
        }
        json.extend_from_slice(b"]}");
        Ok(json)
    }
}

/// The requests of one call.
pub(super) struct Parts<'a> {
    call: &'a Call<'a>,
    key: Held<'a>,
    params: &'a Params<'a>,
    begun: Timestamp,
    /// What is still to be asked for, in order.
    waiting: VecDeque<Range<usize>>,
    calls: Vec<IntegrationCall>,
}

impl<'a> Parts<'a> {
    pub(super) fn begin(call: &'a Call<'a>, key: Held<'a>, params: &'a Params<'a>) -> Self {
        Self {
            call,
            key,
            params,
            begun: call.services.clock.now(),
            waiting: split(&params.texts, params.model.request_tokens),
            calls: Vec::new(),
        }
    }

    /// Asks for one part after the other. A part that is too large all the same is asked for in two halves.
    pub(super) async fn ask_all(&mut self) -> Result<Vectors, Stopped> {
        let mut all = Vectors::default();
        while let Some(part) = self.waiting.pop_front() {
            match self.ask(part.clone()).await {
                Ok(embedded) => {
                    all.vectors.extend(embedded.vectors);
                    all.total_tokens = all.total_tokens.saturating_add(embedded.total_tokens);
                }
                Err(Stopped::Failed(error)) if error.kind == ErrorKind::TooLarge && part.len() > 1 => {
                    let left = MAX_REQUESTS.saturating_sub(self.calls.len());
                    if left < self.waiting.len().saturating_add(2) {
                        return Err(Stopped::Failed(error));
                    }
                    let middle = part.start.midpoint(part.end);
                    self.waiting.push_front(middle..part.end);
                    self.waiting.push_front(part.start..middle);
                }
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(all)
    }

    /// The usage rows, of failed requests too.
    pub(super) fn into_calls(self) -> Vec<IntegrationCall> {
        self.calls
    }

    async fn ask(&mut self, part: Range<usize>) -> Result<Embedded, Stopped> {
        let begun = self.call.services.clock.now();
        let passed = Duration::try_from(self.begun.duration_until(begun)).unwrap_or_default();
        let time_left = self.call.timeout.saturating_sub(passed);
        if time_left.is_zero() {
            let reason = "the time was up before all parts of the input were asked for";
            let error = ProviderError::new(Provider::Voyage, ErrorKind::Timeout, reason);
            return Err(Stopped::Failed(error));
        }
        let texts = Texts {
            texts: self.params.texts.get(part).unwrap_or_default(),
            model: self.params.model,
            input_type: self.params.input_type,
        };
        let endpoint = &self.call.services.endpoints.voyage;
        let key = self.key.value;
        let asking = async |allowed: Allowed| voyage::embed(endpoint, key, texts, allowed.total).await;
        let result = provider::ask(self.call, Provider::Voyage, self.key, time_left, asking).await;
        let record = provider::record(self.call, Provider::Voyage, self.key, begun);
        let record = IntegrationCall {
            model: Some(self.params.model.name.to_owned()),
            ..record
        };
        match &result {
            Ok(embedded) => {
                let prices = PriceTable::shipped();
                let tokens = Tokens {
                    input: embedded.total_tokens,
                    ..Tokens::default()
                };
                self.calls.push(IntegrationCall {
                    input_tokens: Some(embedded.total_tokens),
                    cost_microusd: prices.cost_microusd(Provider::Voyage, self.params.model.name, tokens),
                    price_version: Some(prices.version.clone()),
                    ..record.with_traffic(&embedded.traffic)
                });
            }
            Err(Stopped::Failed(error)) => self.calls.push(IntegrationCall {
                cost_microusd: if may_be_billed(error.kind) { None } else { Some(0) },
                ..record.failed(error, CLASS)
            }),
            Err(Stopped::Open(..) | Stopped::Busy) => {}
        }
        result
    }
}

/// Whether the vectors may have been computed, though they did not arrive.
fn may_be_billed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Gateway | ErrorKind::Timeout | ErrorKind::CutOff | ErrorKind::Lost | ErrorKind::InvalidAnswer
    )
}

/// The input in parts of at most so many tokens, by the estimate, and [`MAX_TEXTS`] texts.
fn split(texts: &[&str], request_tokens: usize) -> VecDeque<Range<usize>> {
    let mut parts = VecDeque::new();
    let (mut start, mut tokens) = (0, 0_usize);
    for (index, text) in texts.iter().enumerate() {
        let more = tokens.saturating_add(estimate(text));
        if index > start && (more > request_tokens || index.saturating_sub(start) >= MAX_TEXTS) {
            parts.push_back(start..index);
            (start, tokens) = (index, estimate(text));
        } else {
            tokens = more;
        }
    }
    if start < texts.len() {
        parts.push_back(start..texts.len());
    }
    parts
}

/// Tokens of a text, rather too many than too few; what the model cuts off does not count.
fn estimate(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN).min(MAX_TEXT_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::voyage::MODELS;

    #[test]
    fn parts_hold_every_text_once_and_keep_under_the_limit() {
        let texts = ["aaaa", "bb", "cccccccc", "d", "eeee"];
        // By the estimate 2, 1, 4, 1 and 2 tokens.
        let ends = |texts: &[&str], request_tokens| -> Vec<(usize, usize)> {
            let parts = split(texts, request_tokens);
            parts.into_iter().map(|part| (part.start, part.end)).collect()
        };
        assert_eq!(ends(&texts, 10), [(0, 5)]);
        assert_eq!(ends(&texts, 4), [(0, 2), (2, 3), (3, 5)]);
        assert_eq!(ends(&texts, 1), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!(ends(&[], 4), []);
        let many = vec!["a"; MAX_TEXTS + 1];
        assert_eq!(ends(&many, 1_000_000), [(0, MAX_TEXTS), (MAX_TEXTS, MAX_TEXTS + 1)]);
    }

    #[test]
    fn a_text_counts_no_more_than_the_model_looks_at() {
        let long = "x".repeat(256 * 1024);
        assert_eq!(estimate(&long), MAX_TEXT_TOKENS);
        assert_eq!([estimate("a"), estimate("ab"), estimate("abc")], [1, 1, 2]);
        // The densest input there can be still leaves room for halving.
        let texts = vec![long.as_str(); 16];
        assert_eq!(split(&texts, 120_000).len(), 6);
    }

    #[test]
    fn the_output_is_json_with_the_numbers_as_they_are() {
        let [model, ..] = MODELS;
        let vectors = Vectors {
            vectors: vec![vec![0.1, -1.5e-7], vec![1.0, 0.0]],
            total_tokens: 7,
        };
        let output: serde_json::Value = serde_json::from_slice(&vectors.into_json(model).unwrap()).unwrap();
        let expected = serde_json::json!({
            "model": "voyage-3", "dimensions": 1024, "total_tokens": 7,
            "embeddings": [[0.1, -1.5e-7], [1.0, 0.0]]
        });
        assert_eq!(output, expected);
    }
}
