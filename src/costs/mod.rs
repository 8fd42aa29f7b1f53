//! What calls of providers cost: one dated table of prices, and the arithmetic on it. Money is whole micro-dollars, and
//! what is not known is `None`, never 0.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::integrations::provider::Provider;

const TOKENS_PER_PRICE: u128 = 1_000_000;

/// The table, as `prices.json` has it. Prices are the providers' list prices on the day that names the version.
#[derive(Debug, Deserialize)]
pub struct PriceTable {
    /// The day on which the prices were looked up; each charge keeps it.
    pub version: String,
    providers: BTreeMap<String, BTreeMap<String, Price>>,
}

/// Prices of a model, in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    input: u64,
    /// Of input that the provider found in its cache; like other input where there is no price of its own.
    cached_input: Option<u64>,
    /// Of input that the provider wrote into its cache; likewise.
    cache_write: Option<u64>,
    /// `None` where nothing is generated.
    output: Option<u64>,
}

/// What a call used, in tokens. The three kinds of input are counted apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from the provider's cache.
    pub cached_input: u64,
    /// Input written to the provider's cache.
    pub cache_write: u64,
    /// What was generated.
    pub output: u64,
}

impl PriceTable {
    /// The table that was shipped.
    pub fn shipped() -> &'static Self {
        static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
            // A test reads it; an unreadable table would know no price, and every cost would be unknown.
            serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| {
                tracing::error!(%error, "the price table cannot be read");
                PriceTable {
                    version: "none".to_owned(),
                    providers: BTreeMap::new(),
                }
            })
        });
        &TABLE
    }

    /// The price of a model, also under a dated name (`…-20251001`, `…-2024-08-06`) of one that is listed.
    pub fn price(&self, provider: Provider, model: &str) -> Option<Price> {
        let models = self.providers.get(provider.as_str())?;
        models.get(model).or_else(|| models.get(without_date(model))).copied()
    }

    /// What a call cost, rounded up to a whole micro-dollar; `None` for a model without a price.
    pub fn cost_microusd(&self, provider: Provider, model: &str, tokens: Tokens) -> Option<i64> {
        self.price(provider, model)?.cost_microusd(tokens)
    }

    /// Every model there is a price for.
    pub fn models(&self, provider: Provider) -> impl Iterator<Item = &str> {
        self.providers
            .get(provider.as_str())
            .into_iter()
            .flat_map(|models| models.keys().map(String::as_str))
    }
}

impl Price {
    fn cost_microusd(self, tokens: Tokens) -> Option<i64> {
        let parts = [
            (tokens.input, Some(self.input)),
            (tokens.cached_input, self.cached_input.or(Some(self.input))),
            (tokens.cache_write, self.cache_write.or(Some(self.input))),
            (tokens.output, self.output),
        ];
        let mut sum = 0_u128;
        for (tokens, price) in parts {
            if tokens > 0 {
                let part = u128::from(tokens).checked_mul(u128::from(price?))?;
                sum = sum.checked_add(part)?;
            }
        }
        i64::try_from(sum.div_ceil(TOKENS_PER_PRICE)).ok()
    }
}

/// The sum of costs: one that is unknown makes it unknown.
pub fn sum_microusd(costs: impl IntoIterator<Item = Option<i64>>) -> Option<i64> {
    costs.into_iter().try_fold(0_i64, |sum, cost| sum.checked_add(cost?))
}

/// A model's name without the date at its end.
fn without_date(model: &str) -> &str {
    let is_date = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    // `-YYYYMMDD` and `-YYYY-MM-DD`.
    [9, 11]
        .into_iter()
        .filter_map(|length| model.split_at_checked(model.len().checked_sub(length)?))
        .find(|(_, date)| date.strip_prefix('-').is_some_and(is_date))
        .map_or(model, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_dated_and_knows_the_default_models() {
        let table = PriceTable::shipped();
        assert!(table.version.parse::<jiff::civil::Date>().is_ok());
        for (provider, model) in [
            (Provider::Anthropic, "claude-sonnet-5-5"),
            (Provider::Anthropic, "claude-haiku-4-5-20251001"),
            (Provider::Anthropic, "claude-sonnet-4-20250514"),
            (Provider::OpenAi, "gpt-4o-2024-08-06"),
            (Provider::Voyage, "voyage-3-lite"),
        ] {
            assert!(table.price(provider, model).is_some(), "{provider} {model}");
        }
        assert_eq!(table.price(Provider::OpenAi, "claude-sonnet-5-5"), None);
    }

    #[test]
    fn costs_are_rounded_up_and_unknown_ones_stay_unknown() {
        let table = PriceTable::shipped();
        let tokens = Tokens {
            input: 1_000,
            output: 100,
            ..Tokens::default()
        };
        // 1,000 × $2 + 100 × $10 per million.
        assert_eq!(
            table.cost_microusd(Provider::Anthropic, "claude-sonnet-5-5", tokens),
            Some(3_000)
        );
        let one = Tokens {
            input: 1,
            ..Tokens::default()
        };
        assert_eq!(table.cost_microusd(Provider::Voyage, "voyage-3", one), Some(1));
        assert_eq!(table.cost_microusd(Provider::Voyage, "voyage-3", tokens), None);
        assert_eq!(table.cost_microusd(Provider::Anthropic, "claude-9", tokens), None);
        assert_eq!(sum_microusd([Some(1), Some(2)]), Some(3));
        assert_eq!(sum_microusd([Some(1), None]), None);
        assert_eq!(sum_microusd([]), Some(0));
    }
}
