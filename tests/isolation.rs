//! The two walls between tenants and between roles, at every operation of the description: a new one is covered when it
//! is described, or the test says what it lacks.

use aos_dev::paths::repository;
use aos_tests::{Call, Client, Person, Stage, TokenSpec, World, chain, hs256};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// What may be asked without a credential. Everything else says which permission it needs.
const OPEN: [&str; 6] = [
    "/healthz",
    "/openapi.json",
    "/readyz",
    "/v1/calendar/{id}",
    "/v1/public-config",
    "/version",
];

/// One operation of the description.
struct Operation {
    method: String,
    path: String,
    permission: Option<String>,
}

fn operations() -> Vec<Operation> {
    let file = std::fs::read_to_string(repository().join("openapi.json")).expect("the description is there");
    let document: Value = serde_json::from_str(&file).expect("the description is JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("the description has paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            found.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                permission: operation["x-aos-permission"].as_str().map(str::to_owned),
            });
        }
    }
    assert!(found.len() >= 30, "{} operations", found.len());
    found
}

/// The ids of one thing of each kind.
struct Things {
    agent: String,
    run: String,
    api_key: String,
    session: String,
    tenant: String,
}

impl Things {
    /// Of the right form, and nobody's.
    fn nobodys() -> Self {
        let id = |prefix: &str| format!("{prefix}_018f0000000070008000000000000001");
        Self {
            agent: id("agt"),
            run: id("run"),
            api_key: id("key"),
            session: "sess_nobody".to_owned(),
            tenant: id("ten"),
        }
    }

    /// One of each, of somebody's.
    async fn of(world: &World, person: &Person, token: &str, session: &str) -> Self {
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let agent = json!({"name": "victims", "allowed_skills": ["json_transform"]});
        let agent = person
            .with(token, "POST", "/v1/agents")
            .json(&agent)
            .send()
            .await
            .expect(201);
        let run = json!({"agent_id": agent["id"], "plan": {"steps": chain(2)}, "labels": {"of": "victims"}});
        let run = person
            .with(token, "POST", "/v1/runs")
            .json(&run)
            .send()
            .await
            .expect(202);
        let path = format!("/v1/runs/{}?wait=20", text(&run["id"]));
        let ended = person.with(token, "GET", &path).send().await.expect(200);
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        let api_key = person.api_key(token, &["runs:read"], json!({"name": "victims"})).await;
        person
            .with(token, "PUT", "/v1/secrets/victims")
            .json(&json!({"value": "nobody else's"}))
            .send()
            .await
            .expect(200);
        let tenant = format!("select id::text from tenants where external_id = '{}'", person.tenant());
        Self {
            agent: text(&agent["id"]),
            run: text(&run["id"]),
            api_key: text(&api_key["id"]),
            session: session.to_owned(),
            tenant: format!("ten_{}", world.owner.value(&tenant).await.replace('-', "")),
        }
    }

    /// A path with its parameters filled in.
    fn fill(&self, path: &str) -> String {
        let id = match path.split('/').nth(2).unwrap_or_default() {
            "agents" => &self.agent,
            "runs" => &self.run,
            "api-keys" => &self.api_key,
            "sessions" => &self.session,
            "tenants" => &self.tenant,
            "calendar" => "stp_018f0000000070008000000000000001",
            other => {
                assert!(!path.contains("{id}"), "say here what an id under /v1/{other} is");
                ""
            }
        };
        let filled = path
            .replace("{id}", id)
            .replace("{key}", "s0")
            .replace("{name}", "http_call");
        assert!(
            !filled.contains('{'),
            "say here what stands for the parameters of {path}"
        );
        filled
    }

    fn ids(&self) -> [&str; 5] {
        [&self.agent, &self.run, &self.api_key, &self.session, &self.tenant]
    }
}

/// A request that would do something if it were let.
fn effective(call: Call, method: &str, path: &str) -> Call {
    match (method, path) {
        ("PATCH", "/v1/agents/{id}") => call.json(&json!({"name": "taken over"})),
        ("PATCH", "/v1/tenants/{id}") => call.json(&json!({"tier": "enterprise"})),
        ("POST", "/v1/api-keys/{id}/rotate") => call.json(&json!({"overlap_s": 0})),
        ("GET" | "DELETE", _) | ("POST", "/v1/runs/{id}/cancel" | "/v1/sessions/{id}/revoke") => call,
        (method, path) => panic!("say here what {method} {path} needs to do something"),
    }
}

