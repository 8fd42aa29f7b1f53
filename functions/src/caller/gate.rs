//! The gate before every route that is not open: who is it, may it do this, and how often. What a read needs runs beside
//! the look-ups in Redis and is thrown away if they refuse; a change waits for them.

use std::{pin::pin, sync::Arc};

use aos::{
    audit,
    auth::{Permission, Principal},
    limits::{Lookups, Subject, Verdict},
    problem::Problem,
};
use axum::{
    extract::{Request, State},
    http::HeaderName,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use jiff::Timestamp;

use super::{
    ADDRESS,
    identify::{Identified, Stranger, identify, look_up},
};
use crate::{answer::Refused, router::Scope, state::App};

/// What stands before one route.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    /// What the caller must be allowed to do.
    pub(crate) permission: Permission,
    /// The route, for the audit: `post /v1/agents`.
    pub(crate) route: &'static str,
}

/// Characters of a path that the audit log keeps.
const MAX_TARGET_CHARS: usize = 200;

/// The id of the request, as in `X-Request-Id`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestId(pub(crate) String);

/// Lets the caller of a closed route in, or turns the request away.
#[worker::send]
pub(crate) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Some(scope) = request.extensions().get::<Scope>().cloned() else {
        return Refused(Problem::internal()).into_response();
    };
    let visit = Visit {
        now: gate.app.clock.now(),
        path: request.uri().path().chars().take(MAX_TARGET_CHARS).collect(),
        request_id: request.extensions().get::<RequestId>().cloned().unwrap_or_default().0,
        address: request
            .headers()
            .get(ADDRESS)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        gate,
        scope,
    };
    match identify(&visit.gate.app, request.method(), request.headers(), visit.now).await {
        Ok(identified) => visit.admit(identified, request, next).await,
        Err(stranger) => visit.turn_away(stranger).await,
    }
}

/// One request at the gate.
struct Visit {
    gate: Gate,
    scope: Scope,
    request_id: String,
    path: String,
    address: String,
    now: Timestamp,
}

impl Visit {
    async fn admit(self, caller: Identified, mut request: Request, next: Next) -> Response {
        let app = &self.gate.app;
        let principal = caller.principal.clone();
        tracing::Span::current().record("tenant", principal.tenant.as_str());
        request.extensions_mut().insert(principal.clone());
        if caller.keys_are_due {
            let app = Arc::clone(app);
            (self.scope.after)(async move { app.tokens.refresh_keys().await }.boxed_local());
        }
        // The operator sets the limits and is bound by none: it must be able to act while a tenant's are used up.
        let lookups = (!principal.is_operator()).then(|| self.lookups(&caller));
        let may = principal.may(self.gate.permission);
        let decision = async {
            let verdict = self.ask(lookups).await;
            let refused = self.refusal(&caller, verdict.as_ref(), may).await;
            match refused {
                None => Ok(verdict),
                Some(refused) => Err((verdict, refused)),
            }
        };
        let passed = if may && request.method().is_safe() {
            beside(decision, next.run(request)).await
        } else {
            match decision.await {
                Ok(verdict) => Ok((verdict, next.run(request).await)),
                Err(refused) => Err(refused),
            }
        };
        let (verdict, response) = match passed {
            Ok((verdict, response)) => {
                self.note_refusal_by_endpoint(&principal, &response);
                (verdict, response)
            }
            Err(refused) => refused,
        };
        match verdict {
            Some(verdict) => {
                self.correct(&principal, &verdict);
                limited(response, &verdict)
            }
            None => response,
        }
    }

    fn lookups(&self, caller: &Identified) -> Lookups {
        let tenant = &caller.principal.tenant;
        let subject = Subject {
            tenant,
            known: self.gate.app.database.limits_of(tenant),
            api_key: caller.api_key.as_ref().and_then(|key| Some((key.id, key.per_minute?))),
            revocation: caller.revocation.as_ref(),
        };
        Lookups::of(&subject, self.now)
    }

    async fn ask(&self, lookups: Option<Lookups>) -> Option<Verdict> {
        Some(self.gate.app.limiter.ask(&lookups?).await)
    }

    /// Why the verified caller is refused, if it is.
    async fn refusal(&self, caller: &Identified, verdict: Option<&Verdict>, may: bool) -> Option<Response> {
        let problem = match verdict {
            Some(verdict) => self.looked_up(caller, verdict).await.err(),
            None => None,
        };
        let problem = problem.or_else(|| (!may).then(|| self.forbidden()))?;
        tracing::info!(code = &*problem.code, "refused");
        if matches!(problem.status, 401 | 403) {
            self.note(&caller.principal, &problem);
        }
        Some(Refused(problem).into_response())
    }

    /// What the look-ups say against it.
    async fn looked_up(&self, caller: &Identified, verdict: &Verdict) -> Result<(), Problem> {
        let app = &self.gate.app;
        if verdict.revoked {
            let (code, detail) = match &caller.api_key {
                Some(key) => {
                    app.api_keys.forget(&key.hash);
                    ("api_key_revoked", "this key was revoked")
                }
                None => ("session_revoked", "this session was ended"),
            };
            return Err(Problem::new(401, code, "No valid credential", detail));
        }
        // Nobody can say whether a remembered key was revoked since: the database can.
        if let (true, Some(key)) = (verdict.degraded, caller.api_key.as_ref().filter(|key| key.remembered)) {
            let found = look_up(app, &key.hash, self.now).await?;
            found
                .ok_or_else(|| super::unauthenticated("the key is not valid"))?
                .principal(self.now)?;
        }
        verdict.check_rate()
    }

