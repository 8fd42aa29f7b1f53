//! How often who may call.

use aos_tests::{Call, Client, Person, Reply, World};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{STAGE, now, who};

/// Sends a request `times` at once and gives how many of the answers had each of these statuses.
async fn burst<const N: usize>(times: usize, statuses: [u16; N], call: impl Fn() -> Call) -> [usize; N] {
    let replies: Vec<Reply> = join_all((0..times).map(|_| call().send())).await;
    let counted = statuses.map(|status| replies.iter().filter(|reply| reply.status == status).count());
    assert_eq!(
        counted.iter().sum::<usize>(),
        times,
        "other statuses than {statuses:?}: {}",
        replies[0]
    );
    counted
}

fn number(reply: &Reply, name: &str) -> i64 {
    let value = reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply}"));
    value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))
}

/// Waits for the next minute if this one is nearly over: the window slides, and gives room again at its edge.
async fn within_a_minute() {
    let left = 60 - now().rem_euclid(60);
    if left <= 12 {
        tokio::time::sleep(std::time::Duration::from_secs(left.unsigned_abs() + 1)).await;
    }
}

/// The tenant's id, as the operator finds it by its name.
async fn tenant_id(operator: &Client, name: &str) -> String {
    let mut path = "/v1/tenants?limit=100".to_owned();
    loop {
        let page = operator.get(&path).await.expect(200);
        let found = page["items"]
            .as_array()
            .and_then(|items| items.iter().find(|tenant| tenant["name"] == name));
        if let Some(id) = found.and_then(|tenant| tenant["id"].as_str()) {
            return id.to_owned();
        }
        let cursor = page["next_cursor"]
            .as_str()
            .unwrap_or_else(|| panic!("no tenant {name}"));
        path = format!("/v1/tenants?limit=100&cursor={cursor}");
    }
}

async fn patch(world: &World, person: &Person, body: Value) -> Value {
    let operator = world.client();
    let id = tenant_id(&operator, person.tenant()).await;
    operator
        .call("PATCH", &format!("/v1/tenants/{id}"))
        .json(&body)
        .send()
        .await
        .expect(200)
}

#[test]
fn a_tenant_has_as_many_requests_a_minute_as_its_tier_and_no_other_tenant_notices() {
    STAGE.alone(async |world| {
        within_a_minute().await;
        let (person, neighbour) = (world.person("admin"), world.person("admin"));
        let (token, neighbours) = (world.mint(person.spec()), world.mint(neighbour.spec()));
        let first = who(&person.client).bearer(&token).send().await;
        assert_eq!(
            (number(&first, "ratelimit-limit"), number(&first, "ratelimit-remaining")),
            (60, 59),
            "{first}"
        );
        assert!((1..=60).contains(&number(&first, "ratelimit-reset")), "{first}");
        assert_eq!(
            burst(59, [200, 429], || who(&person.client).bearer(&token)).await,
            [59, 0]
        );

        let refused = who(&person.client).bearer(&token).send().await;
        assert_eq!(
            (
                number(&refused, "ratelimit-limit"),
                number(&refused, "ratelimit-remaining")
            ),
            (60, 0),
            "{refused}"
        );
        assert!((1..=120).contains(&number(&refused, "retry-after")), "{refused}");
        assert_eq!(
            number(&refused, "retry-after"),
            number(&refused, "ratelimit-reset"),
            "{refused}"
        );
        refused.refused(429, "rate_limited");
        // Every credential of the tenant counts to the same limit, and a refused change changes nothing.
        let colleague = person.colleague(world, "member");
        let create = colleague.with(&world.mint(colleague.spec()), "POST", "/v1/agents");
        create
            .json(&json!({"name": "over", "allowed_skills": []}))
            .send()
            .await
            .refused(429, "rate_limited");
        let agents = format!(
            "select count(*) from agents a join tenants t on t.id = a.tenant_id where t.external_id = '{}'",
            person.tenant()
        );
        assert_eq!(world.owner.number(&agents).await, 0);

        let other = who(&neighbour.client).bearer(&neighbours).send().await;
        assert_eq!(number(&other, "ratelimit-remaining"), 59, "{other}");
        // The operator is bound by no tenant's limit: it must be able to act.
        let operator = world.client_of(world.worker(), person.tenant());
        let reply = operator.call("GET", "/v1/agents").send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("ratelimit-limit")),
            (200, None),
            "{reply}"
        );

        let tenant = patch(world, &person, json!({"tier": "dev"})).await;
        assert_eq!(tenant["tier"], "dev", "{tenant:#}");
        let reply = who(&person.client).bearer(&token).send().await;
        assert_eq!(number(&reply, "ratelimit-limit"), 300, "{reply}");
        assert!((200..=240).contains(&number(&reply, "ratelimit-remaining")), "{reply}");
        reply.expect(200);
        patch(world, &person, json!({"requests_per_minute": 5})).await;
        let reply = who(&person.client).bearer(&token).send().await;
        assert_eq!(number(&reply, "ratelimit-limit"), 5, "{reply}");
        reply.refused(429, "rate_limited");
    });
}

#[test]
fn a_key_with_a_limit_of_its_own_uses_up_no_more_than_that() {
    STAGE.alone(async |world| {
        within_a_minute().await;
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let created = person
            .api_key(&token, &["identity:read"], json!({"requests_per_minute": 3}))
            .await;
        let key = created["key"].as_str().expect("the key is shown");
        assert_eq!(burst(10, [200, 429], || who(&person.client).api_key(key)).await, [3, 7]);
        let reply = who(&person.client).api_key(key).send().await;
        assert_eq!(number(&reply, "ratelimit-limit"), 3, "{reply}");
        // What was refused was counted nowhere: the tenant has all but the three and the key's making.
        let reply = who(&person.client).bearer(&token).send().await;
        assert_eq!(number(&reply, "ratelimit-remaining"), 60 - 3 - 1 - 1, "{reply}");
    });
}

#[test]
fn strangers_are_limited_by_where_they_come_from() {
    STAGE.alone(async |world| {
        within_a_minute().await;
        let client = world.client();
        let from = |address: &str| client.plain("GET", "/v1/session").from(address);
        assert_eq!(burst(30, [401, 429], || from("203.0.113.7")).await, [30, 0]);
        let refused = from("203.0.113.7").send().await;
        assert_eq!(number(&refused, "ratelimit-limit"), 30, "{refused}");
        assert!(number(&refused, "retry-after") >= 1, "{refused}");
        refused.refused(429, "rate_limited");
        // Whatever it shows next, as long as it is wrong.
        from("203.0.113.7")
            .api_key("aos_x")
            .send()
            .await
            .refused(429, "rate_limited");
        from("203.0.113.8").send().await.refused(401, "unauthenticated");
        // Who has one address of a network of IPv6 has them all.
        let sixes: Vec<String> = (0..31).map(|n| format!("2001:db8:1:2:{n:x}::1")).collect();
        for address in &sixes[..30] {
            from(address).send().await.refused(401, "unauthenticated");
        }
        from(&sixes[30]).send().await.refused(429, "rate_limited");
        from("2001:db8:1:3::1").send().await.refused(401, "unauthenticated");
        // Somebody behind the same address who is known is not held up.
        let person = world.person("member");
        from("203.0.113.7")
            .bearer(&world.mint(person.spec()))
            .send()
            .await
            .expect(200);
    });
}
