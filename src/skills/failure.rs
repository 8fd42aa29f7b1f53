//! The failures of a skill as one enum, so that its contract lists every code it can end with, and no other: an error
//! can only be made from a failure that is in the list.

use super::{contract::FailureMode, outcome::OutcomeError};

/// A failure that a contract lists.
pub(super) trait Failure: Copy + 'static {
    /// Every failure there is.
    const ALL: &'static [Self];

    /// What the contract says about it.
    fn mode(self) -> FailureMode;

    /// The error of one occurrence.
    fn error(self, message: impl Into<String>) -> OutcomeError {
        let FailureMode {
            code,
            category,
            retryable,
            ..
        } = self.mode();
        let error = OutcomeError::new(category, code, message);
        if retryable { error.retryable() } else { error }
    }

    /// The contract's list.
    fn modes() -> Vec<FailureMode> {
        Self::ALL.iter().map(|failure| failure.mode()).collect()
    }
}

macro_rules! failures {
    (
        $(#[$doc:meta])*
        $visibility:vis enum $name:ident {
            $($variant:ident {
                code: $code:literal, category: $category:expr, retryable: $retryable:literal, when: $when:literal $(,)?
            },)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name { $($variant,)* }

        impl Failure for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn mode(self) -> FailureMode {
                match self {
                    $(Self::$variant => FailureMode {
                        code: $code, category: $category, retryable: $retryable, when: $when,
                    },)*
                }
            }
        }
    };
}

pub(super) use failures;
