//! Serves a router on a port: counts every request, lets faults act on it, and can close a connection unanswered,
//! which axum alone cannot. Must never cut short work whose client has gone: a proxy's database would not notice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use crate::counters::Counters;
use crate::faults::{Action, Faults, Sight};

/// How long open requests may go on after [`ServerHandle::shutdown`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Between the first half of a body and the end of its connection, so that the half is really sent.
const HALF_BODY_PAUSE: Duration = Duration::from_millis(30);

/// A server at work. It stops when this is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl ServerHandle {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening at once, lets open requests end for up to two seconds, and returns when all is closed.
    pub async fn shutdown(mut self) {
        // Dropping the sender is the signal.
        self.stop = None;
        if let Some(task) = self.task.take() {
            // A failed join means that the task panicked or was aborted: it is over in either case.
            let _ = task.await;
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Serves `router`, with `/_control/faults` and `/_control/requests` beside it, neither of which is counted.
/// Handlers find a [`crate::counters::RequestNote`] in the request's extensions.
///
/// # Errors
/// The listener has no local address.
pub fn serve(
    listener: TcpListener,
    router: Router,
    faults: Faults,
    counters: Counters,
) -> std::io::Result<ServerHandle> {
    let addr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let control = faults.routes().merge(counters.routes());
    let site = Site {
        router,
        control,
        faults,
        counters,
    };
    let task = tokio::spawn(accept(listener, site, stopped));
    Ok(ServerHandle {
        addr,
        stop: Some(stop),
        task: Some(task),
    })
}

/// Why a connection is closed without an answer. hyper ends a connection whose service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped by a fault")]
pub(crate) struct Dropped;

#[derive(Clone)]
struct Site {
    router: Router,
    control: Router,
    faults: Faults,
    counters: Counters,
}

async fn accept(listener: TcpListener, site: Site, mut stopped: oneshot::Receiver<()>) {
    let graceful = GracefulShutdown::new();
    // Dropped with this task, which aborts the connections that are left.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = open(stream, site.clone());
                    let watched = graceful.watch(connection);
                    connections.spawn(async move {
                        if let Err(error) = watched.await {
                            tracing::debug!(%error, "a connection ended early");
                        }
                    });
                }
                Err(error) => {
                    // Usually out of file descriptors: give open connections time to end.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

/// The future that serves one connection to its end.
fn open(stream: TcpStream, site: Site) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    // Small answers must not wait for acknowledgements of the ones before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let site = site.clone();
        async move {
            // In a task of its own, so that the work goes on when the client hangs up.
            match tokio::spawn(site.answer(request)).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "a handler failed");
                    Err(Dropped)
                }
            }
        }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service)
}

impl Site {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let mut request = request.map(Body::new);
        if request.uri().path().starts_with("/_control/") {
            return Ok(route(self.control, request).await);
        }
        let role = request
            .headers()
            .get("x-aos-role")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let note = self
            .counters
            .begin(format!("{} {}", request.method(), request.uri().path()), role);
        request.extensions_mut().insert(note.clone());
        let answer = self.answer_with_faults(request).await;
        note.end(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        answer
    }

    async fn answer_with_faults(self, request: Request<Body>) -> Result<Response<Body>, Dropped> {
        let (parts, body) = request.into_parts();
        let (seen, body) = if self.faults.looks_inside() {
            let bytes = body.collect().await.map_err(|_| Dropped)?.to_bytes();
            (bytes.clone(), Body::from(bytes))
        } else {
            (Bytes::new(), body)
        };
        let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let verdict = self.faults.judge(Sight {
            path_and_query,
            headers: &parts.headers,
            body: &seen,
        });
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(reason) => return Ok((StatusCode::BAD_REQUEST, reason).into_response()),
        };
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        act(verdict.action, route(self.router, Request::from_parts(parts, body))).await
    }
}

/// Answers as the action says; `work` is the whole of what the request asks for, begun only where the action wants it.
pub(crate) async fn act(
    action: Option<Action>,
    work: impl Future<Output = Response<Body>>,
) -> Result<Response<Body>, Dropped> {
    match action {
        Some(Action::DropBefore) => Err(Dropped),
        Some(Action::Status { code, body, headers }) => Ok(told(code, body, headers)),
        Some(Action::DropAfter) => {
            drop(work.await);
            Err(Dropped)
        }
        Some(Action::DelayAfter { ms }) => {
            let answer = work.await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(answer)
        }
        Some(Action::HalfBody) => halved(work.await).await,
        Some(Action::Delay { .. }) | None => Ok(work.await),
    }
}

async fn route(router: Router, request: Request<Body>) -> Response<Body> {
    let answer: Result<_, Infallible> = router.oneshot(request).await;
    match answer {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// The answer of [`Action::Status`]. Headers that HTTP does not allow are left out.
fn told(code: u16, body: String, headers: std::collections::BTreeMap<String, String>) -> Response<Body> {
    let kind = if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok() {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The same answer, of which only the first half will arrive. Of an endless stream it is the first piece.
async fn halved(answer: Response<Body>) -> Result<Response<Body>, Dropped> {
    let (mut parts, mut body) = answer.into_parts();
    let endless = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let half = if endless {
        let frame = body.frame().await.ok_or(Dropped)?.map_err(|_| Dropped)?;
        frame.into_data().unwrap_or_default()
    } else {
        let whole = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
        whole.slice(..whole.len() / 2)
    };
    let pieces = stream::iter([Ok(half)]).chain(stream::once(async {
        tokio::time::sleep(HALF_BODY_PAUSE).await;
        Err(Dropped)
    }));
    Ok(Response::from_parts(parts, Body::from_stream(pieces)))
}
