//! Secrets by reference: they reach the target and nothing that is kept.

use serde_json::json;

use crate::world::World;

const SECRET: &str = "hush-3f9a-not-for-tables";

#[tokio::test]
async fn a_secret_is_sent_and_stands_in_no_table_and_in_no_output() {
    let world = World::start().await;
    world.keep_secret("shop_token", SECRET).await;
    let run = world
        .create(json!([
            {"id": "call", "skill": "http_call", "params": {
                "method": "POST", "url": format!("{}/echo", world.standins.url()), "json": {"x": 1},
                "headers": {"Authorization": "Bearer {{secrets.shop_token}}", "X-Who": "us"}}},
        ]))
        .await;
    world.drain_until_ended(run).await;
    let output = world.output(run, "call").await;
    // The target echoes what it was sent: it has had the secret, and the output has not.
    assert_eq!(output["body"]["headers"]["authorization"], "[redacted]");
    assert_eq!(world.status(run).await, "succeeded");

    let tables = world
        .admin
        .query(
            "select table_name::text from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() >= 10);
    for table in tables {
        let table: String = table.get(0);
        let sql = format!("select count(*) from {table} t where t::text like '%{SECRET}%'");
        assert_eq!(world.one(&sql).await.as_deref(), Some("0"), "{table}");
    }
}

#[tokio::test]
async fn a_secret_that_was_deleted_meanwhile_fails_the_step_and_nothing_is_sent() {
    let world = World::start().await;
    world.keep_secret("gone", SECRET).await;
    let run = world
        .create(json!([{"id": "call", "skill": "http_call", "params": {
            "method": "POST", "url": format!("{}/effects/deleted", world.standins.url()),
            "headers": {"Authorization": "{{secrets.gone}}"}}}]))
        .await;
    world.sql("delete from sealed_values").await;
    world.drain_until_ended(run).await;
    let steps = world.steps(run).await;
    assert!(steps[0].ends_with("reference_failed"), "{steps:?}");
    assert_eq!(world.effects("deleted"), 0);
}
