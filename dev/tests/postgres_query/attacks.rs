//! Queries that try to do more than read. Whatever comes of each, nothing has changed afterwards.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::world::{self, Bench, World, connect};

/// Everything that an attack could have changed.
const STATE: &str = "
select jsonb_build_object(
    'items', (select jsonb_agg(to_jsonb(i) order by i.id) from items i),
    'relations', (select jsonb_agg(jsonb_build_array(c.oid, c.relname, c.relkind, c.relacl, c.relowner) order by c.oid)
                  from pg_class c where c.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)),
    'functions', (select jsonb_agg(p.proname order by p.oid) from pg_proc p where p.pronamespace = 'public'::regnamespace),
    'schemas', (select jsonb_agg(n.nspname order by n.oid) from pg_namespace n where n.nspname !~ '^pg_(toast_)?temp'),
    'types', (select count(*) from pg_type),
    'roles', (select jsonb_agg(to_jsonb(r) order by r.oid) from pg_authid r),
    'members', (select jsonb_agg(to_jsonb(m)) from pg_auth_members m),
    'role settings', (select jsonb_agg(to_jsonb(s)) from pg_db_role_setting s),
    'databases', (select jsonb_agg(jsonb_build_array(d.datname, d.datacl) order by d.oid) from pg_database d),
    'settings', (select jsonb_object_agg(s.name, s.setting) from pg_settings s
                 where s.context in ('postmaster', 'sighup')),
    'large objects', (select jsonb_agg(to_jsonb(l)) from pg_largeobject l),
    'large object owners', (select jsonb_agg(to_jsonb(l)) from pg_largeobject_metadata l),
    'sequence', (select jsonb_build_array(s.last_value, s.is_called) from items_id_seq s),
    'advisory locks', (select count(*) from pg_locks where locktype = 'advisory'),
    'locks on items', (select count(*) from pg_locks where relation = 'items'::regclass and mode <> 'AccessShareLock'),
    'prepared', (select count(*) from pg_prepared_xacts),
    'slots', (select count(*) from pg_replication_slots),
    'comments', (select count(*) from pg_description),
    'extensions', (select count(*) from pg_extension)
)";
/// What the next query of the same login finds.
const SESSION: &str = "
select current_user::text as who, session_user::text as login, current_setting('search_path') as path,
       current_setting('statement_timeout') as timeout, current_setting('transaction_read_only') as read_only,
       current_setting('default_transaction_read_only') as default_read_only, current_setting('TimeZone') as zone,
       current_setting('work_mem') as memory, nullif(current_setting('aos.smuggled', true), '') as smuggled,
       (select count(*) from pg_cursors) as cursors, (select count(*) from pg_prepared_statements) as statements";

const REJECTED: &str = "query_rejected";
const DENIED: &str = "permission_denied";
const TIMEOUT: &str = "query_timeout";
const TOO_LARGE: &str = "output_too_large";

/// Attacks look at all of the server: one test of them at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Who watches the server while it is attacked.
struct Watch {
    superuser: Client,
    heard: tokio::sync::mpsc::UnboundedReceiver<AsyncMessage>,
    before: Value,
}

impl Watch {
    async fn begin(world: &World) -> Self {
        let (superuser, mut connection) = tokio_postgres::connect(&world.superuser, NoTls).await.unwrap();
        let (sender, heard) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    let _ = sender.send(message);
                }
            }
        });
        superuser.batch_execute("listen attack").await.unwrap();
        let before = state(&superuser).await;
        Self {
            superuser,
            heard,
            before,
        }
    }

    /// Nothing changed and nothing was heard.
    async fn assert_nothing_changed(&mut self, attack: &str) {
        let after = state(&self.superuser).await;
        for (what, value) in self.before.as_object().unwrap() {
            assert_eq!(value, &after[what], "{what} changed by {attack}");
        }
        assert!(self.heard.try_recv().is_err(), "a notice was sent by {attack}");
    }
}

async fn state(client: &Client) -> Value {
    let text: String = client
        .query_one(&format!("select ({STATE})::text"), &[])
        .await
        .unwrap()
        .get(0);
    serde_json::from_str(&text).unwrap()
}

