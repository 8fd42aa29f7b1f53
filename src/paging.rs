//! Lists: query parameters, limits and cursors.
//!
//! A cursor is opaque and bound to the list and filters it was made for; one from elsewhere is refused, never misread.
//! Paging is by id, so that rows that come in between shift nothing.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::{FieldError, Problem};

/// Items of a page.
pub const MAX_LIMIT: u32 = 100;
/// Items of a page where the caller does not say.
pub const DEFAULT_LIMIT: u32 = 20;
/// Bytes of the part of a cursor that names its list.
const BINDING_BYTES: usize = 8;

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Sent as `cursor`, gives the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What every list takes from its query, for the API's description.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many items.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before, under the same filters.
    pub cursor: Option<String>,
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRequest {
    limit: u32,
    after: Option<Uuid>,
    binding: [u8; BINDING_BYTES],
}

impl PageRequest {
    /// Takes `limit` and `cursor` from the query of a list. `list` names the list, `filters` are the query's other
    /// parameters that a page depends on.
    pub(crate) fn take(query: &mut Query, list: &str, filters: &[Option<String>]) -> Self {
        let limit = query.take_number("limit", 1, MAX_LIMIT).unwrap_or(DEFAULT_LIMIT);
        let binding = binding(list, filters);
        let after = query.take("cursor").and_then(|cursor| {
            let id = read_cursor(&cursor, binding);
            if id.is_none() {
                query.refuse(
                    "cursor",
                    "invalid_cursor",
                    "is not a cursor of this list with these filters",
                );
            }
            id
        });
        Self { limit, after, binding }
    }

    /// Rows to read: one more than wanted tells whether there is a next page.
    pub(crate) fn rows(self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// The id after which the page begins.
    pub(crate) fn after(self) -> Option<Uuid> {
        self.after
    }

    /// The page, from up to [`PageRequest::rows`] rows.
    pub(crate) fn page<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| write_cursor(id(last), self.binding));
        Page {
            items: rows,
            next_cursor,
        }
    }
}

fn binding(list: &str, filters: &[Option<String>]) -> [u8; BINDING_BYTES] {
    let digest = Sha256::new().chain_update(format!("{list}{filters:?}")).finalize();
    let mut binding = [0; BINDING_BYTES];
    binding.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    binding
}

fn write_cursor(id: Uuid, binding: [u8; BINDING_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode([&binding, id.as_bytes().as_slice()].concat())
}

fn read_cursor(cursor: &str, binding: [u8; BINDING_BYTES]) -> Option<Uuid> {
    // Longer is no cursor, and need not be decoded to know it.
    if cursor.len() > 64 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (bound_to, id) = bytes.split_at_checked(BINDING_BYTES)?;
    if bound_to != binding {
        return None;
    }
    Uuid::from_slice(id).ok()
}

/// The query of a URL, from which parameters are taken one by one; what is left is refused.
pub(crate) struct Query {
    left: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// `raw` is what follows the question mark.
    pub(crate) fn read(raw: Option<&str>) -> Self {
        let left = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        Self {
            left,
            errors: Vec::new(),
        }
    }

    /// A parameter's value.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let (mut taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.left = left;
        if taken.len() > 1 {
            self.refuse(name, "duplicate", "is there more than once");
        }
        taken.pop().map(|(_, value)| value)
    }

    /// A parameter that is a value of type `T`; `what` says what it must be.
    pub(crate) fn take_value<T: FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let value = self.take(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.refuse(name, "invalid_format", format!("must be {what}"));
        }
        parsed
    }

    /// A parameter that is a whole number of this range.
    pub(crate) fn take_number(&mut self, name: &str, least: u32, most: u32) -> Option<u32> {
        let value = self.take(name)?;
        // `parse` would take a sign.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value
            .parse()
            .ok()
            .filter(|number| digits && (least..=most).contains(number));
        if number.is_none() {
            self.refuse(
                name,
                "out_of_range",
                format!("must be a whole number from {least} to {most}"),
            );
        }
        number
    }

    fn refuse(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(format!("?{name}"), code, detail));
    }

    /// Refuses what was wrong and what nobody asked for.
    ///
    /// # Errors
    /// 422 `invalid_request`, each error pointing at `?name`.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.left).into_iter().take(20) {
            let shown: String = name.chars().take(64).collect();
            self.refuse(&shown, "unknown_parameter", "there is no such query parameter here");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(raw: &str, list: &str, filter: Option<&str>) -> Result<PageRequest, Problem> {
        let mut query = Query::read(Some(raw));
        let page = PageRequest::take(&mut query, list, &[filter.map(str::to_owned)]);
        query.finish().map(|()| page)
    }

    fn refused(raw: &str) -> String {
        let errors = page(raw, "runs", None).unwrap_err().errors;
        errors
            .iter()
            .map(|error| format!("{} {}", error.pointer, error.code))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn a_cursor_leads_on_only_in_its_own_list_with_its_own_filters() {
        let first = page("limit=1", "runs", Some("failed")).unwrap();
        let ids = [Uuid::from_u128(9), Uuid::from_u128(8)];
        let cursor = first.page(ids.to_vec(), |id| *id).next_cursor.unwrap();
        let raw = format!("cursor={cursor}");
        assert_eq!(page(&raw, "runs", Some("failed")).unwrap().after(), Some(ids[0]));
        for (list, filter) in [("runs", None), ("runs", Some("queued")), ("agents", Some("failed"))] {
            assert_eq!(page(&raw, list, filter).unwrap_err().errors[0].pointer, "?cursor");
        }
        assert_eq!(first.page(vec![ids[0]], |id| *id).next_cursor, None);
    }

    #[test]
    fn what_is_wrong_with_a_query_is_named() {
        assert_eq!(page("", "runs", None).unwrap().rows(), DEFAULT_LIMIT + 1);
        assert_eq!(page("limit=100", "runs", None).unwrap().rows(), 101);
        for limit in ["0", "101", "-1", "+5", "1.5", "", "x", "99999999999"] {
            assert_eq!(refused(&format!("limit={limit}")), "?limit out_of_range", "{limit}");
        }
        for cursor in ["", "x", "AAAA", "%00", &"A".repeat(32), &"A".repeat(10_000)] {
            assert_eq!(
                refused(&format!("cursor={cursor}")),
                "?cursor invalid_cursor",
                "{cursor}"
            );
        }
        assert_eq!(refused("limit=1&limit=2"), "?limit duplicate");
        assert_eq!(refused("Limit=1&x"), "?Limit unknown_parameter, ?x unknown_parameter");
    }
}
