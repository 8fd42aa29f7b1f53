//! Sessions of the people who sign in: Clerk keeps them, we show one's own and end them at once.
//!
//! Clerk ends a session and its tokens stay good until they expire; an entry in Redis refuses them until then.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    audit::{self, Action, By},
    auth::{Credential, Principal},
    database::Database,
    integrations::{
        Repeat,
        clerk::{self, Clerk, SessionStatus},
        upstash::{Command, Key, Upstash},
    },
    problem::Problem,
};

/// How long a revoked session is remembered: longer than any token that is accepted is likely to live. Clerk's own live
/// for a minute.
const REVOKED_FOR: Duration = Duration::from_hours(24);

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "sess_2abc", "current": true, "created_at": "2026-11-23T10:00:00Z", "last_active_at": "2026-11-23T11:00:00Z",
    "expires_at": "2026-11-30T10:00:00Z", "device": "Macintosh", "browser": "Chrome", "city": "Zurich", "country": "CH"
}))]
pub struct Session {
    /// Its id, as Clerk gives it.
    pub id: String,
    /// Whether this request was made in it.
    pub current: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last in use.
    pub last_active_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it was last in use, as far as is known.
    pub device: Option<String>,
    /// With which browser.
    pub browser: Option<String>,
    /// From which city.
    pub city: Option<String>,
    /// From which country.
    pub country: Option<String>,
}

/// `GET /v1/sessions`: the caller's own active sessions.
///
/// # Errors
/// 409 `no_session` for a caller that is no signed-in person; 503 `unavailable`.
pub async fn list(clerk: Option<&Clerk>, principal: &Principal) -> Result<Vec<Session>, Problem> {
    let (clerk, current) = (clerk.ok_or_else(no_session)?, current(principal)?);
    let sessions = clerk
        .sessions(&principal.subject, Some(SessionStatus::Active))
        .await
        .map_err(problem_of)?;
    let shown = sessions.into_iter().map(|session| {
        let activity = session.latest_activity.unwrap_or_default();
        Session {
            current: session.id == current,
            id: session.id,
            created_at: session.created_at,
            last_active_at: session.last_active_at,
            expires_at: session.expire_at,
            device: activity.device_type,
            browser: activity.browser_name,
            city: activity.city,
            country: activity.country,
        }
    });
    Ok(shown.collect())
}

/// `POST /v1/sessions/{id}/revoke`: ends one of the caller's own sessions. Its tokens are refused from now on. May be
/// sent again.
///
/// # Errors
/// 404 `not_found`, also for somebody else's; 409 `no_session`; 503 `unavailable`, after which it should be sent again.
pub async fn revoke(
    clerk: Option<&Clerk>,
    upstash: &Upstash,
    database: &Database,
    by: By<'_>,
    id: &str,
) -> Result<(), Problem> {
    let (clerk, current) = (clerk.ok_or_else(no_session)?, current(by.principal)?);
    if id != current {
        let own = clerk.sessions(&by.principal.subject, None).await.map_err(problem_of)?;
        if !own.iter().any(|session| session.id == id) {
            return Err(Problem::not_found("session"));
        }
    }
    clerk.revoke_session(id).await.map_err(problem_of)?;
    let entry = Command::set_ex(&Key::revoked_session(id), "now", REVOKED_FOR);
    let denied = upstash.command(entry, Repeat::Harmless).await;
    // It was ended, whatever becomes of its tokens.
    audit::done(database, by, Action::SessionsRevoke, id).await?;
    denied.map_err(|error| {
        tracing::error!(%error, "a session was ended, and its tokens are good until they expire");
        Problem::unavailable("the session was ended, but its tokens stay good for a moment; send the request again")
    })?;
    Ok(())
}

/// The session that the caller is in.
fn current(principal: &Principal) -> Result<&str, Problem> {
    match &principal.credential {
        Credential::Session { id, .. } => Ok(id),
        _ => Err(no_session()),
    }
}

fn no_session() -> Problem {
    Problem::conflict("no_session", "only somebody who is signed in has sessions")
}

fn problem_of(error: clerk::Error) -> Problem {
    match error {
        clerk::Error::NotFound => Problem::not_found("session"),
        error => {
            tracing::error!(%error, "Clerk did not do what it was asked for");
            Problem::unavailable("the sessions cannot be reached at the moment")
        }
    }
}
