//! Slack's incoming webhooks: a JSON message to a URL that is itself the secret, answered in plain text. Must never post
//! anywhere but below the one address that Slack has, nor show the URL.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::provider::{Endpoint, ErrorKind, Provider, ProviderError, Traffic, kind_of_status};

/// An answer is a word.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The longest word that is taken for one of Slack's; anything else may be a proxy that quotes the URL.
const MAX_WORD_BYTES: usize = 64;

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message<'a> {
    /// What is said, or what notifications show where there are blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// Block Kit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<&'a Value>,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_ts: Option<&'a str>,
}

/// A webhook whose URL leads to Slack. It does not print.
pub struct Webhook<'a> {
    endpoint: &'a Endpoint,
    url: Url,
}

impl<'a> Webhook<'a> {
    /// The webhook of this URL; `None` if it does not lead to Slack.
    pub fn new(endpoint: &'a Endpoint, url: &SecretString) -> Option<Self> {
        let url = Url::parse(url.expose_secret().trim()).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        (is_plain && endpoint.is_above(&url)).then_some(Self { endpoint, url })
    }

    /// Posts a message. Slack knows no idempotency key: posted again, it is there twice.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn post(&self, message: &Message<'_>, timeout: Duration) -> Result<Traffic, ProviderError> {
        let body = serde_json::to_vec(message).map_err(|_| {
            ProviderError::new(
                Provider::Slack,
                ErrorKind::Rejected,
                "the message cannot be written as JSON",
            )
        })?;
        let answered = self
            .endpoint
            .post_to(self.url.clone(), HeaderMap::new(), body, timeout, MAX_ANSWER_BYTES)
            .await
            .map_err(|error| self.without_url(error))?;
        let body = answered.body.clone();
        let word = word(&body);
        if answered.status.is_success() {
            return match word {
                Some("ok") => Ok(answered.traffic),
                _ => Err(self
                    .endpoint
                    .refusal(answered, ErrorKind::InvalidAnswer, "the answer is not `ok`")),
            };
        }
        let kind = kind(word, answered.status);
        let message = match word {
            Some(word) => word.to_owned(),
            None => format!("status {} without an error of Slack's", answered.status.as_u16()),
        };
        Err(self.endpoint.refusal(answered, kind, message))
    }

    /// The platform's own words about a failed request may quote where it went.
    fn without_url(&self, error: ProviderError) -> ProviderError {
        ProviderError {
            message: error
                .message
                .replace(self.url.as_str(), "the webhook")
                .replace(self.url.path(), "…"),
            ..error
        }
    }
}

/// The answer, if it has the form of one of Slack's: `channel_is_archived`.
fn word(body: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(body).ok()?.trim();
    let has_form = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (has_form && (1..=MAX_WORD_BYTES).contains(&word.len())).then_some(word)
}

fn kind(word: Option<&str>, status: StatusCode) -> ErrorKind {
    match word {
        Some("invalid_token" | "no_service" | "no_service_id" | "no_team" | "team_disabled" | "no_active_hooks") => {
            ErrorKind::Unauthorized
        }
        Some("action_prohibited" | "posting_to_general_channel_denied") => ErrorKind::Forbidden,
        Some("channel_not_found" | "channel_is_archived" | "user_not_found") => ErrorKind::NotFound,
        // Slack itself says that the message was not posted as a whole.
        Some("rollup_error") => ErrorKind::ServerError,
        // Whatever else breaks, a 503 of the proxies before Slack included, breaks somewhere between us and the channel.
        _ if status.is_server_error() => ErrorKind::Gateway,
        _ => kind_of_status(status),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::{FutureExt, LocalBoxFuture};

    use super::*;
    use crate::platform::Clock;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
            futures::future::pending().boxed_local()
        }
    }

    fn endpoint(base_url: &str) -> Endpoint {
        let base_url = Url::parse(base_url).unwrap();
        Endpoint::new(Provider::Slack, reqwest::Client::new(), Arc::new(Stopped), base_url)
    }

    #[test]
    fn only_what_is_below_slacks_address_is_a_webhook() {
        let slack = endpoint("https://hooks.slack.com");
        let below = endpoint("http://127.0.0.1:9/slack/");
        for (endpoint, url, expected) in [
            (&slack, "https://hooks.slack.com/services/T/B/x", true),
            (&slack, "https://hooks.slack.com:443/services/T/B/x", true),
            (&slack, "https://HOOKS.slack.com/services/T/B/x", true),
            (&slack, "https://hooks.slack.com", false),
            (&slack, "https://hooks.slack.com/", false),
            (&slack, "http://hooks.slack.com/services/T/B/x", false),
            (&slack, "https://hooks.slack.com:8443/services/T/B/x", false),
            (&slack, "https://hooks.slack.com.example.com/services/T/B/x", false),
            (&slack, "https://hooks.slack.com@example.com/services/T/B/x", false),
            (&slack, "https://a:b@hooks.slack.com/services/T/B/x", false),
            (&slack, "https://example.com/hooks.slack.com/services", false),
            (&slack, "data:text/plain,x", false),
            (&slack, "nonsense", false),
            (&below, "http://127.0.0.1:9/slack/services/T/B/x", true),
            (&below, "http://127.0.0.1:9/slackers/T/B/x", false),
            (&below, "http://127.0.0.1:9/slack/../resend/emails", false),
            (&below, "http://127.0.0.1:9/slack/%2e%2e/resend/emails", false),
            (&below, "http://127.0.0.1:9/slack", false),
        ] {
            let webhook = Webhook::new(endpoint, &SecretString::from(url));
            assert_eq!(webhook.is_some(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_word_of_slacks_is_not_repeated() {
        assert_eq!(word(b"channel_is_archived\n"), Some("channel_is_archived"));
        for text in ["", "<p>/services/T/B/x</p>", "Cannot POST /services/T/B/x", "T0/B0/x"] {
            assert_eq!(word(text.as_bytes()), None, "{text}");
        }
        assert_eq!(word(&[b'x'; 65]), None);
        assert_eq!(word(&[0xff]), None);
    }

    #[test]
    fn an_error_without_an_answer_does_not_quote_the_url() {
        let slack = endpoint("https://hooks.slack.com");
        let url = "https://hooks.slack.com/services/T0/B0/s3cret";
        let webhook = Webhook::new(&slack, &SecretString::from(url)).unwrap();
        for text in [
            format!("cannot load {url}: lost"),
            "POST /services/T0/B0/s3cret".to_owned(),
        ] {
            let error = ProviderError::new(Provider::Slack, ErrorKind::Lost, text);
            let shown = webhook.without_url(error).to_string();
            assert!(!shown.contains("s3cret") && !shown.contains("B0"), "{shown}");
        }
    }
}
