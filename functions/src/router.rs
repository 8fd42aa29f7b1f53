//! The routes, in one table, and the way of every request through them: settings first, then the route, then the
//! caller, then the endpoint; in the end one line in the log. A route is closed unless the table says `open`.

use std::sync::Arc;

use aos::{
    config::Misconfigured,
    platform::{Clock, Job},
    problem::{FieldError, Problem},
};
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, Uri},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing,
};
use tower_service::Service;
use tracing::Instrument;

use crate::{
    agents,
    answer::{self, Refused},
    caller, log, operations, runs, skills,
    state::{App, Isolate},
};

/// Builds the router and the list of its routes from one table.
macro_rules! routes {
    (
        open { $($open_method:ident $open_path:literal => $open:path,)* }
        closed { $($method:ident $path:literal => $endpoint:path,)* }
    ) => {
        /// Every route: its method in lower case, its path, whether it is open.
        #[cfg(test)]
        const ROUTES: &[(&str, &str, bool)] = &[
            $((stringify!($open_method), $open_path, true),)*
            $((stringify!($method), $path, false),)*
        ];

        /// The router, for one isolate.
        pub(crate) fn router(app: &Arc<App>) -> Router {
            let open = Router::new()$(.route($open_path, routing::$open_method($open)))*;
            let closed = Router::new()$(.route($path, routing::$method($endpoint)))*
                .route_layer(from_fn_with_state(Arc::clone(app), authenticate));
            open.merge(closed)
                .route_layer(from_fn(note_route))
                .fallback(no_such_route)
                .method_not_allowed_fallback(no_such_method)
                .with_state(Arc::clone(app))
        }
    };
}

routes! {
    open {
        get "/healthz" => operations::healthz,
        get "/readyz" => operations::readyz,
        get "/version" => operations::version,
        get "/openapi.json" => operations::openapi,
    }
    closed {
        post "/v1/agents" => agents::create,
        get "/v1/agents" => agents::list,
        get "/v1/agents/{id}" => agents::read,
        patch "/v1/agents/{id}" => agents::patch,
        delete "/v1/agents/{id}" => agents::delete,
        post "/v1/runs" => runs::create,
        get "/v1/runs" => runs::list,
        get "/v1/runs/{id}" => runs::read,
        get "/v1/runs/{id}/steps" => runs::steps,
        get "/v1/runs/{id}/steps/{key}" => runs::step,
        get "/v1/runs/{id}/history" => runs::history,
        post "/v1/runs/{id}/cancel" => runs::cancel,
        get "/v1/skills" => skills::list,
        get "/v1/skills/{name}" => skills::read,
    }
}

/// The one route that answers under any settings.
const HEALTH: &str = "/healthz";

/// What one request brings along besides itself.
#[derive(Clone)]
pub(crate) struct Scope {
    /// Rings the queue once the answer is out.
    pub(crate) ring_after: Arc<dyn Fn(Vec<Job>) + Send + Sync>,
}

/// Answers a request.
pub(crate) async fn serve(isolate: &Isolate, scope: Scope, mut request: Request) -> Response {
    let clock: &dyn Clock = isolate.clock.as_ref();
    let begun = clock.now();
    let method = request.method().clone();
    let request_id = log::new_id(clock);
    let span = tracing::error_span!("request", request_id, tenant = tracing::field::Empty);
    request.extensions_mut().insert(scope);

    async {
        let response = route(isolate, request).await;
        let response = answer::finish(response, &request_id, isolate.is_production());
        tracing::info!(
            method = method.as_str(),
            route = response
                .extensions()
                .get::<MatchedPath>()
                .map_or("none", MatchedPath::as_str),
            status = response.status().as_u16(),
            ms = i64::try_from(clock.now().duration_since(begun).as_millis()).unwrap_or(i64::MAX),
            "request"
        );
        response
    }
    .instrument(span.clone())
    .await
}

async fn route(isolate: &Isolate, request: Request) -> Response {
    match &isolate.configured {
        // A router is always ready.
        Ok(configured) => match configured.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(_) if request.uri().path() == HEALTH && request.method() == Method::GET => operations::healthz().await,
        Err(misconfigured) => Refused(problem_of(misconfigured, request.headers())).into_response(),
    }
}

/// The names of the wrong settings are for the operator alone.
fn problem_of(misconfigured: &Misconfigured, headers: &HeaderMap) -> Problem {
    let detail = "this installation is not configured correctly; its operator sees in the log what is wrong";
    let mut problem = Problem::new(503, "misconfigured", "Not configured", detail);
    if caller::is_operator(headers, misconfigured.operator_key.as_ref()) {
        problem.errors = misconfigured
            .problems
            .iter()
            .map(|wrong| FieldError::new(wrong.name, "invalid_setting", wrong.to_string()))
            .collect();
    }
    problem
}

/// Lets the caller of a closed route in, or turns the request away.
async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match caller::identify(request.headers(), &app.settings.operator_key) {
        Ok(principal) => {
            tracing::Span::current().record("tenant", principal.tenant.as_str());
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) => Refused(problem).into_response(),
    }
}

/// Tells the log which route it was.
async fn note_route(matched: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(matched);
    response
}

async fn no_such_route(uri: Uri) -> Refused {
    let shown: String = uri.path().chars().take(200).collect();
    Refused(Problem::new(
        404,
        "not_found",
        "Not found",
        format!("there is nothing at {shown}"),
    ))
}

async fn no_such_method(method: Method) -> Refused {
    let detail = format!("{method} is not possible here; see the header Allow");
    Refused(Problem::new(405, "method_not_allowed", "Not possible here", detail))
}

#[cfg(test)]
mod tests;
