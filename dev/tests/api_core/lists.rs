//! Lists: paging, filters, cursors.

use std::collections::BTreeSet;
use std::time::Duration;

use aos::ids::RunId;
use aos::{agents, runs};
use serde_json::json;

use crate::world::{Test, agent_of, places, small_plan, test};

async fn all_runs(test: &Test, filters: &str, limit: usize) -> Vec<RunId> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("limit={limit}{filters}{cursor}");
        let (page, requests) = test
            .requests(runs::list::list(&test.database, &test.principal, Some(&query)))
            .await;
        assert_eq!(requests, ["runs.list"]);
        let page = page.unwrap();
        assert!(page.items.len() == limit || page.next_cursor.is_none());
        seen.extend(page.items.iter().map(|run| run.id));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[test]
fn two_hundred_and_fifty_runs_are_paged_once_each_newest_first() {
    test("list-runs", async |test| {
        let new = |name: &str| json!({"name": name, "allowed_skills": ["json_transform"], "max_concurrent_runs": 1000});
        let one = agent_of(&test.create_agent_with(None, new("one")).await.unwrap());
        let two = agent_of(&test.create_agent_with(None, new("two")).await.unwrap());
        let mut created = Vec::new();
        for number in 0..250_u32 {
            let agent = if number % 5 == 0 { &two } else { &one };
            created.push(test.run(agent.id, small_plan()).await);
            test.clock.advance(Duration::from_millis(1));
        }
        for run in created.iter().take(30) {
            test.succeed(*run, &json!(1)).await;
        }
        created.reverse();
        assert_eq!(all_runs(test, "", 100).await, created);
        assert_eq!(all_runs(test, "", 7).await, created);
        assert_eq!(all_runs(test, "&status=succeeded", 10).await, created[220..]);
        let of_two = all_runs(test, &format!("&agent_id={}", two.id), 50).await;
        assert_eq!(of_two.len(), 50);
        assert!(of_two.iter().all(|run| created.contains(run)));
        assert_eq!(
            all_runs(test, &format!("&agent_id={}&status=succeeded", two.id), 100)
                .await
                .len(),
            6
        );
        assert!(all_runs(test, "&status=failed", 100).await.is_empty());

        let first = runs::list::list(&test.database, &test.principal, None).await.unwrap();
        assert_eq!(first.items.len(), 20);
        assert_eq!(first.items[0].steps.total, 1);
        // What comes in between moves nothing.
        let newer = test.run(one.id, small_plan()).await;
        let next = format!("cursor={}", first.next_cursor.unwrap());
        let second = runs::list::list(&test.database, &test.principal, Some(&next))
            .await
            .unwrap();
        let ids: Vec<RunId> = second.items.iter().map(|run| run.id).collect();
        assert_eq!(ids, created[20..40]);
        assert!(!ids.contains(&newer));
    });
}

#[test]
fn agents_are_paged_without_the_deleted_ones() {
    test("list-agents", async |test| {
        let mut expected = BTreeSet::new();
        for number in 0..25 {
            let agent = test.agent(&format!("agent-{number}")).await;
            if number % 5 == 0 {
                agents::delete(&test.database, &test.principal, agent.id).await.unwrap();
            } else {
                expected.insert(agent.id);
            }
        }
        let (first, requests) = test
            .requests(agents::list(&test.database, &test.principal, Some("limit=15")))
            .await;
        assert_eq!(requests, ["agents.list"]);
        let first = first.unwrap();
        let rest = format!("limit=15&cursor={}", first.next_cursor.unwrap());
        let rest = agents::list(&test.database, &test.principal, Some(&rest))
            .await
            .unwrap();
        assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (15, 5, None));
        let seen: BTreeSet<_> = first.items.iter().chain(&rest.items).map(|agent| agent.id).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_bad_query_is_refused_by_name_before_the_database_is_asked() {
    test("list-bad", async |test| {
        let agent = test.agent("a").await;
        for _ in 0..3 {
            test.run(agent.id, small_plan()).await;
        }
        let page = runs::list::list(&test.database, &test.principal, Some("limit=1"))
            .await
            .unwrap();
        let cursor = page.next_cursor.unwrap();
        for (query, place) in [
            ("limit=101".to_owned(), "?limit out_of_range"),
            ("status=done".to_owned(), "?status invalid_format"),
            (
                "agent_id=run_018f0000000070008000000000000001".to_owned(),
                "?agent_id invalid_format",
            ),
            ("cursor=x".to_owned(), "?cursor invalid_cursor"),
            (format!("cursor={cursor}&status=queued"), "?cursor invalid_cursor"),
            (format!("cursor={}", &cursor[1..]), "?cursor invalid_cursor"),
            ("page=2".to_owned(), "?page unknown_parameter"),
            ("status=queued&status=failed".to_owned(), "?status duplicate"),
        ] {
            let (refused, requests) = test
                .requests(runs::list::list(&test.database, &test.principal, Some(&query)))
                .await;
            assert_eq!(places(&refused.unwrap_err()), [place], "{query}");
            assert!(requests.is_empty());
        }
        let elsewhere = format!("cursor={cursor}");
        let refused = agents::list(&test.database, &test.principal, Some(&elsewhere))
            .await
            .unwrap_err();
        assert_eq!(places(&refused), ["?cursor invalid_cursor"]);
    });
}