    fn forbidden(&self) -> Problem {
        let detail = format!("this needs the permission {}", self.gate.permission);
        Problem::new(403, "forbidden", "Not allowed", detail)
    }

    /// Nobody is known: the answer says little, and how often it is given is limited by the address.
    async fn turn_away(self, stranger: Stranger) -> Response {
        if stranger.problem.status == 503 {
            return Refused(stranger.problem).into_response();
        }
        let lookups = Lookups::of_stranger(&self.address, &stranger.code, self.now);
        let verdict = self.gate.app.limiter.ask(&lookups).await;
        tracing::info!(
            code = stranger.code,
            credential = stranger.credential,
            "a stranger was refused"
        );
        let problem = verdict.check_rate().err().unwrap_or(stranger.problem);
        if let Some(owner) = &stranger.owner {
            // A tenant learns of a key of its own that is still being tried.
            if verdict.allowed {
                self.note(owner, &problem);
            }
        } else if let Some(nth) = verdict.nth.filter(|nth| audit::is_sampled(*nth)) {
            let (app, address, request_id) = (Arc::clone(&self.gate.app), self.address, self.request_id);
            let (credential, route) = (stranger.credential, self.gate.route);
            let noted = async move {
                let stranger = audit::Stranger {
                    credential,
                    action: route,
                    address: (!address.is_empty()).then_some(address.as_str()),
                    code: &stranger.code,
                    request_id: &request_id,
                    nth,
                };
                // What went wrong has been logged; a refusal stands without its entry.
                let _ = audit::note_stranger(&app.database, stranger).await;
            };
            (self.scope.after)(noted.boxed_local());
        }
        limited(Refused(problem).into_response(), &verdict)
    }

    /// What a permission alone cannot decide the endpoint refuses itself.
    fn note_refusal_by_endpoint(&self, principal: &Principal, response: &Response) {
        if let Some(Refused(problem)) = response.extensions().get()
            && problem.status == 403
        {
            self.note(principal, problem);
        }
    }

    /// Writes down, after the answer, that somebody of a tenant was refused.
    fn note(&self, principal: &Principal, problem: &Problem) {
        let (app, principal, problem) = (Arc::clone(&self.gate.app), principal.clone(), problem.clone());
        let (route, path, request_id) = (self.gate.route, self.path.clone(), self.request_id.clone());
        let noted = async move {
            let refused = audit::Refused {
                tenant: &principal.tenant,
                actor: &principal.label().to_string(),
                credential: principal.credential.kind(),
                action: route,
                target: Some(&path),
                code: &problem.code,
                request_id: &request_id,
            };
            // What went wrong has been logged; a refusal stands without its entry.
            let _ = audit::note(&app.database, refused).await;
        };
        (self.scope.after)(noted.boxed_local());
    }

    /// Tells Redis the tenant's limit, after the answer, where the database has said another one.
    fn correct(&self, principal: &Principal, verdict: &Verdict) {
        let app = &self.gate.app;
        let limits = app.database.limits_of(&principal.tenant);
        let Some(command) = limits.and_then(|limits| verdict.correction(&principal.tenant, &limits)) else {
            return;
        };
        let upstash = app.settings.upstash.clone();
        let corrected = async move {
            if let Err(error) = upstash.command(command, aos::integrations::Repeat::Harmless).await {
                tracing::debug!(%error, "Redis was not told a tenant's limit");
            }
        };
        (self.scope.after)(corrected.boxed_local());
    }
}

/// Works on an answer while it is decided whether it may be given, and drops the work as soon as it may not: nobody who is
/// refused waits for the end of a run.
async fn beside<V, R, A>(
    decision: impl Future<Output = Result<V, R>>,
    answer: impl Future<Output = A>,
) -> Result<(V, A), R> {
    match select(pin!(decision), pin!(answer)).await {
        Either::Left((decided, answer)) => {
            let verdict = decided?;
            Ok((verdict, answer.await))
        }
        Either::Right((answer, decision)) => Ok((decision.await?, answer)),
    }
}

fn limited(mut response: Response, verdict: &Verdict) -> Response {
    for (name, value) in verdict.rate.headers() {
        if let Ok(name) = HeaderName::try_from(name) {
            response.headers_mut().insert(name, value.into());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_may_not_be_given_is_not_waited_for() {
        let refused = beside(ready(Err::<(), _>("no")), pending::<()>()).await;
        assert_eq!(refused, Err("no"));
    }

    #[tokio::test]
    async fn an_answer_is_given_only_once_it_may_be() {
        let slowly = |decision: Result<&'static str, &'static str>| async move {
            tokio::task::yield_now().await;
            decision
        };
        assert_eq!(beside(slowly(Ok("yes")), ready(1)).await, Ok(("yes", 1)));
        assert_eq!(beside(slowly(Err("no")), ready(1)).await, Err("no"));
        assert_eq!(beside(ready(Ok::<_, ()>("yes")), async { 1 }).await, Ok(("yes", 1)));
    }
}
