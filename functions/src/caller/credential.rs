//! The one credential of a request, as it was shown. Nothing is verified here.

use aos::problem::Problem;
use axum::http::{HeaderMap, header};

use super::{API_KEY, MACHINE_TOKEN, unauthenticated};

/// The cookie in which Clerk's browser library keeps the session token.
const SESSION_COOKIE: &str = "__session";

/// A credential that nobody has verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// `X-API-Key`.
    ApiKey(&'a [u8]),
    /// `X-Machine-Token`.
    Machine(&'a [u8]),
    /// `Authorization: Bearer …`.
    Bearer(&'a str),
    /// The cookie `__session`. Browsers send it by themselves, also for pages of others.
    Cookie(&'a str),
}

impl<'a> Shown<'a> {
    /// The credential of a request.
    ///
    /// # Errors
    /// 401 `unauthenticated` if there is none; 400 `several_credentials`.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let keys = headers
            .get_all(API_KEY)
            .iter()
            .map(|value| Ok(Self::ApiKey(value.as_bytes())));
        let machines = headers
            .get_all(MACHINE_TOKEN)
            .iter()
            .map(|value| Ok(Self::Machine(value.as_bytes())));
        let bearers = headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .map(|value| bearer(value.to_str().ok()));
        let cookies = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, value)| *name == SESSION_COOKIE && !value.is_empty())
            .map(|(_, token)| Ok(Self::Cookie(token)));
        let mut shown = keys.chain(machines).chain(bearers).chain(cookies);
        let first = shown
            .next()
            .ok_or_else(|| unauthenticated("send the header Authorization: Bearer …, or X-API-Key"))?;
        if shown.next().is_some() || first.as_ref().is_ok_and(|first| first.is_joined()) {
            let title = "More than one credential";
            return Err(Problem::new(
                400,
                "several_credentials",
                title,
                "send exactly one credential",
            ));
        }
        first
    }

    /// Whether it is several headers of one name, as the platform's fetch joins them: no credential of ours holds this.
    fn is_joined(self) -> bool {
        match self {
            Self::ApiKey(bytes) | Self::Machine(bytes) => bytes.windows(2).any(|pair| pair == b", "),
            Self::Bearer(token) | Self::Cookie(token) => token.contains(','),
        }
    }

    /// One word for audits.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::ApiKey(_) => "api_key",
            Self::Machine(_) => "machine",
            Self::Bearer(_) => "bearer",
            Self::Cookie(_) => "cookie",
        }
    }
}

/// The scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(value: Option<&str>) -> Result<Shown<'_>, Problem> {
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated(
            "this kind of authorization is not accepted; send a bearer token",
        ));
    }
    Ok(Shown::Bearer(token.trim()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn shown(headers: &[(&'static str, &str)]) -> Result<String, (u16, String)> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Shown::of(&headers)
            .map(|shown| format!("{shown:?}"))
            .map_err(|problem| (problem.status, problem.code.into_owned()))
    }

    #[test]
    fn each_kind_of_credential_is_found_where_it_belongs() {
        assert_eq!(
            shown(&[("authorization", "Bearer a.b.c")]).unwrap(),
            r#"Bearer("a.b.c")"#
        );
        assert_eq!(shown(&[("authorization", "bearer  a")]).unwrap(), r#"Bearer("a")"#);
        assert_eq!(
            shown(&[("cookie", "x=1; __session=a.b.c; y=2")]).unwrap(),
            r#"Cookie("a.b.c")"#
        );
        assert!(shown(&[("x-api-key", "k")]).unwrap().starts_with("ApiKey"));
        assert!(shown(&[("x-machine-token", "k")]).unwrap().starts_with("Machine"));
    }

    #[test]
    fn two_credentials_are_refused_whatever_they_are() {
        let several = Err((400, "several_credentials".to_owned()));
        assert_eq!(shown(&[("x-api-key", "k"), ("authorization", "Bearer x")]), several);
        assert_eq!(shown(&[("x-api-key", "k"), ("x-api-key", "k")]), several);
        assert_eq!(
            shown(&[("authorization", "Bearer x"), ("cookie", "__session=x")]),
            several
        );
        assert_eq!(shown(&[("cookie", "__session=x; __session=y")]), several);
        for (name, joined) in [
            ("authorization", "Bearer a.b.c, Bearer d.e.f"),
            ("x-api-key", "k, k"),
            ("x-machine-token", "k, k"),
        ] {
            assert_eq!(shown(&[(name, joined)]), several, "{joined}");
        }
    }

    #[test]
    fn without_a_credential_nobody_is_known() {
        let unauthenticated = Err((401, "unauthenticated".to_owned()));
        for headers in [
            &[][..],
            &[("x-aos-tenant", "org_1")],
            &[("cookie", "__session=")],
            &[("cookie", "__session_other=x")],
            &[("authorization", "Basic dTpw")],
            &[("authorization", "Bearer")],
            &[("authorization", "")],
        ] {
            assert_eq!(shown(headers), unauthenticated, "{headers:?}");
        }
    }
}
