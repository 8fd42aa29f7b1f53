//! No request of the Worker follows a redirect by itself. Keys, connection strings and bodies are for the host they were
//! sent to: the platform's fetch would take them along to whichever host an answer names.

/// From now on every fetch of this isolate gives back a redirect as the answer that it is. Calling it again changes
/// nothing more.
///
/// reqwest has no setting for it in wasm and calls the global `fetch`; so that is where it is set. The platform knows
/// `manual` to mean that the answer's status and headers can be read.
#[cfg(target_arch = "wasm32")]
pub(crate) fn follow_none() {
    script::follow_no_redirects();
}

#[cfg(target_arch = "wasm32")]
mod script {
    use worker::wasm_bindgen::{self, prelude::wasm_bindgen};

    #[wasm_bindgen(inline_js = r#"
        let isSet = false;
        export function follow_no_redirects() {
            if (isSet) return;
            const follow = globalThis.fetch;
            globalThis.fetch = (input, init) => follow(input, { ...init, redirect: "manual" });
            isSet = true;
        }
    "#)]
    extern "C" {
        pub(super) fn follow_no_redirects();
    }
}

/// Outside of Workers the client itself is told, by [`aos::integrations::http_client`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn follow_none() {}
