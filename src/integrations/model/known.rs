//! Which models are asked unless somebody names one, and what is known of models. Data, to be kept current with
//! `prices.json`. Must never forbid a model: one that is not known is asked like any other.

use crate::integrations::provider::Provider;

/// The model that is asked where neither the call nor a setting names one.
pub const fn default_model(provider: Provider) -> &'static str {
    match provider {
        Provider::Anthropic => "claude-sonnet-5-5",
        Provider::OpenAi => "gpt-4o",
        Provider::Voyage | Provider::Resend | Provider::Slack => "",
    }
}

/// The provider of a model, as far as its name tells.
pub fn provider_of(model: &str) -> Option<Provider> {
    let is_numbered_o = || {
        let rest = model.strip_prefix('o');
        rest.is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
    };
    if model.starts_with("claude") {
        Some(Provider::Anthropic)
    } else if model.starts_with("gpt") || model.starts_with("chatgpt") || is_numbered_o() {
        Some(Provider::OpenAi)
    } else {
        None
    }
}

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// It can be held to a JSON Schema; else it is made to call a tool.
    pub schema: bool,
    /// It takes another temperature than its own.
    pub temperature: bool,
}

const fn abilities(schema: bool, temperature: bool) -> Abilities {
    Abilities { schema, temperature }
}

/// By the beginning of the name; of several that fit, the longest counts.
/// Sources: platform.claude.com, "Structured outputs" and the models' migration guides; platform.openai.com, "Models".
const KNOWN: [(&str, Abilities); 19] = [
    ("claude-", abilities(false, true)),
    ("claude-fable-5", abilities(false, false)),
    ("claude-haiku-4-5", abilities(true, true)),
    ("claude-haiku-5", abilities(true, false)),
    ("claude-mythos", abilities(false, false)),
    ("claude-opus-4-5", abilities(true, true)),
    ("claude-opus-4-6", abilities(true, true)),
    ("claude-opus-4-7", abilities(true, false)),
    ("claude-opus-4-8", abilities(true, false)),
    ("claude-opus-5", abilities(true, false)),
    ("claude-sonnet-4-5", abilities(true, true)),
    ("claude-sonnet-4-6", abilities(true, true)),
    ("claude-sonnet-5", abilities(true, false)),
    ("gpt-3.5", abilities(false, true)),
    ("gpt-4", abilities(true, true)),
    ("gpt-5", abilities(true, false)),
    ("o1", abilities(true, false)),
    ("o3", abilities(true, false)),
    ("o4", abilities(true, false)),
];

impl Abilities {
    /// What is known of a model; of one that is not known, what is true of most.
    pub fn of(model: &str) -> Self {
        KNOWN
            .iter()
            .filter(|(name, _)| model.starts_with(name))
            .max_by_key(|(name, _)| name.len())
            .map_or(abilities(true, true), |(_, abilities)| *abilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::PriceTable;

    #[test]
    fn the_default_models_have_prices() {
        for provider in [Provider::Anthropic, Provider::OpenAi] {
            let model = default_model(provider);
            assert!(PriceTable::shipped().price(provider, model).is_some(), "{model}");
            assert_eq!(provider_of(model), Some(provider));
        }
    }

    #[test]
    fn every_model_with_a_price_is_known_by_its_name() {
        for provider in [Provider::Anthropic, Provider::OpenAi] {
            for model in PriceTable::shipped().models(provider) {
                assert_eq!(provider_of(model), Some(provider), "{model}");
                assert!(KNOWN.iter().any(|(name, _)| model.starts_with(name)), "{model}");
            }
        }
    }

    #[test]
    fn a_name_tells_the_provider_or_does_not() {
        for (model, provider) in [
            ("claude-9", Some(Provider::Anthropic)),
            ("gpt-9", Some(Provider::OpenAi)),
            ("o4-mini", Some(Provider::OpenAi)),
            ("omni", None),
            ("llama", None),
        ] {
            assert_eq!(provider_of(model), provider, "{model}");
        }
    }

    #[test]
    fn the_longest_beginning_counts() {
        for (model, expected) in [
            ("claude-sonnet-4-20250514", abilities(false, true)),
            ("claude-sonnet-4-5-20250929", abilities(true, true)),
            ("claude-sonnet-5-5", abilities(true, false)),
            ("gpt-4o-2024-08-06", abilities(true, true)),
            ("gpt-5.2", abilities(true, false)),
            ("another", abilities(true, true)),
        ] {
            assert_eq!(Abilities::of(model), expected, "{model}");
        }
    }
}
