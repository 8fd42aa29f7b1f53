// The vendor's own client against the gateway: what it sends must be understood, what it gets must be decoded.
// Run by dev/tests/neon_gateway.rs, with NEON_HTTP_ENDPOINT and DATABASE_URL set.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NeonDbError, neon, neonConfig } from "@neondatabase/serverless";

neonConfig.fetchEndpoint = () => process.env.NEON_HTTP_ENDPOINT;
const url = process.env.DATABASE_URL;
const sql = neon(url);

const table = async (name, columns) => {
  await sql.query(`drop table if exists ${name}`);
  await sql.query(`create table ${name} (${columns})`);
};

test("a tagged template sends its values as parameters", async () => {
  const name = "O'Brien; drop table x --";
  const rows = await sql`select ${name}::text as name, ${41}::int + 1 as n, ${null}::text as nothing`;
  assert.deepEqual(rows, [{ name, n: 42, nothing: null }]);
});

test("fragments compose and keep their parameters apart", async () => {
  const where = sql`n > ${1} and n < ${4}`;
  const rows = await sql`select n from generate_series(0, 9) as n where ${where} order by n`;
  assert.deepEqual(rows, [{ n: 2 }, { n: 3 }]);
});

test("results take the client's types", async () => {
  const [row] = await sql`select 1::int2 as small, 9007199254740993::int8 as big, 0.1::float8 as f, 'NaN'::float8 as nan,
    1.50::numeric as exact, true as yes, '{"a":[1,null]}'::jsonb as j, array[1,null,3] as ints,
    array['a','b "c"', ''] as texts, '{}'::int[] as none, '\\x00ff'::bytea as bytes,
    '2024-01-02T03:04:05.678Z'::timestamptz as at, null as nothing`;
  assert.deepEqual(row, {
    small: 1,
    big: "9007199254740993",
    f: 0.1,
    nan: NaN,
    exact: "1.50",
    yes: true,
    j: { a: [1, null] },
    ints: [1, null, 3],
    texts: ["a", 'b "c"', ""],
    none: [],
    bytes: Buffer.from([0, 255]),
    at: new Date("2024-01-02T03:04:05.678Z"),
    nothing: null,
  });
});

test("parameters of every kind arrive", async () => {
  const at = new Date("2024-05-06T07:08:09.010Z");
  const params = [7, 1.25, "grüße\n\t🚀", true, { k: ["v", null] }, [1, 2, 3], ["x", 'y"z'], at, null, 12345678901234567890n];
  const [row] = await sql.query(
    `select $1::int as i, $2::float8 as f, $3::text as t, $4::bool as b, $5::jsonb as j, $6::int[] as ints,
      $7::text[] as texts, $8::timestamptz as at, $9::int as nothing, $10::numeric as big`,
    params,
  );
  assert.deepEqual(row, {
    i: 7,
    f: 1.25,
    t: "grüße\n\t🚀",
    b: true,
    j: { k: ["v", null] },
    ints: [1, 2, 3],
    texts: ["x", 'y"z'],
    at,
    nothing: null,
    big: "12345678901234567890",
  });
});

test("rows can be arrays", async () => {
  const rows = await sql.query("select 1 as a, 'x' as a union all select 2, 'y' order by 1", [], { arrayMode: true });
  assert.deepEqual(rows, [[1, "x"], [2, "y"]]);
});

test("full results tell fields, command and count", async () => {
  await table("peer_full", "id int primary key, name varchar(20)");
  const full = neon(url, { fullResults: true });
  const inserted = await full`insert into peer_full values (1, 'a'), (2, 'b') returning id, name`;
  assert.equal(inserted.command, "INSERT");
  assert.equal(inserted.rowCount, 2);
  assert.equal(inserted.rowAsArray, false);
  assert.deepEqual(inserted.rows, [{ id: 1, name: "a" }, { id: 2, name: "b" }]);
  const [id, name] = inserted.fields;
  assert.deepEqual(
    [id.name, id.dataTypeID, id.columnID, id.dataTypeSize, id.dataTypeModifier, id.format],
    ["id", 23, 1, 4, -1, "text"],
  );
  assert.deepEqual([name.dataTypeID, name.columnID, name.dataTypeSize, name.dataTypeModifier], [1043, 2, -1, 24]);
  assert.ok(id.tableID > 0 && id.tableID === name.tableID);
  assert.equal((await full`create index on peer_full (name)`).rowCount, null);
});

