//! The skill `llm_invoke` against stand-ins of Anthropic and OpenAI: what answers, errors and broken streams come to, who
//! is asked when, and what each try costs.

#[path = "llm_invoke/answers.rs"]
mod answers;
#[path = "llm_invoke/bench.rs"]
mod bench;
#[path = "llm_invoke/breaker.rs"]
mod breaker;
#[path = "llm_invoke/broken.rs"]
mod broken;
#[path = "llm_invoke/errors.rs"]
mod errors;
#[path = "llm_invoke/fallback.rs"]
mod fallback;
