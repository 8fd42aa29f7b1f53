//! The exchange with redirects followed by hand, by the rules of the Fetch standard (fetch.spec.whatwg.org, "HTTP-redirect
//! fetch"). Must never fetch a URL that the address guard has not passed, nor carry credentials to another origin.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use url::Url;

use super::{IDEMPOTENCY_KEY, params::Request};
use crate::{
    platform::FetchResponse,
    skills::{
        address_guard::{self, AddressRules, GuardError},
        web::{Message, Sender, Unanswered},
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
    /// A request of the way has no answer.
    Unanswered(Unanswered),
}

/// Sends the request and follows where it leads, if it may.
pub(super) async fn exchange(
    sender: &mut Sender<'_>,
    request: Request,
    rules: &AddressRules,
) -> Result<Answer, Stopped> {
    let Request {
        mut method,
        mut url,
        mut headers,
        mut body,
        follow_redirects,
        ..
    } = request;
    let mut redirects = 0_u32;
    loop {
        let message = Message {
            method: &method,
            url: &url,
            headers: &headers,
            body: body.as_ref(),
        };
        let response = sender.send(message).await.map_err(Stopped::Unanswered)?;
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
        let next = address_guard::check_parsed(next, rules).map_err(Stopped::Forbidden)?;
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

/// What may go on. A secret may not under any name: its value is marked as sensitive.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    HARMLESS
        .iter()
        .flat_map(|name| headers.get(name).map(|value| (name.clone(), value.clone())))
        .filter(|(_, value)| !value.is_sensitive())
        .collect()
}