/// Runs attacks one after the other: each ends as it should, nothing changes, and the next query finds a clean session.
async fn endure(world: &World, bench: &Bench, attacks: &[(&str, &str)]) {
    let mut watch = Watch::begin(world).await;
    let clean = bench.output(json!({"sql": SESSION})).await;
    assert_eq!(clean["rows"][0]["read_only"], "on");
    let mut surprises = Vec::new();
    for (sql, expected) in attacks {
        let begun = Instant::now();
        let (code, said) = bench.code(json!({"sql": sql, "max_rows": 5})).await;
        if code != *expected {
            surprises.push(format!("{sql:.200}: {code}, not {expected}: {said:.300}"));
        }
        assert!(
            begun.elapsed() < bench.timeout + Duration::from_secs(2),
            "{sql} took too long"
        );
        watch.assert_nothing_changed(sql).await;
        assert_eq!(bench.output(json!({"sql": SESSION})).await, clean, "{sql}");
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

fn alone(work: impl AsyncFnOnce(&World)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = world::shared();
    world.block_on(work(&world));
}

#[test]
fn what_is_no_query_is_refused() {
    alone(async |world| {
        let bench = world.bench(&world.owner).await;
        let attacks = [
            "delete from items",
            "insert into items (name, price_cents) values ('x', 1)",
            "update items set price_cents = 0",
            "merge into items using (values (1)) v (id) on items.id = v.id when matched then delete",
            "truncate items",
            "drop table items",
            "create table mine (a int)",
            "create temporary table mine (a int)",
            "create table mine as select * from items",
            "select * into mine from items",
            "select * into temporary mine from items",
            "create role mine superuser",
            "alter role shop_owner superuser",
            "alter table items rename to gone",
            "grant all on items to public",
            "comment on table items is 'mine'",
            "copy items to stdout",
            "copy items from stdin",
            "copy (select 1) to program 'touch /tmp/x'",
            "do $$ begin delete from items; end $$",
            "call insert_by_procedure()",
            "begin",
            "commit",
            "rollback",
            "end; delete from items",
            "savepoint a",
            "set transaction read write",
            "set role postgres",
            "set session authorization postgres",
            "set work_mem = '1GB'",
            "reset all",
            "discard all",
            "explain analyze delete from items",
            "explain select 1",
            "show all",
            "listen attack",
            "notify attack",
            "prepare mine as delete from items",
            "execute mine",
            "deallocate all",
            "declare mine cursor with hold for select 1",
            "fetch all from aos_query",
            "move all in aos_query",
            "close aos_query",
            "lock table items",
            "vacuum items",
            "analyze items",
            "checkpoint",
            "refresh materialized view dear_items",
            "cluster items",
            "load 'auto_explain'",
            "create extension plpgsql",
            "prepare transaction 'mine'",
        ];
        endure(world, &bench, &attacks.map(|sql| (sql, REJECTED))).await;
        for sql in ["explain select 1", "show all"] {
            let (_, said) = bench.code(json!({ "sql": sql })).await;
            assert!(said.contains("a query is one SELECT, VALUES, TABLE or WITH"), "{said}");
        }
    });
}

#[test]
fn a_query_cannot_be_followed_by_anything_nor_swallow_what_follows() {
    alone(async |world| {
        let bench = world.bench(&world.owner).await;
        let attacks = [
            ("select 1; delete from items", REJECTED),
            ("select 1; commit; delete from items; begin", REJECTED),
            ("select 1;\n-- \ndelete from items", REJECTED),
            ("select 1) q; delete from items; --", REJECTED),
            ("select 1); delete from items; --", REJECTED),
            ("; delete from items", REJECTED),
            ("select 1 \\; delete from items", REJECTED),
            ("select 1\\gexec", REJECTED),
            ("with hold for select 1", REJECTED),
            ("for select 1", REJECTED),
            ("select 1 with hold", REJECTED),
            ("select 'unterminated", REJECTED),
            ("select E'\\'; delete from items", REJECTED),
            ("select \"unterminated", REJECTED),
            ("select $$unterminated", REJECTED),
            ("select $a$ ; delete from items $b$", REJECTED),
            ("select 1 /* unterminated", REJECTED),
            ("select 1 /* nested /* */ delete from items", REJECTED),
            ("/* a /* b */ c */ delete from items", REJECTED),
            ("-- select 1", REJECTED),
            ("/* select 1 */", REJECTED),
            ("--\rdelete from items", REJECTED),
            ("select U&'\\0000'", REJECTED),
            ("select 1 union all delete from items returning id", REJECTED),
            // Another alphabet's semicolon is a letter of a name, not an end.
            ("select 1 as \u{ff1b}delete", "ok"),
            ("select '; delete from items; --' as text", "ok"),
            ("select $$'; delete from items; --$$ as text", "ok"),
            ("select 1 -- ; delete from items", "ok"),
            ("select 1 /* ; delete from items; */", "ok"),
            ("select 1;", "ok"),
            ("(select 1)", "ok"),
            ("values (1), (2)", "ok"),
            ("table items", "ok"),
            ("with a as (select 1) select * from a", "ok"),
        ];
        endure(world, &bench, &attacks).await;
    });
}

#[test]
fn a_query_that_would_write_is_refused_or_undone() {
    alone(async |world| {
        let bench = world.bench(&world.owner).await;
        let attacks = [
            (
                "with gone as (delete from items returning *) select * from gone",
                REJECTED,
            ),
            (
                "with a as (select 1), b as (insert into items (name, price_cents) values ('x', 1) returning 1) table b",
                REJECTED,
            ),
            ("select * from items for update", REJECTED),
            ("select * from items for key share", REJECTED),
            ("select insert_quietly()", REJECTED),
            ("select insert_as_superuser()", REJECTED),
            ("select insert_in_a_subtransaction()", "ok"),
            ("select commit_quietly()", REJECTED),
            (
                "select * from items where name = (select insert_quietly()::text)",
                REJECTED,
            ),
            ("select nextval('items_id_seq')", REJECTED),
            ("select setval('items_id_seq', 1)", REJECTED),
            ("select query_to_xml('delete from items', true, true, '')", REJECTED),
            (
                "select query_to_xml('set transaction read write', true, true, '')",
                REJECTED,
            ),
            (
                "select query_to_xml('select insert_quietly()', true, true, '')",
                REJECTED,
            ),
            ("select cursor_to_xml('aos_query', 1, true, true, '')", REJECTED),
            ("select * from ts_stat('delete from items')", REJECTED),
            // PostgreSQL 15 lets these write in a read-only transaction; from 16 on it refuses. Either way nothing stays.
            (
                "select lo_create(0) is null or set_config('transaction_read_only', 'off', true) = ''",
                REJECTED,
            ),
            ("select pg_notify('attack', 'x')", "ok"),
            (
                "select pg_advisory_lock(1), pg_advisory_lock_shared(2), pg_try_advisory_xact_lock(3)",
                "ok",
            ),
            ("select txid_current()", "ok"),
            ("select pg_export_snapshot()", "ok"),
        ];
        endure(world, &bench, &attacks).await;
        let mut watch = Watch::begin(world).await;
        for sql in [
            "select lo_create(0)",
            "select lo_from_bytea(0, 'smuggled')",
            "select lo_unlink(424242)",
            "select lo_put(424242, 0, 'gone')",
            "select lowrite(lo_open(424242, 131072), 'gone')",
            "select lo_truncate(lo_open(424242, 131072), 0)",
        ] {
            bench.run(json!({ "sql": sql })).await;
            watch.assert_nothing_changed(sql).await;
        }
    });
}

#[test]
fn a_query_changes_no_setting_and_no_role_for_the_next() {
    alone(async |world| {
        let bench = world.bench(&world.owner).await;
        let attacks = [
            ("select set_config('transaction_read_only', 'off', true)", REJECTED),
            (
                "select set_config('transaction_read_only', 'off', false), insert_quietly()",
                REJECTED,
            ),
            (
                "select set_config('transaction_isolation', 'serializable', true)",
                REJECTED,
            ),
            ("select set_config('default_transaction_read_only', 'off', false)", "ok"),
            ("select set_config('statement_timeout', '0', false)", "ok"),
            ("select set_config('search_path', 'pg_temp', false)", "ok"),
            (
                "select set_config('work_mem', '1GB', false), set_config('TimeZone', 'Asia/Tokyo', false)",
                "ok",
            ),
            ("select set_config('aos.smuggled', 'x', false)", "ok"),
            // What comes then is not UTF-8, which no answer can hold.
            (
                "select set_config('client_encoding', 'LATIN1', false), chr(252)",
                "network",
            ),
            ("select set_config('role', 'pg_read_all_data', false)", "ok"),
            ("select set_config('role', 'postgres', false)", DENIED),
            ("select set_config('session_authorization', 'postgres', false)", DENIED),
            (
                "select set_config('session_replication_role', 'replica', false)",
                DENIED,
            ),
            ("select set_config('log_statement', 'all', false)", DENIED),
            ("select unbind_quietly(1)", "ok"),
            // What was planned unbound is fetched bound.
            ("select unbind_quietly(1), pg_sleep(60)", TIMEOUT),
            (
                "select set_config('statement_timeout', '0', false), pg_sleep(60)",
                TIMEOUT,
            ),
        ];
        let bench = bench.within(Duration::from_secs(1));
        endure(world, &bench, &attacks).await;
    });
}

#[test]
fn a_query_sees_no_secret_of_the_server() {
    alone(async |world| {
        let bench = world.bench(&world.reader).await;
        let attacks = [
            ("select * from pg_authid", DENIED),
            ("select * from pg_shadow", DENIED),
            ("select * from pg_user_mapping", DENIED),
            ("select * from private_notes", DENIED),
            ("select pg_read_file('postgresql.conf')", DENIED),
            ("select pg_read_binary_file('pg_hba.conf')", DENIED),
            ("select * from pg_ls_dir('.')", DENIED),
            ("select * from pg_stat_file('postgresql.conf')", DENIED),
            ("select * from pg_ls_waldir()", DENIED),
            ("select * from pg_hba_file_rules", DENIED),
            ("select current_setting('data_directory')", DENIED),
            ("select current_setting('hba_file')", DENIED),
            ("select lo_import('/etc/passwd')", DENIED),
            ("select lo_export(424242, '/tmp/x')", DENIED),
            ("select lo_get(424242)", DENIED),
            ("select pg_reload_conf()", DENIED),
            ("select pg_rotate_logfile()", DENIED),
            ("select pg_switch_wal()", DENIED),
            ("select pg_stat_reset()", DENIED),
            ("select pg_create_physical_replication_slot('mine')", DENIED),
            ("select pg_create_logical_replication_slot('mine', 'pgoutput')", DENIED),
            (
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'",
                DENIED,
            ),
            ("select insert_quietly()", REJECTED),
            ("select insert_as_superuser()", REJECTED),
            ("select * from items for update", REJECTED),
        ];
        endure(world, &bench, &attacks).await;
    });
}

#[test]
fn a_query_that_never_ends_or_grows_without_end_is_given_up() {
    alone(async |world| {
        let bench = world.bench(&world.reader).await.within(Duration::from_secs(1));
        let endless = "with recursive t (n) as (select 1::numeric union all select n + 1 from t)";
        let attacks = [
            ("select pg_sleep(3600)".to_owned(), TIMEOUT),
            ("select pg_sleep(3600) from items".to_owned(), TIMEOUT),
            (format!("{endless} select count(*) from t"), TIMEOUT),
            (format!("{endless} select n from t"), "ok"),
            (
                "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b".to_owned(),
                TIMEOUT,
            ),
            (
                "select repeat('a', 100000) ~ ('(' || repeat('a*', 2000) || ')*b')".to_owned(),
                REJECTED,
            ),
            ("select repeat('x', 1073741824)".to_owned(), REJECTED),
            ("select repeat('x', 13000000)".to_owned(), TOO_LARGE),
            ("select repeat('x', 3000000) from items".to_owned(), TOO_LARGE),
            (
                format!("select {}1{}", "(".repeat(30_000), ")".repeat(30_000)),
                REJECTED,
            ),
            (
                "select pg_cancel_backend(pg_backend_pid()), pg_sleep(1)".to_owned(),
                TIMEOUT,
            ),
        ];
        let attacks: Vec<_> = attacks.iter().map(|(sql, code)| (sql.as_str(), *code)).collect();
        endure(world, &bench, &attacks).await;
    });
}

#[test]
fn a_table_that_somebody_else_holds_is_not_waited_for_for_ever() {
    alone(async |world| {
        let bench = world.bench(&world.reader).await;
        let other = connect(&world.superuser).await;
        other.batch_execute("begin; lock table held").await.unwrap();
        let (code, said) = bench.code(json!({"sql": "select * from held"})).await;
        assert_eq!(code, "provider_unavailable", "{said}");
        other.batch_execute("rollback").await.unwrap();
        bench.output(json!({"sql": "select * from held"})).await;
    });
}

/// What no transaction undoes, and the reader's role cannot do: why docs/providers/postgres_query.md asks for such a role.
#[test]
fn what_a_powerful_login_can_still_do_is_known() {
    alone(async |world| {
        let bench = world.bench(&world.owner).await;
        let superuser = connect(&world.superuser).await;
        let slot = json!({"sql": "select pg_create_physical_replication_slot('smuggled')"});
        assert_eq!(bench.code(slot).await.0, "ok");
        superuser
            .batch_execute("select pg_drop_replication_slot('smuggled')")
            .await
            .unwrap();
        let other = connect(&world.owner).await;
        let end = json!({"sql": "select pg_terminate_backend(pid) from pg_stat_activity \
                                 where usename = 'shop_owner' and pid <> pg_backend_pid()"});
        assert_eq!(bench.code(end).await.0, "ok");
        assert!(other.query("select 1", &[]).await.is_err());
        let itself = json!({"sql": "select pg_terminate_backend(pg_backend_pid())"});
        assert_eq!(bench.code(itself).await.0, "network");
    });
}
