//! Labels: a caller's own words on an agent or a run, as pairs of strings. AOS stores them and never acts on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{FieldError, pointer_token};

/// Labels of one thing.
pub const MAX_LABELS: usize = 32;
/// Characters of a label's key.
pub const MAX_KEY_CHARS: usize = 64;
/// Characters of a label's value.
pub const MAX_VALUE_CHARS: usize = 256;

/// Labels, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(example = json!({"team": "data"}))]
pub struct Labels(pub BTreeMap<String, String>);

impl Labels {
    /// Everything that is wrong with them, where they stand at `/labels` of a body.
    pub(crate) fn check(&self, errors: &mut Vec<FieldError>) {
        check(
            self.0.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))),
            errors,
        );
    }
}

/// Checks labels that stand at `/labels` of a body. In a patch a value may be `None`: that label is to go.
pub(crate) fn check<'a>(labels: impl Iterator<Item = (&'a str, Option<&'a str>)>, errors: &mut Vec<FieldError>) {
    let mut count = 0_usize;
    for (key, value) in labels {
        count = count.saturating_add(usize::from(value.is_some()));
        let at = || format!("/labels/{}", pointer_token(key));
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARS {
            errors.push(FieldError::new(
                at(),
                "invalid_format",
                format!("a label's key has 1 to {MAX_KEY_CHARS} characters"),
            ));
        }
        if value.is_some_and(|value| value.chars().count() > MAX_VALUE_CHARS) {
            errors.push(FieldError::new(
                at(),
                "too_large",
                format!("a label's value has at most {MAX_VALUE_CHARS} characters"),
            ));
        }
        // The body's size bounds the number of labels, but nobody needs an error for each of them.
        if errors.len() > MAX_LABELS {
            break;
        }
    }
    if count > MAX_LABELS {
        errors.push(too_many());
    }
}

/// More labels than there may be.
pub(crate) fn too_many() -> FieldError {
    FieldError::new("/labels", "too_many", format!("there may be {MAX_LABELS} labels"))
}
