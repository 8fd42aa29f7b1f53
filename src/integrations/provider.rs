//! What the providers that skills call have in common: who they are, what can go wrong with a call, and what is known of
//! it afterwards. Must never hold a key, nor decide about a repeat: it says what is known about the call's fate.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::exchange::{self, Failure};
use crate::platform::Clock;

/// A provider's request to wait for longer than this is not believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters that are kept of what a provider says.
const MAX_MESSAGE_CHARS: usize = 500;

/// A provider with a breaker and lanes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Anthropic's messages.
    Anthropic,
    /// OpenAI's chat completions.
    OpenAi,
    /// Voyage AI's embeddings.
    Voyage,
    /// Resend's mail.
    Resend,
    /// Slack's incoming webhooks.
    Slack,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Anthropic, Self::OpenAi, Self::Voyage, Self::Resend, Self::Slack];

    /// Where it is, unless `<NAME>_BASE_URL` says otherwise; with or without `/v1`, as the vendor's own clients have it.
    pub const fn base_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Voyage => "https://api.voyageai.com/v1",
            Self::Resend => "https://api.resend.com",
            Self::Slack => "https://hooks.slack.com",
        }
    }

    /// The Worker's setting that says otherwise.
    pub const fn base_url_setting(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_BASE_URL",
            Self::OpenAi => "OPENAI_BASE_URL",
            Self::Voyage => "VOYAGE_BASE_URL",
            Self::Resend => "RESEND_BASE_URL",
            Self::Slack => "SLACK_BASE_URL",
        }
    }

    /// The path of its one call, below the base URL. Slack's is the secret of each webhook.
    const fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "v1/messages",
            Self::OpenAi => "chat/completions",
            Self::Voyage => "embeddings",
            Self::Resend => "emails",
            Self::Slack => "",
        }
    }

    /// Its name in outcomes, usage rows and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Voyage => "voyage",
            Self::Resend => "resend",
            Self::Slack => "slack",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of thing went wrong, in words that all providers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The key is wrong, or there is none.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// The account's money or its quota for the day or month is used up: waiting for seconds does not help.
    Quota,
    /// The request is wrong, and would be wrong again.
    Rejected,
    /// What the request names (a model, a channel) is not there.
    NotFound,
    /// It contradicts an earlier request, under the same idempotency key for instance.
    Conflict,
    /// The same request, under the same idempotency key, is still being carried out.
    InFlight,
    /// The request is larger than the provider takes.
    TooLarge,
    /// Too many requests for now.
    RateLimited,
    /// The provider says that it has no capacity and did nothing.
    Overloaded,
    /// The provider says that it broke.
    ServerError,
    /// A proxy before the provider answered: what became of the request is unknown.
    Gateway,
    /// No complete answer in time.
    Timeout,
    /// The caller's time was up while the answer was coming.
    CutOff,
    /// Nothing reached the provider.
    NotSent,
    /// The connection broke before the end of the answer.
    Lost,
    /// The answer is not what the protocol says, or too long.
    InvalidAnswer,
}

impl ErrorKind {
    /// Whether the provider is to blame: what a breaker counts. The caller's mistakes and limits are not.
    pub const fn is_sick(self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::ServerError
                | Self::Gateway
                | Self::Timeout
                | Self::NotSent
                | Self::Lost
                | Self::InvalidAnswer
        )
    }

    /// Whether another provider of the same kind may be asked instead: never for a request that is wrong in itself.
    pub const fn allows_fallback(self) -> bool {
        self.is_sick()
            || matches!(
                self,
                Self::CutOff | Self::RateLimited | Self::Quota | Self::Unauthorized
            )
    }
}

/// Why a provider gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{provider}: {message}")]
pub struct ProviderError {
    /// Who.
    pub provider: Provider,
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What the provider or the platform said, bounded; without keys.
    pub message: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// What is known of the call all the same.
    pub traffic: Traffic,
}

impl ProviderError {
    /// An error without an answer or with one that cannot be read.
    pub fn new(provider: Provider, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            provider,
            kind,
            message: bounded(message.into()),
            status: None,
            retry_after: None,
            traffic: Traffic::default(),
        }
    }

    /// The same, with what is known of the call.
    #[must_use]
    pub fn with_traffic(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    pub(super) fn from_failure(provider: Provider, failure: Failure, timeout: Duration) -> Self {
        match failure {
            Failure::NotSent(reason) => Self::new(provider, ErrorKind::NotSent, reason),
            Failure::Lost(reason) => Self::new(provider, ErrorKind::Lost, reason),
            Failure::Timeout => Self::new(
                provider,
                ErrorKind::Timeout,
                format!("no complete answer within {} ms", timeout.as_millis()),
            ),
            Failure::TooLong => Self::new(
                provider,
                ErrorKind::InvalidAnswer,
                "the answer is longer than it may be",
            ),
        }
    }
}