test("types can be left as raw text", async () => {
  const types = { getTypeParser: () => (text) => text };
  const query = `select 5 as n, true as b, '{"a": 1}'::jsonb as j, array[1,2] as l, null as nothing`;
  const rows = await sql.query(query, [], { types });
  assert.deepEqual(rows, [{ n: "5", b: "t", j: '{"a": 1}', l: "{1,2}", nothing: null }]);
});

test("a transaction is all or nothing", async () => {
  await table("peer_tx", "n int primary key");
  const results = await sql.transaction([sql`insert into peer_tx values (1)`, sql`select n from peer_tx`]);
  assert.deepEqual(results, [[], [{ n: 1 }]]);
  await assert.rejects(
    sql.transaction((tx) => [tx`insert into peer_tx values (2)`, tx`insert into peer_tx values (1)`]),
    { name: "NeonDbError", code: "23505" },
  );
  assert.deepEqual(await sql`select n from peer_tx`, [{ n: 1 }]);
  assert.deepEqual(await sql.transaction([]), []);
});

test("a transaction runs in the mode it asks for", async () => {
  const modes = () => sql`select current_setting('transaction_isolation') as isolation,
    current_setting('transaction_read_only') as read_only, current_setting('transaction_deferrable') as deferrable`;
  for (const [isolationLevel, isolation] of [
    ["ReadUncommitted", "read uncommitted"],
    ["ReadCommitted", "read committed"],
    ["RepeatableRead", "repeatable read"],
    ["Serializable", "serializable"],
  ]) {
    const [[row]] = await sql.transaction([modes()], { isolationLevel });
    assert.deepEqual(row, { isolation, read_only: "off", deferrable: "off" });
  }
  const options = { isolationLevel: "Serializable", readOnly: true, deferrable: true };
  const [[row]] = await sql.transaction([modes()], options);
  assert.deepEqual(row, { isolation: "serializable", read_only: "on", deferrable: "on" });
  await assert.rejects(sql.transaction([sql`create table peer_never ()`], { readOnly: true }), { code: "25006" });
});

test("a transaction takes array mode and full results for all its queries", async () => {
  const options = { arrayMode: true, fullResults: true };
  const [first, second] = await sql.transaction([sql`select 1 as n`, sql`select 'x' as t, 2 as n`], options);
  assert.deepEqual([first.rows, second.rows], [[[1]], [["x", 2]]]);
  assert.deepEqual([first.rowAsArray, second.command], [true, "SELECT"]);
});

test("an error of the database has its fields", async () => {
  await table("peer_error", "n int constraint peer_positive check (n > 0)");
  const error = await sql`insert into peer_error values (-1)`.catch((error) => error);
  assert.ok(error instanceof NeonDbError);
  assert.equal(error.message, 'new row for relation "peer_error" violates check constraint "peer_positive"');
  const { code, severity, detail, schema, table: name, constraint, routine } = error;
  assert.deepEqual(
    { code, severity, detail, schema, name, constraint, routine },
    {
      code: "23514",
      severity: "ERROR",
      detail: "Failing row contains (-1).",
      schema: "public",
      name: "peer_error",
      constraint: "peer_positive",
      routine: "ExecConstraints",
    },
  );
  const syntax = await sql`selec 1`.catch((error) => error);
  assert.deepEqual([syntax.code, syntax.position], ["42601", "1"]);
});

test("a refused login is a database error without code", async () => {
  const wrong = new URL(url);
  wrong.password = "wrong";
  const error = await neon(wrong.href)`select 1`.catch((error) => error);
  assert.ok(error instanceof NeonDbError);
  assert.match(error.message, /password authentication failed/);
  assert.equal(error.code, "");
});

test("an answer that is too large is an HTTP error", async () => {
  const error = await sql`select repeat('x', 6000000) as v from generate_series(1, 3)`.catch((error) => error);
  assert.match(error.message, /507/);
});
