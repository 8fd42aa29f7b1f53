//! The document as a whole: what stands at every route is added here, once.

use aos::problem::Problem;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        header::HeaderBuilder,
        path::{Operation, ParameterBuilder, ParameterIn, PathItem},
        schema::{ObjectBuilder, Type},
        security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    },
};

/// The name of the security scheme.
const API_KEY: &str = "apiKey";

/// The committed `openapi.json`: pretty, in a stable order, with a line end.
pub fn openapi_json() -> String {
    let mut text = serde_json::to_string_pretty(&Document::openapi()).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AOS",
        description = "An operating system for AI agents at the edge: agents, runs, and what became of them.\n\n\
            Errors are problems (RFC 9457) with a stable `code`; docs/problems.md lists them. Unknown fields are refused.",
    ),
    paths(
        crate::agents::create, crate::agents::list, crate::agents::read, crate::agents::patch, crate::agents::delete,
        crate::runs::create, crate::runs::list, crate::runs::read, crate::runs::steps, crate::runs::step,
        crate::runs::history, crate::runs::cancel,
        crate::skills::list, crate::skills::read,
        crate::operations::healthz, crate::operations::readyz, crate::operations::version, crate::operations::openapi,
    ),
    components(schemas(Problem)),
    tags(
        (name = "agents", description = "Named workers: what they are told, which skills they may use, their limits"),
        (name = "runs", description = "Plans being carried out"),
        (name = "skills", description = "What agents can do"),
        (name = "operations", description = "Is it alive, is it ready, what is it"),
    ),
    modifiers(&Everywhere),
)]
struct Document;

/// A problem that whole groups of routes can answer with.
struct Common {
    status: &'static str,
    description: &'static str,
    applies: fn(&str, &Operation) -> bool,
}

const COMMON: [Common; 9] = [
    Common {
        status: "400",
        description: "`invalid_json`; `incomplete_body`; `invalid_path`; `several_credentials`",
        applies: |path, _| is_closed(path),
    },
    Common { status: "401", description: "`unauthenticated`", applies: |path, _| is_closed(path) },
    Common {
        status: "404",
        description: "`not_found`; what belongs to another tenant is not found either",
        applies: |path, _| path.contains('{'),
    },
    Common { status: "405", description: "`method_not_allowed`; see the header `Allow`", applies: |_, _| true },
    Common { status: "413", description: "`body_too_large`: over 1 MiB", applies: |_, it| it.request_body.is_some() },
    Common { status: "415", description: "`unsupported_media_type`", applies: |_, it| it.request_body.is_some() },
    Common {
        status: "422",
        description: "`invalid_request`: `errors` points at every place",
        applies: |path, _| is_closed(path),
    },
    Common { status: "500", description: "`internal`", applies: |path, _| is_closed(path) },
    Common { status: "503", description: "`unavailable`; `misconfigured`", applies: |path, _| path != "/healthz" },
];

fn is_closed(path: &str) -> bool {
    path.starts_with("/v1/")
}

struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = document.components.as_mut() {
            let key = ApiKeyValue::with_description("X-API-Key", "The operator's key");
            components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
        }
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                everywhere(path, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn everywhere(path: &str, operation: &mut Operation) {
    if is_closed(path) {
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(API_KEY, [])]);
        let tenant = ParameterBuilder::new()
            .name("X-AOS-Tenant")
            .parameter_in(ParameterIn::Header)
            .description(Some("The tenant that the operator acts for; its own without it"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(128))))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(tenant));
    }
    for common in &COMMON {
        if (common.applies)(path, operation) {
            let responses = &mut operation.responses.responses;
            responses.entry(common.status.to_owned()).or_insert_with(|| RefOr::T(problem(common.description)));
        }
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let id = HeaderBuilder::new().description(Some("The id of the request")).build();
            response.headers.insert("X-Request-Id".to_owned(), RefOr::T(id));
        }
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_is_what_the_code_says() {
        let committed = include_str!("../../../openapi.json");
        assert!(committed == openapi_json(), "openapi.json is out of date: write it anew with `cargo xtask openapi`");
    }
}