/// What went over the wire in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of the request's body.
    pub bytes_out: u64,
    /// Bytes of the answer's body.
    pub bytes_in: u64,
    /// The provider's id of the request, to ask it about.
    pub request_id: Option<String>,
}

/// A provider's address and the way there; it holds no key, each call brings one.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) provider: Provider,
    pub(super) http: reqwest::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) url: Url,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.provider, self.url)
    }
}

/// A complete answer of a provider, of whatever status.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) traffic: Traffic,
}

impl Endpoint {
    /// The provider's one call, below `base_url`.
    pub fn new(provider: Provider, http: reqwest::Client, clock: Arc<dyn Clock>, mut base_url: Url) -> Self {
        if let Ok(mut path) = base_url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(provider.path().split('/').filter(|segment| !segment.is_empty()));
        }
        Self {
            provider,
            http,
            clock,
            url: base_url,
        }
    }

    /// Posts JSON and reads the whole answer. `headers` bring the key.
    pub(super) async fn post(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Answered, ProviderError> {
        self.post_to(self.url.clone(), headers, body, timeout, max_bytes).await
    }

    /// Whether a URL leads to the same server as this one, below its path.
    pub(super) fn is_above(&self, url: &Url) -> bool {
        let segments = |url: &Url| -> Vec<String> {
            let segments = url.path_segments().into_iter().flatten();
            segments
                .filter(|segment| !segment.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let (own, other) = (segments(&self.url), segments(url));
        self.url.origin() == url.origin() && url.has_host() && other.len() > own.len() && other.starts_with(&own)
    }

    /// The same to another URL, which must be below this one ([`Self::is_above`]). It may be a secret.
    pub(super) async fn post_to(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Vec<u8>,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Answered, ProviderError> {
        let bytes_out = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let request = self
            .http
            .post(url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .headers(headers)
            .body(body);
        let sent = Traffic {
            bytes_out,
            ..Traffic::default()
        };
        match exchange::exchange(&*self.clock, request, timeout, max_bytes).await {
            Ok(answer) => Ok(Answered {
                traffic: Traffic {
                    bytes_out,
                    bytes_in: u64::try_from(answer.body.len()).unwrap_or(u64::MAX),
                    request_id: request_id(&answer.headers),
                },
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            }),
            Err(failure) => Err(ProviderError::from_failure(self.provider, failure, timeout).with_traffic(sent)),
        }
    }

    /// The error that an answer is.
    pub(super) fn refusal(&self, answered: Answered, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError {
            status: Some(answered.status.as_u16()),
            retry_after: retry_after(&answered.headers, self.clock.now()),
            ..ProviderError::new(self.provider, kind, message).with_traffic(answered.traffic)
        }
    }
}

/// `Authorization: Bearer …`, marked as sensitive: it does not print.
///
/// # Errors
/// The key holds characters that no header may hold.
pub(super) fn bearer(provider: Provider, key: &SecretString) -> Result<HeaderValue, ProviderError> {
    sensitive(provider, &format!("Bearer {}", key.expose_secret()))
}

/// A header's value that does not print.
///
/// # Errors
/// It holds characters that no header may hold.
pub(super) fn sensitive(provider: Provider, value: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        ProviderError::new(
            provider,
            ErrorKind::Unauthorized,
            "the key holds characters that no header may hold",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The provider's id of the request, under the names that are in use.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    ["request-id", "x-request-id", "x-slack-req-id", "cf-ray"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|id| id.chars().take(200).collect())
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The kind of a status that a provider gives without an error of its own in the body.
pub(super) fn kind_of_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::Quota,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        408 | 425 | 503 | 529 => ErrorKind::Overloaded,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        502 | 504 | 520..=527 => ErrorKind::Gateway,
        500.. => ErrorKind::ServerError,
        400..=499 => ErrorKind::Rejected,
        _ => ErrorKind::InvalidAnswer,
    }
}

/// What a provider says is somebody else's text: short, and on one line.
fn bounded(message: String) -> String {
    message
        .chars()
        .take(MAX_MESSAGE_CHARS)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
