//! The document as a whole: what stands at every route is added here, once.

use aos::{
    auth::{MAX_TENANT_CHARS, Permission},
    problem::Problem,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        extensions::ExtensionsBuilder,
        header::HeaderBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        schema::{ObjectBuilder, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::router::ROUTES;

/// Names of components.
const API_KEY: &str = "apiKey";
const BEARER: &str = "bearer";
const MACHINE: &str = "machineToken";
const COOKIE: &str = "sessionCookie";
const TENANT: &str = "Tenant";
const REQUEST_ID: &str = "RequestId";

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
        crate::skills::list, crate::skills::read, crate::calendar::read,
        crate::sessions::current, crate::sessions::public_config, crate::sessions::list, crate::sessions::revoke,
        crate::api_keys::create, crate::api_keys::list, crate::api_keys::read, crate::api_keys::revoke,
        crate::api_keys::rotate,
        crate::secrets::put, crate::secrets::list, crate::secrets::read, crate::secrets::delete,
        crate::settings::read, crate::settings::put,
        crate::rights::matrix, crate::rights::audit,
        crate::tenants::list, crate::tenants::read, crate::tenants::patch, crate::tenants::erase,
        crate::operations::healthz, crate::operations::readyz, crate::operations::version, crate::operations::openapi,
    ),
    components(schemas(Problem)),
    tags(
        (name = "agents", description = "Named workers: what they are told, which skills they may use, their limits"),
        (name = "runs", description = "Plans being carried out"),
        (name = "skills", description = "What agents can do"),
        (name = "identity", description = "Who is calling, and who may do what"),
        (name = "api-keys", description = "A tenant's own keys"),
        (name = "secrets", description = "What a tenant hands over in confidence, and its own settings"),
        (name = "tenants", description = "The owners of data, for the operator"),
        (name = "operations", description = "Is it alive, is it ready, what is it"),
    ),
    modifiers(&Everywhere),
)]
struct Document;

/// A problem that a whole group of routes can answer with.
struct Common {
    status: u16,
    name: &'static str,
    description: &'static str,
    applies: fn(&str, &Operation) -> bool,
}

const COMMON: [Common; 12] = [
    Common {
        status: 400,
        name: "BadRequest",
        description: "`invalid_json`; `incomplete_body`; `invalid_path`; `several_credentials`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 401,
        name: "Unauthenticated",
        description: "`unauthenticated`; `token_expired`; `session_revoked`; `api_key_expired`; `api_key_revoked`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 403,
        name: "Forbidden",
        description: "`forbidden`: the caller lacks the permission `x-aos-permission`; `origin_not_allowed`; \
            `tenant_not_selectable`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 404,
        name: "NotFound",
        description: "`not_found`; what belongs to another tenant is not found either",
        applies: |path, _| path.contains('{'),
    },
    Common {
        status: 405,
        name: "MethodNotAllowed",
        description: "`method_not_allowed`; see the header `Allow`",
        applies: |_, _| true,
    },
    Common {
        status: 410,
        name: "Gone",
        description: "`tenant_erased`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 413,
        name: "BodyTooLarge",
        description: "`body_too_large`: over 1 MiB",
        applies: |_, operation| operation.request_body.is_some(),
    },
    Common {
        status: 415,
        name: "UnsupportedMediaType",
        description: "`unsupported_media_type`",
        applies: |_, operation| operation.request_body.is_some(),
    },
    Common {
        status: 422,
        name: "Invalid",
        description: "`invalid_request`: `errors` points at every place",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 429,
        name: "TooManyRequests",
        description: "`rate_limited`; see the header `Retry-After`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 500,
        name: "Internal",
        description: "`internal`",
        applies: |path, _| is_closed(path),
    },
    Common {
        status: 503,
        name: "Unavailable",
        description: "`unavailable`; `misconfigured`",
        applies: |path, _| path != "/healthz",
    },
];

/// What the table of routes says of those under this path.
fn is_closed(path: &str) -> bool {
    ROUTES.iter().any(|(_, route, needs)| *route == path && needs.is_some())
}

struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, scheme) in credentials() {
            components.add_security_scheme(name, scheme);
        }
        components.parameters.insert(TENANT.to_owned(), RefOr::T(tenant()));
        let request_id = HeaderBuilder::new().description(Some("The id of the request")).build();
        components.headers.insert(REQUEST_ID.to_owned(), RefOr::T(request_id));
        for common in &COMMON {
            components
                .responses
                .insert(common.name.to_owned(), RefOr::T(problem(common.description)));
        }
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if let Some(permission) = permission(method, path) {
                    let extension = ExtensionsBuilder::new()
                        .add("x-aos-permission", permission.as_str())
                        .build();
                    operation.extensions.get_or_insert_default().merge(extension);
                }
                everywhere(path, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("put", &mut item.put),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What a caller of a closed route must be allowed to do.
fn permission(method: &str, path: &str) -> Option<Permission> {
    ROUTES
        .iter()
        .find(|(known, route, _)| *known == method && *route == path)?
        .2
}

/// The credentials, of which a request carries exactly one.
fn credentials() -> [(&'static str, SecurityScheme); 4] {
    let header =
        |name: &str, what: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, what)));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A session token of Clerk's, or a service token signed with `JWT_SECRET`",
        ))
        .build();
    let cookie = ApiKeyValue::with_description("__session", "A session token of Clerk's, in a browser");
    [
        (
            API_KEY,
            header("X-API-Key", "A tenant's own key (`aos_…`), or the operator's"),
        ),
        (BEARER, SecurityScheme::Http(bearer)),
        (MACHINE, header("X-Machine-Token", "The secret of machines")),
        (COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
    ]
}

fn everywhere(path: &str, operation: &mut Operation) {
    if is_closed(path) {
        let any_of =
            [API_KEY, BEARER, MACHINE, COOKIE].map(|name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []));
        operation.security = Some(any_of.to_vec());
        let tenant = RefOr::Ref(Ref::new(format!("#/components/parameters/{TENANT}")));
        operation.parameters.get_or_insert_default().push(tenant);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            with_request_id(response);
        }
    }
    for common in &COMMON {
        if (common.applies)(path, operation) {
            let responses = &mut operation.responses.responses;
            let response = || RefOr::Ref(Ref::from_response_name(common.name));
            responses.entry(common.status.to_string()).or_insert_with(response);
        }
    }
}

fn tenant() -> Parameter {
    ParameterBuilder::new()
        .name("X-AOS-Tenant")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "The tenant that the operator or a machine acts for; nobody else may name one",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .max_length(Some(MAX_TENANT_CHARS)),
        ))
        .build()
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build();
    with_request_id(&mut response);
    response
}

fn with_request_id(response: &mut Response) {
    let id = Ref::new(format!("#/components/headers/{REQUEST_ID}"));
    response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(id));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let text = document.to_string();
        let mut references = text
            .split("\"$ref\":\"#")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        assert!(references.all(|reference| document.pointer(reference).is_some()));
    }

    /// The codes in a description: what stands between backticks, one after the other.
    fn codes(description: &str) -> impl Iterator<Item = &str> {
        let quoted = description.split('`').skip(1).step_by(2);
        quoted.filter(|word| *word != "errors" && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()))
    }

    #[test]
    fn every_code_of_the_description_is_explained() {
        let explained = include_str!("../../../docs/problems.md");
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let routes = document["paths"].as_object().unwrap().values();
        let operations = routes.flat_map(|route| route.as_object().unwrap().values());
        let own = operations.flat_map(|operation| operation["responses"].as_object().unwrap().iter());
        let common = document["components"]["responses"].as_object().unwrap();
        let refused = own
            .filter(|(status, _)| status.as_str() >= "400")
            .chain(common)
            .map(|(_, response)| response);
        let described: BTreeSet<&str> = refused
            .filter_map(|response| response["description"].as_str())
            .flat_map(codes)
            .collect();
        assert!(described.len() > 15, "{described:?}");
        for code in described {
            assert!(explained.contains(&format!("<a id=\"{code}\"></a>`{code}`")), "{code}");
        }
    }

    #[test]
    fn the_committed_description_is_what_the_code_says() {
        let committed = include_str!("../../../openapi.json");
        assert!(
            committed == openapi_json(),
            "openapi.json is out of date: write it anew with `cargo xtask openapi`"
        );
    }
}
