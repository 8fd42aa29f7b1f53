//! What the core takes from the platform, on Workers: its clock, its queue, its fetch.
//!
//! JavaScript's values are bound to the one thread there is; nothing here may be called from another.

use std::{pin::pin, sync::Arc, time::Duration};

use aos::platform::{Clock, Fetch, FetchError, FetchRequest, FetchResponse, Job, JobQueue, PlatformError};
use bytes::BytesMut;
use futures::{
    FutureExt, StreamExt,
    future::{Either, LocalBoxFuture, select},
    stream::FuturesUnordered,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use worker::{
    AbortSignal, BatchMessageBuilder, Delay, Env, MessageBuilder,
    js_sys::Uint8Array,
    web_sys::{self, AbortController, RequestRedirect},
};

/// The queue's binding in wrangler.toml.
const QUEUE: &str = "SKILL_JOBS";
/// Messages of one `sendBatch`.
const MAX_BATCH: usize = 100;
/// The longest time that a queue holds a message back, in seconds.
const MAX_DELAY_S: u32 = 12 * 60 * 60;
/// The longest time that `setTimeout` understands; a longer one would be over at once.
const MAX_SLEEP: Duration = Duration::from_millis(i32::MAX.unsigned_abs() as u64);

/// The Worker's clock.
pub(crate) struct WorkersClock;

impl Clock for WorkersClock {
    fn now(&self) -> Timestamp {
        let millis = i64::try_from(worker::Date::now().as_millis()).unwrap_or_default();
        Timestamp::from_millisecond(millis).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        // `Delay` remembers the first waker that it is polled with and no later one; inside this set it always sees the
        // same one, and the set itself follows whoever polls it.
        let mut delay = FuturesUnordered::from_iter([Delay::from(duration.min(MAX_SLEEP))]);
        async move { delay.next().await.unwrap_or_default() }.boxed_local()
    }
}

/// The queue `skill-jobs`, by the binding of one invocation.
pub(crate) struct WorkersQueue(pub(crate) Env);

impl JobQueue for WorkersQueue {
    fn ring(&self, jobs: Vec<Job>) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        let failed = |error: worker::Error| PlatformError(error.to_string());
        async move {
            let queue = self.0.queue(QUEUE).map_err(failed)?;
            for some in jobs.chunks(MAX_BATCH) {
                let messages = some.iter().map(|job| {
                    MessageBuilder::new(job.clone())
                        .delay_seconds(job.delay_s.min(MAX_DELAY_S))
                        .build()
                });
                let batch = BatchMessageBuilder::new().messages(messages).build();
                queue.send_batch(batch).await.map_err(failed)?;
            }
            Ok(())
        }
        .boxed_local()
    }
}

/// The platform's own fetch.
pub(crate) struct WorkersFetch(pub(crate) Arc<dyn Clock>);

impl Fetch for WorkersFetch {
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        async move {
            let timeout = request.timeout;
            // However this ends, nothing of the exchange stays open: neither the connection nor the rest of the body.
            let abort = AbortController::new().map_err(|error| FetchError::Refused(format!("{error:?}")))?;
            let abort = AbortOnDrop(abort);
            match select(pin!(exchange(request, &abort)), self.0.sleep(timeout)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(FetchError::Timeout(timeout)),
            }
        }
        .boxed_local()
    }
}

struct AbortOnDrop(AbortController);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(request: FetchRequest, abort: &AbortOnDrop) -> Result<FetchResponse, FetchError> {
    let max_bytes = request.max_bytes;
    let outgoing = outgoing(&request).map_err(|error| FetchError::Refused(error.to_string()))?;
    let connection = |error: worker::Error| FetchError::Connection(error.to_string());
    let signal = AbortSignal::from(abort.0.signal());
    let mut response = worker::Fetch::Request(outgoing.into())
        .send_with_signal(&signal)
        .await
        .map_err(connection)?;
    let status = StatusCode::from_u16(response.status_code())
        .map_err(|_| FetchError::Connection("the answer's status is none".to_owned()))?;
    let headers = response
        .headers()
        .entries()
        .filter_map(|(name, value)| header(&name, &value))
        .collect();

    let mut body = BytesMut::new();
    // Without a body there is no stream.
    if let Ok(mut pieces) = response.stream() {
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(connection)?);
            if body.len() > max_bytes {
                break;
            }
        }
    }
    let truncated = body.len() > max_bytes;
    body.truncate(max_bytes);
    Ok(FetchResponse {
        status,
        headers,
        body: body.freeze(),
        truncated,
    })
}

fn outgoing(request: &FetchRequest) -> worker::Result<web_sys::Request> {
    let init = web_sys::RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_redirect(RequestRedirect::Manual);
    init.set_headers(outgoing_headers(&request.headers)?.as_ref());
    if let Some(body) = &request.body {
        init.set_body(Uint8Array::from(&**body).as_ref());
    }
    Ok(web_sys::Request::new_with_str_and_init(request.url.as_str(), &init)?)
}

fn outgoing_headers(headers: &HeaderMap) -> worker::Result<web_sys::Headers> {
    let outgoing = web_sys::Headers::new()?;
    for (name, value) in headers {
        // Fetch takes one character per byte.
        let value: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        outgoing.append(name.as_str(), &value)?;
    }
    Ok(outgoing)
}

/// A header of an answer; the platform has read it as UTF-8 or as one character per byte.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((
        HeaderName::from_bytes(name.as_bytes()).ok()?,
        HeaderValue::from_bytes(value.as_bytes()).ok()?,
    ))
}
