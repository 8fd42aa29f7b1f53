//! The sessions and users of one instance, as Clerk's backend API shows them. They come into being with the tokens.
//! Must never grow without bound: the oldest session goes when there is one too many.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sessions that are kept.
const SESSIONS: usize = 10_000;
/// How long a session of Clerk's lives when nothing else is set, and until it is abandoned, in milliseconds.
const EXPIRES_MS: i64 = 7 * 24 * 3_600_000;
const ABANDONED_MS: i64 = 30 * 24 * 3_600_000;

/// What a session can be, by Clerk's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Abandoned,
    Active,
    Ended,
    Expired,
    Pending,
    Removed,
    Replaced,
    Revoked,
}

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) status: Status,
    org: Option<String>,
    created_ms: i64,
    updated_ms: i64,
    active_ms: i64,
}

impl Session {
    /// The device's client, which Clerk makes one of for each browser.
    pub(super) fn client(&self) -> String {
        format!("client_{}", bare(&self.id))
    }

    /// The session as the backend API writes it.
    pub(super) fn json(&self) -> Value {
        json!({
            "object": "session",
            "id": self.id,
            "client_id": self.client(),
            "user_id": self.user,
            "status": self.status,
            "actor": null,
            "last_active_organization_id": self.org,
            "last_active_at": self.active_ms,
            "latest_activity": { "object": "session_activity", "id": format!("sess_activity_{}", bare(&self.id)), "is_mobile": false },
            "expire_at": self.created_ms.saturating_add(EXPIRES_MS),
            "abandon_at": self.created_ms.saturating_add(ABANDONED_MS),
            "created_at": self.created_ms,
            "updated_at": self.updated_ms,
        })
    }
}

/// What a minted token says about its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting<'a> {
    pub(super) session: &'a str,
    pub(super) user: &'a str,
    pub(super) org: Option<&'a str>,
    pub(super) pending: bool,
    /// In milliseconds of the Unix epoch.
    pub(super) at_ms: i64,
}

/// All sessions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Directory {
    sessions: VecDeque<Session>,
}

impl Directory {
    /// Begins the session, or notes that it is in use. An ended one stays ended, and each stays its user's.
    pub(super) fn note(&mut self, seen: Sighting<'_>) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == seen.session) {
            if session.user == seen.user {
                session.org = seen.org.map(str::to_owned);
                session.active_ms = seen.at_ms;
            }
            return;
        }
        if self.sessions.len() == SESSIONS {
            self.sessions.pop_front();
        }
        self.sessions.push_back(Session {
            id: seen.session.to_owned(),
            user: seen.user.to_owned(),
            status: if seen.pending { Status::Pending } else { Status::Active },
            org: seen.org.map(str::to_owned),
            created_ms: seen.at_ms,
            updated_ms: seen.at_ms,
            active_ms: seen.at_ms,
        });
    }

    /// The newest first.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().rev()
    }

    pub(super) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Ends a session that is active or pending; `None` where there is no such session, or it has ended already.
    pub(super) fn revoke(&mut self, id: &str, now_ms: i64) -> Option<&Session> {
        let session = self.sessions.iter_mut().find(|session| session.id == id)?;
        if !matches!(session.status, Status::Active | Status::Pending) {
            return None;
        }
        session.status = Status::Revoked;
        session.updated_ms = now_ms;
        Some(session)
    }

    /// The user as the backend API writes it; `None` for one who never had a token.
    pub(super) fn user(&self, id: &str) -> Option<Value> {
        let mut own = self.sessions.iter().filter(|session| session.user == id);
        let first = own.next()?;
        let last_ms = own.map(|session| session.active_ms).fold(first.active_ms, i64::max);
        let name = bare(id);
        let email = format!("idn_{name}");
        Some(json!({
            "object": "user",
            "id": id,
            "username": null,
            "first_name": name,
            "last_name": null,
            "external_id": null,
            "image_url": "",
            "has_image": false,
            "primary_email_address_id": email,
            "primary_phone_number_id": null,
            "primary_web3_wallet_id": null,
            "email_addresses": [{
                "object": "email_address",
                "id": email,
                "email_address": format!("{}@example.com", name.to_lowercase()),
                "reserved": false,
                "verification": { "status": "verified", "strategy": "email_code", "attempts": 1, "expire_at": null },
                "linked_to": [],
                "created_at": first.created_ms,
                "updated_at": first.created_ms,
            }],
            "phone_numbers": [],
            "web3_wallets": [],
            "external_accounts": [],
            "enterprise_accounts": [],
            "password_enabled": true,
            "two_factor_enabled": false,
            "totp_enabled": false,
            "backup_code_enabled": false,
            "banned": false,
            "locked": false,
            "public_metadata": {},
            "private_metadata": {},
            "unsafe_metadata": {},
            "last_sign_in_at": first.created_ms,
            "last_active_at": last_ms,
            "created_at": first.created_ms,
            "updated_at": first.created_ms,
            "create_organization_enabled": true,
            "delete_self_enabled": true,
            "legal_accepted_at": null,
        }))
    }
}

/// An id without its prefix.
fn bare(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, bare)| bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting<'a>(session: &'a str, user: &'a str) -> Sighting<'a> {
        Sighting {
            session,
            user,
            org: None,
            pending: false,
            at_ms: 1,
        }
    }

    #[test]
    fn a_revoked_session_stays_revoked_when_another_token_names_it() {
        let mut directory = Directory::default();
        directory.note(sighting("sess_1", "user_1"));
        assert_eq!(
            directory.revoke("sess_1", 2).map(|session| session.status),
            Some(Status::Revoked)
        );
        directory.note(sighting("sess_1", "user_1"));
        assert_eq!(
            directory.session("sess_1").map(|session| session.status),
            Some(Status::Revoked)
        );
        assert!(directory.revoke("sess_1", 3).is_none());
    }

    #[test]
    fn a_session_stays_its_users() {
        let mut directory = Directory::default();
        directory.note(sighting("sess_1", "user_1"));
        directory.note(sighting("sess_1", "user_2"));
        assert_eq!(
            directory.session("sess_1").map(|session| session.user.as_str()),
            Some("user_1")
        );
        assert!(directory.user("user_2").is_none());
    }

    #[test]
    fn the_oldest_session_goes_when_there_is_one_too_many() {
        let mut directory = Directory::default();
        for number in 0..=SESSIONS {
            directory.note(sighting(&format!("sess_{number}"), "user_1"));
        }
        assert!(directory.session("sess_0").is_none());
        assert_eq!(directory.sessions().count(), SESSIONS);
        assert_eq!(
            directory.sessions().next().map(|session| session.id.clone()),
            Some(format!("sess_{SESSIONS}"))
        );
    }
}