/// A hash over every row of a tenant in every table.
async fn fingerprint(world: &World, tenant: &str) -> String {
    let tables = world
        .owner
        .column("select table_name from information_schema.columns where table_schema = 'public' and column_name = 'tenant_id' order by 1")
        .await;
    assert!(tables.len() >= 8, "{tables:?}");
    let own = format!("(select id from tenants where external_id = '{tenant}')");
    let rows = |table: &String| format!("select '{table}' || t::text as line from {table} t where tenant_id = {own}");
    let mut all: Vec<String> = tables.iter().map(rows).collect();
    all.push(format!(
        "select 'tenants' || t::text from tenants t where external_id = '{tenant}'"
    ));
    let sql = format!(
        "select count(*) || ' rows ' || md5(string_agg(line, '\n' order by line)) from ({}) as l",
        all.join(" union all ")
    );
    world.owner.value(&sql).await
}

#[test]
fn every_operation_that_is_not_open_says_which_permission_it_needs() {
    let (mut open, mut closed) = (Vec::new(), 0);
    for operation in operations() {
        match operation.permission {
            None => open.push(operation.path),
            Some(_) => closed += 1,
        }
    }
    open.sort();
    assert_eq!(open, OPEN);
    assert!(closed >= 25, "{closed}");
}

#[test]
fn another_tenants_ids_are_found_by_nobody_and_nothing_of_theirs_changes() {
    STAGE.alone(async |world| {
        let victim = world.person("admin");
        let session = format!("sess_victim{}", world.number());
        let token = world.mint(victim.spec().in_session(session.as_str()));
        let things = Things::of(world, &victim, &token, &session).await;
        let intruder = world.person("admin");
        let intruders = world.mint(intruder.spec());
        let key_scopes = [
            "agents:write",
            "agents:read",
            "runs:read",
            "runs:cancel",
            "api_keys:read",
            "api_keys:manage",
        ];
        let key = intruder.api_key(&intruders, &key_scopes, json!({})).await;
        let key = key["key"].as_str().expect("the key is shown");
        let operator = world.client();
        world.settle_down().await;
        let before = fingerprint(world, victim.tenant()).await;
        assert!(
            before.starts_with(|first: char| first.is_ascii_digit()) && !before.starts_with("1 "),
            "{before}"
        );

        let mut tried = 0;
        for Operation { method, path, .. } in operations().iter().filter(|operation| operation.path.contains("{id}")) {
            let filled = things.fill(path);
            let send = async |call: Call| effective(call, method, path).send().await;
            let by_session = send(intruder.with(&intruders, method, &filled)).await;
            let by_key = send(intruder.client.stranger(method, &filled).api_key(key)).await;
            if path.starts_with("/v1/tenants") {
                by_session.refused(403, "forbidden");
                by_key.refused(403, "forbidden");
            } else if path.starts_with("/v1/calendar") {
                // Open, but for a link that nobody here has.
                by_session.refused(403, "link_invalid");
                by_key.refused(403, "link_invalid");
            } else if path.starts_with("/v1/sessions") {
                by_session.refused(404, "not_found");
                by_key.refused(403, "forbidden");
            } else {
                by_session.refused(404, "not_found");
                by_key.refused(404, "not_found");
                // Nor does the operator reach into a tenant that it does not name.
                send(operator.call(method, &filled)).await.refused(404, "not_found");
            }
            tried += 1;
        }
        assert!(tried >= 15, "{tried} operations");
        // Ids in bodies and queries are ids all the same.
        let body = json!({"agent_id": things.agent, "plan": {"steps": chain(1)}});
        let run = intruder.with(&intruders, "POST", "/v1/runs").json(&body).send().await;
        run.points_at(&["/agent_id not_found"]);
        let filtered = intruder
            .with(&intruders, "GET", &format!("/v1/runs?agent_id={}", things.agent))
            .send()
            .await;
        assert_eq!(filtered.expect(200)["items"], json!([]));

        world.settle_down().await;
        assert_eq!(
            fingerprint(world, victim.tenant()).await,
            before,
            "something of the victim's has changed"
        );
        victim.with(&token, "GET", "/v1/session").send().await.expect(200);
    });
}

