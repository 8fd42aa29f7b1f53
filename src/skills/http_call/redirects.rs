//! The exchange with redirects followed by hand, by the rules of the Fetch standard (fetch.spec.whatwg.org, "HTTP-redirect
//! fetch"). Must never fetch a URL that the address guard has not passed, nor carry credentials to another origin.

use std::{future::Future, time::Duration};

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use jiff::Timestamp;
use url::Url;

use super::{IDEMPOTENCY_KEY, MAX_ANSWER_BYTES, params::Request};
use crate::{
    platform::{FetchError, FetchRequest, FetchResponse},
    skills::{
        Call,
        address_guard::{self, GuardError},
        outcome::Usage,
    },
};

/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: u32 = 5;

/// What goes on to another origin. Everything else may be a credential under a name we do not know.
const HARMLESS: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
    IDEMPOTENCY_KEY,
];

/// The last answer and the URL that gave it.
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) response: FetchResponse,
}

/// Why there is no answer.
pub(super) enum Stopped {
    /// The guard refuses where a redirect leads.
    Forbidden(GuardError),
    /// A redirect's `Location` is no URL.
    InvalidRedirect,
    /// More redirects than are followed.
    TooManyRedirects,
    /// The time was up before the next request.
    OutOfTime,
    /// The platform has no answer.
    Fetch(FetchError),
}

/// One request and the redirects it leads to.
pub(super) struct Exchange<'a> {
    call: &'a Call<'a>,
    begun: Timestamp,
    sent: u32,
    answered: u32,
    bytes_out: u64,
}

impl<'a> Exchange<'a> {
    /// The time of the call runs from here.
    pub(super) fn begin(call: &'a Call<'a>) -> Self {
        Self {
            call,
            begun: call.services.clock.now(),
            sent: 0,
            answered: 0,
            bytes_out: 0,
        }
    }

    /// Whether any hop was answered.
    pub(super) fn was_answered(&self) -> bool {
        self.answered > 0
    }

    /// What was sent.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            bytes_out: self.bytes_out,
            requests: self.sent,
            ..Usage::default()
        }
    }

    /// Sends the request and follows where it leads, if it may.
    pub(super) async fn run(&mut self, request: Request) -> Result<Answer, Stopped> {
        let Request {
            mut method,
            mut url,
            mut headers,
            mut body,
            timeout,
            follow_redirects,
            ..
        } = request;
        let total = timeout.map_or(self.call.timeout, |timeout| timeout.min(self.call.timeout));
        let mut redirects = 0_u32;
        loop {
            let left = total.saturating_sub(self.passed());
            if left.is_zero() {
                return Err(Stopped::OutOfTime);
            }
            self.sent = self.sent.saturating_add(1);
            let length = body.as_ref().map_or(0, bytes::Bytes::len);
            self.bytes_out = self.bytes_out.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            let response = self
                .fetch(FetchRequest {
                    method: method.clone(),
                    url: url.clone(),
                    headers: headers.clone(),
                    body: body.clone(),
                    timeout: left,
                    max_bytes: MAX_ANSWER_BYTES,
                })
                .await
                .map_err(Stopped::Fetch)?;
            self.answered = self.answered.saturating_add(1);

            let location = response.headers.get(header::LOCATION);
            let (true, true, Some(location)) = (follow_redirects, is_redirect(response.status), location) else {
                return Ok(Answer { url, response });
            };
            if redirects >= MAX_REDIRECTS {
                return Err(Stopped::TooManyRedirects);
            }
            redirects = redirects.saturating_add(1);
            let location = location.to_str().map_err(|_| Stopped::InvalidRedirect)?;
            let next = url.join(location).map_err(|_| Stopped::InvalidRedirect)?;
            let next =
                address_guard::check_parsed(next, &self.call.services.address_rules).map_err(Stopped::Forbidden)?;
            if becomes_get(response.status, &method) {
                method = Method::GET;
                body = None;
                for name in [
                    header::CONTENT_TYPE,
                    header::CONTENT_LANGUAGE,
                    header::CONTENT_ENCODING,
                    IDEMPOTENCY_KEY,
                ] {
                    headers.remove(name);
                }
            }
            if next.origin() != url.origin() {
                headers = harmless(&headers);
            }
            url = next;
        }
    }

    fn fetch(&self, request: FetchRequest) -> impl Future<Output = Result<FetchResponse, FetchError>> {
        self.call.services.fetch.fetch(request)
    }

    fn passed(&self) -> Duration {
        let passed = self.call.services.clock.now().duration_since(self.begun);
        Duration::try_from(passed).unwrap_or_default()
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// 303 asks for a GET; 301 and 302 turn a POST into one, as every client does. 307 and 308 keep method and body.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        301 | 302 => *method == Method::POST,
        303 => *method != Method::GET && *method != Method::HEAD,
        _ => false,
    }
}

fn harmless(headers: &HeaderMap) -> HeaderMap {
    HARMLESS
        .iter()
        .flat_map(|name| headers.get(name).map(|value| (name.clone(), value.clone())))
        .collect()
}
