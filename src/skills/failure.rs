//! The failures of a skill as one enum, so that its contract lists every code it can end with, and no other: an error
//! can only be made from a failure that is in the list.

use super::{Category, contract::FailureMode, outcome::OutcomeError};

/// A failure that a contract lists.
pub(super) trait Failure: Copy + 'static {
    /// Every failure there is.
    const ALL: &'static [Self];

    /// Its code.
    fn code(self) -> &'static str;

    /// Its category.
    fn category(self) -> Category;

    /// Whether the engine tries again by itself.
    fn is_retryable(self) -> bool;

    /// When it happens, for the contract alone.
    fn when(self) -> &'static str;

    /// What the contract says about it.
    fn mode(self) -> FailureMode {
        FailureMode {
            code: self.code(),
            category: self.category(),
            retryable: self.is_retryable(),
            when: self.when(),
        }
    }

    /// The error of one occurrence.
    fn error(self, message: impl Into<String>) -> OutcomeError {
        let error = OutcomeError::new(self.category(), self.code(), message);
        if self.is_retryable() { error.retryable() } else { error }
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

            fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            fn category(self) -> Category {
                match self { $(Self::$variant => $category,)* }
            }

            fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            fn when(self) -> &'static str {
                match self { $(Self::$variant => $when,)* }
            }
        }
    };
}

pub(super) use failures;
