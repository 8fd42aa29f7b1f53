//! What skills share that call a URL of a caller's: how URL and headers are read, how a request is sent, and what its
//! answer means. Must never send anything to an address that the guard has not passed.
//!
//! # What a status means
//!
//! | status | failure |
//! | --- | --- |
//! | 408, 425, 429, 503, 529 | retryable: the target says that it did nothing |
//! | another 5xx, to what may be repeated | retryable: a repeat changes nothing more |
//! | 502, 504, 520–527, to what may not | `unknown_effect`: a proxy answered, the request may have been carried out |
//! | another 5xx, to what may not | final: the target itself says that it broke, a repeat might do half of it twice |
//! | 401, 403, 407, 451 · 404, 410 · 409, 412, 423 · other 4xx | final: permission · not found · conflict · rejected |

mod params;
mod sending;
mod status;

pub(super) use self::{
    params::{MAX_HEADERS, headers_schema, host, read_headers, read_url, refused_params},
    sending::{Message, Sender, Unanswered, user_agent},
    status::{refusal, request_id},
};
use super::{
    Category,
    contract::FailureMode,
    failure::{Failure, failures},
};

failures! {
    /// How a call of a URL can fail.
    pub(super) enum WebFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        ForbiddenAddress {
            code: "forbidden_address", category: Category::Permission, retryable: false,
            when: "the address guard refuses the URL, that of a redirect, or an address that the name of either leads to",
        },
        NameNotResolved {
            code: "name_not_resolved", category: Category::Network, retryable: false,
            when: "the host's name does not exist or has no address",
        },
        DnsFailed {
            code: "dns_failed", category: Category::Network, retryable: true,
            when: "the host's name could not be looked up; what was to go there was not sent",
        },
        RequestRefused {
            code: "request_refused", category: Category::Validation, retryable: false,
            when: "the platform cannot make the request as asked; nothing was sent",
        },
        Network {
            code: "network", category: Category::Network, retryable: true,
            when: "the connection failed and a repeat changes nothing more",
        },
        Timeout {
            code: "timeout", category: Category::Timeout, retryable: true,
            when: "no complete answer in time and a repeat changes nothing more",
        },
        UnknownEffect {
            code: "unknown_effect", category: Category::UnknownEffect, retryable: false,
            when: "what may not be repeated was sent and nobody knows whether it was carried out: no complete answer, or one \
                   from a proxy (502, 504, 520 to 527)",
        },
        RateLimited {
            code: "rate_limited", category: Category::RateLimit, retryable: true,
            when: "the target answers 429; its Retry-After is honoured",
        },
        ProviderUnavailable {
            code: "provider_unavailable", category: Category::Provider, retryable: true,
            when: "the target answers 408, 425, 503 or 529, or another 5xx to what may be repeated; its Retry-After is honoured",
        },
        ProviderFailed {
            code: "provider_failed", category: Category::Provider, retryable: false,
            when: "the target answers a 5xx of its own to what may not be repeated",
        },
        PermissionDenied {
            code: "permission_denied", category: Category::Permission, retryable: false,
            when: "the target answers 401, 403, 407 or 451",
        },
        NotFound {
            code: "target_not_found", category: Category::NotFound, retryable: false,
            when: "the target answers 404 or 410",
        },
        Conflict {
            code: "target_conflict", category: Category::Conflict, retryable: false,
            when: "the target answers 409, 412 or 423",
        },
        RequestRejected {
            code: "request_rejected", category: Category::Validation, retryable: false,
            when: "the target answers another 4xx",
        },
    }
}

impl WebFailure {
    /// Those of a skill whose calls may all be repeated.
    pub(super) fn modes_of_repeatable() -> Vec<FailureMode> {
        Self::ALL
            .iter()
            .filter(|failure| !matches!(failure, Self::UnknownEffect | Self::ProviderFailed))
            .map(|failure| failure.mode())
            .collect()
    }
}