#[test]
fn lists_show_nothing_of_another_tenant() {
    STAGE.alone(async |world| {
        let victim = world.person("admin");
        let session = format!("sess_listed{}", world.number());
        let token = world.mint(victim.spec().in_session(session.as_str()));
        let things = Things::of(world, &victim, &token, &session).await;
        let intruder = world.person("admin");
        let intruders = world.mint(intruder.spec());
        let mut shown = 0;
        for Operation { path, permission, .. } in operations().iter().filter(|operation| operation.method == "GET") {
            if path.contains('{')
                || permission
                    .as_deref()
                    .is_none_or(|permission| permission.starts_with("tenants:"))
            {
                continue;
            }
            let theirs = victim.with(&token, "GET", path).send().await;
            let reply = intruder.with(&intruders, "GET", path).send().await;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            let mut words = things.ids().to_vec();
            words.extend(["victims", victim.tenant(), victim.user.as_str()]);
            assert!(
                words.iter().all(|word| !text.contains(&format!("\"{word}\""))),
                "{reply}"
            );
            let own = String::from_utf8_lossy(&theirs.body).into_owned();
            shown += usize::from(words.iter().any(|word| own.contains(word)));
            reply.expect(200);
        }
        // The test would notice: the victim does see itself.
        assert!(shown >= 5, "{shown} lists");
    });
}

/// Who has exactly this role, in a tenant of their own: what shows it on a request.
async fn holder(world: &World, role: &str, client: &Client) -> impl Fn(Call) -> Call + use<> {
    let number = world.number();
    let (name, credential) = match role {
        "owner" => (
            "bearer",
            world.mint(TokenSpec::of(format!("user_{number}")).lasting(600)),
        ),
        "admin" => ("bearer", world.mint(world.person("admin").spec())),
        "operator" => ("key", client.key().to_owned()),
        role => {
            let expires = world
                .owner
                .number("select extract(epoch from now())::bigint + 600")
                .await;
            let claims =
                json!({"iss": "aos", "sub": "s", "tenant": format!("role-{number}"), "roles": [role], "exp": expires});
            (
                "bearer",
                hs256(
                    world.setting("JWT_SECRET").as_bytes(),
                    &json!({"alg": "HS256"}),
                    &claims,
                ),
            )
        }
    };
    move |call: Call| {
        if name == "key" {
            call.api_key(&credential)
        } else {
            call.bearer(&credential)
        }
    }
}

#[test]
fn every_role_may_do_what_the_matrix_grants_it_and_nothing_else() {
    STAGE.together(async |world| {
        let client = world.client();
        let matrix = client.get("/v1/rbac/matrix").await.expect(200);
        let roles = matrix["roles"].as_array().expect("the matrix has roles");
        assert_eq!(roles.len(), 7, "{matrix:#}");
        let (things, operations) = (Things::nobodys(), operations());
        let (mut granted, mut refused, mut wrong) = (0, 0, Vec::new());
        for row in roles {
            let role = row["role"].as_str().expect("a role has a name");
            let show = holder(world, role, &client).await;
            let identity = show(client.stranger("GET", "/v1/session")).send().await.expect(200);
            assert_eq!(identity["roles"], json!([role]), "{identity:#}");
            assert_eq!(identity["permissions"], row["permissions"], "{role}");
            for Operation {
                method,
                path,
                permission,
            } in &operations
            {
                let Some(permission) = permission else { continue };
                let may = row["permissions"]
                    .as_array()
                    .is_some_and(|words| words.iter().any(|word| word == permission));
                let reply = show(client.stranger(method, &things.fill(path))).send().await;
                let status = reply.status.as_u16();
                let as_told = match may {
                    true => !matches!(status, 401 | 403 | 429) && status < 500,
                    false => reply.is_problem(403, "forbidden", &[]).is_ok(),
                };
                if !as_told {
                    wrong.push(format!("{role} (may: {may}): {reply}"));
                }
                *(if may { &mut granted } else { &mut refused }) += 1;
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(granted >= 80 && refused >= 40, "{granted} granted, {refused} refused");
    });
}

#[test]
fn every_test_that_the_table_of_threats_names_is_there() {
    let table = std::fs::read_to_string(repository().join("docs/security.md")).expect("the table is there");
    let (mut files, mut tests, mut missing) = (0, 0, Vec::new());
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let Some(named) = row.trim_end_matches('|').rsplit('|').next() else {
            continue;
        };
        let mut sources = String::new();
        for word in named.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") && word.contains('/') {
                match std::fs::read_to_string(repository().join(word)) {
                    Ok(source) => sources.push_str(&source),
                    Err(_) => missing.push(word.to_owned()),
                }
                files += 1;
            } else if word.matches('_').count() >= 2 {
                if !sources.contains(&format!("fn {word}(")) {
                    missing.push(word.to_owned());
                }
                tests += 1;
            }
        }
    }
    assert!(missing.is_empty(), "not where the table says: {missing:#?}");
    assert!(files >= 40 && tests >= 40, "{files} files, {tests} tests");
}
