//! The routes, in one table, and the way of every request through them: settings first, then the route, then the
//! caller, then the endpoint; in the end one line in the log. A route is closed unless the table says `open`.

use std::sync::Arc;

use aos::{
    auth::Permission,
    config::Misconfigured,
    platform::{Clock, JobQueue},
    problem::{FieldError, Problem},
};
use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, Method, Uri},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing,
};
use futures::future::LocalBoxFuture;
use tower_service::Service;
use tracing::Instrument;

use crate::{
    agents,
    answer::{self, Refused},
    api_keys, calendar,
    caller::{self, Gate, RequestId, gate},
    log, operations, rights, runs, secrets, sessions, settings, skills,
    state::{App, Isolate},
    tenants,
};

/// Builds the router and the list of its routes from one table.
macro_rules! routes {
    (
        open { $($open_method:ident $open_path:literal => $open:path,)* }
        closed { $($method:ident $path:literal $permission:ident => $endpoint:path,)* }
    ) => {
        /// Every route: its method in lower case, its path, and what it needs; nothing if it is open.
        #[cfg(not(target_arch = "wasm32"))]
        pub(crate) const ROUTES: &[(&str, &str, Option<Permission>)] = &[
            $((stringify!($open_method), $open_path, None),)*
            $((stringify!($method), $path, Some(Permission::$permission)),)*
        ];

        /// The router, for one isolate.
        pub(crate) fn router(app: &Arc<App>) -> Router {
            let open = Router::new()$(.route($open_path, routing::$open_method($open)))*;
            let closed = Router::new()$(.route($path, routing::$method($endpoint).route_layer(from_fn_with_state(
                Gate {
                    app: Arc::clone(app),
                    permission: Permission::$permission,
                    route: concat!(stringify!($method), " ", $path),
                },
                gate,
            ))))*;
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
        get "/v1/public-config" => sessions::public_config,
        get "/v1/calendar/{id}" => calendar::read,
    }
    closed {
        post "/v1/agents" AgentsWrite => agents::create,
        get "/v1/agents" AgentsRead => agents::list,
        get "/v1/agents/{id}" AgentsRead => agents::read,
        patch "/v1/agents/{id}" AgentsWrite => agents::patch,
        delete "/v1/agents/{id}" AgentsWrite => agents::delete,
        post "/v1/runs" RunsCreate => runs::create,
        get "/v1/runs" RunsRead => runs::list,
        get "/v1/runs/{id}" RunsRead => runs::read,
        get "/v1/runs/{id}/steps" RunsRead => runs::steps,
        get "/v1/runs/{id}/steps/{key}" RunsRead => runs::step,
        get "/v1/runs/{id}/history" RunsRead => runs::history,
        post "/v1/runs/{id}/cancel" RunsCancel => runs::cancel,
        get "/v1/skills" SkillsRead => skills::list,
        get "/v1/skills/{name}" SkillsRead => skills::read,
        get "/v1/session" IdentityRead => sessions::current,
        get "/v1/sessions" SessionsRead => sessions::list,
        post "/v1/sessions/{id}/revoke" SessionsRevoke => sessions::revoke,
        get "/v1/api-keys" ApiKeysRead => api_keys::list,
        post "/v1/api-keys" ApiKeysManage => api_keys::create,
        get "/v1/api-keys/{id}" ApiKeysRead => api_keys::read,
        delete "/v1/api-keys/{id}" ApiKeysManage => api_keys::revoke,
        post "/v1/api-keys/{id}/rotate" ApiKeysManage => api_keys::rotate,
        get "/v1/secrets" SecretsRead => secrets::list,
        put "/v1/secrets/{name}" SecretsManage => secrets::put,
        get "/v1/secrets/{name}" SecretsRead => secrets::read,
        delete "/v1/secrets/{name}" SecretsManage => secrets::delete,
        get "/v1/settings" SettingsRead => settings::read,
        put "/v1/settings" SettingsManage => settings::put,
        get "/v1/rbac/matrix" RbacRead => rights::matrix,
        get "/v1/audit" AuditRead => rights::audit,
        get "/v1/tenants" TenantsRead => tenants::list,
        get "/v1/tenants/{id}" TenantsRead => tenants::read,
        patch "/v1/tenants/{id}" TenantsManage => tenants::patch,
        delete "/v1/tenants/{id}" TenantsManage => tenants::erase,
    }
}

/// The one route that answers under any settings.
const HEALTH: &str = "/healthz";

/// What one request brings along besides itself.
#[derive(Clone)]
pub(crate) struct Scope {
    /// Does something once the answer is out.
    pub(crate) after: Arc<dyn Fn(LocalBoxFuture<'static, ()>) + Send + Sync>,
    /// The queue.
    pub(crate) jobs: Arc<dyn JobQueue>,
}

/// Answers a request.
pub(crate) async fn serve(isolate: &Isolate, scope: Scope, mut request: Request) -> Response {
    let clock: &dyn Clock = isolate.clock.as_ref();
    let begun = clock.now();
    let method = request.method().clone();
    let request_id = log::new_id(clock);
    let span = tracing::error_span!("request", request_id, tenant = tracing::field::Empty);
    request.extensions_mut().insert(scope);
    request.extensions_mut().insert(RequestId(request_id.clone()));

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
