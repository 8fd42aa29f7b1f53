//! Vectors made of hashes, the same in every run; texts that share words lie near each other, so that a search finds
//! something. Must never give a vector of another length than 1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Words of a text that its vector is made of.
const WORDS: usize = 32;
/// How much a text's own hash moves its vector, beside its words.
const OWN: f64 = 0.5;

/// How a vector is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Float,
    Base64,
    Int8,
    Uint8,
    Binary,
    Ubinary,
}

/// Numbers from -1 to 1 that follow from some texts.
fn numbers(of: &[&str]) -> impl Iterator<Item = f64> {
    let mut hash = Sha256::new();
    for text in of {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    let seed = hash.finalize();
    let mut state = seed
        .iter()
        .take(8)
        .fold(0_u64, |state, byte| state << 8 | u64::from(*byte));
    // SplitMix64: quick, and good enough for directions in space.
    std::iter::from_fn(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Some((mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
    })
}

/// A vector of length 1. A shorter one is the beginning of a longer one, as with Voyage's flexible models.
pub(super) fn vector(model: &str, input_type: &str, text: &str, dimension: usize) -> Vec<f64> {
    let mut words: Vec<String> = text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.sort_unstable();
    words.dedup();
    let mut vector: Vec<f64> = numbers(&[model, input_type, text])
        .take(dimension)
        .map(|number| number * OWN)
        .collect();
    for word in words.iter().take(WORDS) {
        for (sum, number) in vector.iter_mut().zip(numbers(&[model, word])) {
            *sum += number;
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

pub(super) fn written(vector: &[f64], form: Form) -> Value {
    let largest = vector
        .iter()
        .fold(f64::MIN_POSITIVE, |most, number| most.max(number.abs()));
    let small = |number: &f64| (number / largest * 127.0).round() as i64;
    let bits = |eight: &[f64]| {
        eight
            .iter()
            .fold(0_i64, |bits, number| bits << 1 | i64::from(*number > 0.0))
    };
    match form {
        // Seven decimals, as short as what the vendor sends.
        Form::Float => vector
            .iter()
            .map(|number| json!((number * 1e7).round() / 1e7))
            .collect(),
        Form::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|number| (*number as f32).to_le_bytes())
                .collect();
            json!(STANDARD.encode(bytes))
        }
        Form::Int8 => vector.iter().map(|number| json!(small(number))).collect(),
        Form::Uint8 => vector.iter().map(|number| json!(small(number) + 128)).collect(),
        Form::Ubinary => vector.chunks(8).map(|eight| json!(bits(eight))).collect(),
        Form::Binary => vector.chunks(8).map(|eight| json!(bits(eight) - 128)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_and_follow_from_all_that_was_asked() {
        let one = vector("voyage-3", "query", "a red fox", 1024);
        assert!((dot(&one, &one) - 1.0).abs() < 1e-9);
        assert_eq!(one, vector("voyage-3", "query", "a red fox", 1024));
        for other in [
            vector("voyage-3.5", "query", "a red fox", 1024),
            vector("voyage-3", "document", "a red fox", 1024),
            vector("voyage-3", "query", "a red fox.", 1024),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn texts_that_share_words_lie_nearer() {
        let question = vector("voyage-3", "query", "What does the red fox eat?", 1024);
        let near = vector("voyage-3", "document", "The red fox does eat mice.", 1024);
        let far = vector("voyage-3", "document", "Invoices are due within thirty days.", 1024);
        assert!(dot(&question, &near) > 0.4 && dot(&question, &far).abs() < 0.2);
    }
}
