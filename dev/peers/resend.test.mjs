// The vendor's own client against the stand-in of Resend: mails must be sent once, keys must hold, and each documented
// error must come out of the client under its name.
// Run by dev/tests/mail_standins.rs, with the address and the keys in the environment.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { afterEach, test } from "node:test";

import { Resend } from "resend";

const baseUrl = process.env.RESEND_BASE_URL;
const resend = new Resend(process.env.RESEND_API_KEY, { baseUrl });

const control = (path, method, body) => fetch(`${baseUrl}${path}`, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
const sent = async () => (await control("/_sent", "GET")).json();
const script = async (...steps) => assert.equal((await control("/_script", "POST", steps)).status, 204);

afterEach(() => control("/_script", "DELETE"));

let number = 0;
const nobody = () => `somebody-${(number += 1)}@example.com`;
const mail = (more = {}) => ({ from: "AOS <aos@example.com>", to: nobody(), subject: "hello", text: "hi", ...more });

test("a mail with everything is sent, and read back", async () => {
  const to = nobody();
  const { data, error } = await resend.emails.send(
    mail({
      to: [to],
      cc: "copy@example.com",
      bcc: ["blind@example.com"],
      replyTo: "reply@example.com",
      html: "<p>hi</p>",
      headers: { "X-Entity-Ref-ID": "1" },
      tags: [{ name: "kind", value: "test-1" }],
      attachments: [{ filename: "a.txt", content: Buffer.from("content") }],
    }),
  );
  assert.equal(error, null);
  assert.match(data.id, /^[0-9a-f-]{36}$/);
  const read = await resend.emails.get(data.id);
  assert.equal(read.error, null);
  assert.equal(read.data.object, "email");
  assert.deepEqual(
    [read.data.to, read.data.cc, read.data.bcc, read.data.reply_to],
    [[to], ["copy@example.com"], ["blind@example.com"], ["reply@example.com"]],
  );
  assert.equal(read.data.last_event, "delivered");
  assert.ok(!Number.isNaN(Date.parse(read.data.created_at)));
  const all = await sent();
  assert.equal(all.by_recipient[to], 1);
  assert.equal(all.mails.at(-1).attachments[0].bytes, 7);
});

test("the same key and mail are answered with the first id, and nothing more is sent", async () => {
  const key = `a/${randomUUID()}`;
  const once = mail();
  const first = await resend.emails.send(once, { idempotencyKey: key });
  const second = await resend.emails.send(once, { idempotencyKey: key });
  assert.equal(first.error ?? second.error, null);
  assert.equal(second.data.id, first.data.id);
  const all = await sent();
  assert.deepEqual([all.by_key[key], all.by_recipient[once.to]], [1, 1]);
  const other = await resend.emails.send({ ...once, subject: "other" }, { idempotencyKey: key });
  assert.deepEqual([other.error.statusCode, other.error.name], [409, "invalid_idempotent_request"]);
  await resend.emails.send(once);
  assert.equal((await sent()).by_recipient[once.to], 2, "without a key it is another mail");
});

test("a key whose first request is in flight is a conflict", async () => {
  const key = randomUUID();
  const once = mail();
  await control("/_time", "POST", { ms: 400 });
  const answers = await Promise.all([1, 2, 3].map(() => resend.emails.send(once, { idempotencyKey: key })));
  await control("/_time", "POST", { ms: 0 });
  const names = answers.map(({ error }) => error?.name ?? "sent").toSorted();
  assert.deepEqual(names, ["concurrent_idempotent_requests", "concurrent_idempotent_requests", "sent"]);
  assert.equal((await resend.emails.send(once, { idempotencyKey: key })).error, null);
  assert.equal((await sent()).by_key[key], 1);
});

test("a mail that was refused frees its key", async () => {
  const key = randomUUID();
  const refused = await resend.emails.send(mail({ to: "nobody" }), { idempotencyKey: key });
  assert.deepEqual([refused.error.statusCode, refused.error.name], [422, "validation_error"]);
  assert.equal((await resend.emails.send(mail(), { idempotencyKey: key })).error, null);
});

test("a key has 1 to 256 characters", async () => {
  const long = await resend.emails.send(mail(), { idempotencyKey: "x".repeat(257) });
  assert.deepEqual([long.error.statusCode, long.error.name], [400, "invalid_idempotency_key"]);
  assert.equal((await resend.emails.send(mail(), { idempotencyKey: "y".repeat(256) })).error, null);
});

test("what is wrong with a mail comes by its documented name", async () => {
  const many = Array.from({ length: 51 }, nobody);
  const before = (await sent()).count;
  for (const [wrong, status, name] of [
    [{ to: [] }, 422, "missing_required_field"],
    [{ from: undefined }, 422, "missing_required_field"],
    [{ from: "nobody" }, 422, "invalid_from_address"],
    [{ subject: undefined }, 422, "missing_required_field"],
    [{ text: undefined }, 422, "missing_required_field"],
    [{ to: many }, 422, "validation_error"],
    [{ tags: [{ name: "a b", value: "c" }] }, 422, "validation_error"],
    [{ attachments: [{ filename: "a.txt" }] }, 422, "invalid_attachment"],
    [{ attachments: [{ path: "a.txt" }] }, 422, "invalid_parameter"],
    [{ from: "onboarding@resend.dev" }, 403, "validation_error"],
  ]) {
    const { data, error } = await resend.emails.send(mail(wrong));
    assert.equal(data, null);
    assert.deepEqual([error.statusCode, error.name], [status, name], JSON.stringify(wrong));
  }
  assert.equal((await sent()).count, before);
});

test("keys open what they are for", async () => {
  const wrong = await new Resend("re_wrong", { baseUrl }).emails.send(mail());
  assert.deepEqual([wrong.error.statusCode, wrong.error.name], [403, "invalid_api_key"]);
  const sending = new Resend(process.env.RESEND_SENDING_KEY, { baseUrl });
  const { data } = await sending.emails.send(mail());
  const read = await sending.emails.get(data.id);
  assert.deepEqual([read.error.statusCode, read.error.name], [401, "restricted_api_key"]);
  const none = await control("/emails", "POST", mail());
  assert.deepEqual([none.status, (await none.json()).name], [401, "missing_api_key"]);
});

test("a mail that is not there is not found", async () => {
  const unknown = await resend.emails.get(randomUUID());
  assert.deepEqual([unknown.error.statusCode, unknown.error.name], [404, "not_found"]);
  const malformed = await resend.emails.get("purple");
  assert.deepEqual([malformed.error.statusCode, malformed.error.name], [422, "invalid_parameter"]);
});

test("a batch is sent whole, or in part where that is allowed", async () => {
  const before = (await sent()).count;
  const all = await resend.batch.send([mail(), mail()]);
  assert.equal(all.data.data.length, 2);
  const strict = await resend.batch.send([mail(), mail({ to: "nobody" })]);
  assert.equal(strict.error.name, "validation_error");
  const permissive = await resend.batch.send([mail(), mail({ to: "nobody" })], { batchValidation: "permissive" });
  assert.deepEqual([permissive.data.data.length, permissive.data.errors[0].index], [1, 1]);
  const many = await resend.batch.send(Array.from({ length: 101 }, () => mail()));
  assert.equal(many.error.statusCode, 422);
  assert.equal((await sent()).count, before + 3);
});

for (const [scripted, status, name = scripted] of [
  ["invalid_idempotency_key", 400],
  ["validation_error", 400],
  ["missing_api_key", 401],
  ["restricted_api_key", 401],
  ["validation_error_401", 401, "validation_error"],
  ["invalid_api_key", 403],
  ["validation_error_403", 403, "validation_error"],
  ["not_found", 404],
  ["method_not_allowed", 405],
  ["invalid_idempotent_request", 409],
  ["concurrent_idempotent_requests", 409],
  ["missing_required_field", 422],
  ["invalid_parameter", 422],
  ["invalid_attachment", 422],
  ["validation_error_422", 422, "validation_error"],
  ["rate_limit_exceeded", 429],
  ["daily_quota_exceeded", 429],
  ["monthly_quota_exceeded", 429],
  ["application_error", 500],
  ["internal_server_error", 500],
]) {
  test(`${scripted} reaches the client as ${status}, and sends nothing`, async () => {
    const before = (await sent()).count;
    await script({ error: scripted });
    const { error, headers } = await resend.emails.send(mail());
    assert.deepEqual([error.statusCode, error.name], [status, name]);
    assert.ok(error.message.length > 0);
    assert.equal(headers["retry-after"], name === "rate_limit_exceeded" ? "1" : undefined);
    assert.equal((await sent()).count, before);
  });
}

test("an answer that is lost leaves a mail that was sent, and its key says so", async () => {
  const key = randomUUID();
  const once = mail();
  await script({ fault: "drop_after" });
  const lost = await resend.emails.send(once, { idempotencyKey: key });
  assert.equal(lost.error.name, "application_error");
  assert.equal((await sent()).by_key[key], 1);
  assert.equal((await resend.emails.send(once, { idempotencyKey: key })).error, null);
  assert.equal((await sent()).by_key[key], 1);
});
