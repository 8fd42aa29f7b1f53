// The vendor's own client against the stand-in of Slack's incoming webhooks: messages must be posted, and each
// documented error must come out of the client with its status and text.
// Run by dev/tests/mail_standins.rs, with the addresses in the environment.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { ErrorCode, IncomingWebhook } from "@slack/webhook";

const url = process.env.SLACK_WEBHOOK_URL;
const base = process.env.SLACK_BASE_URL;
const webhook = new IncomingWebhook(url);

const posted = async () => (await fetch(`${base}/_posted`)).json();

async function script(...steps) {
  const answer = await fetch(`${base}/_script`, { method: "POST", body: JSON.stringify(steps) });
  assert.equal(answer.status, 204, await answer.text());
}

afterEach(() => fetch(`${base}/_script`, { method: "DELETE" }));

async function refusal(message, at = webhook) {
  try {
    await at.send(message);
  } catch (error) {
    assert.equal(error.code, ErrorCode.HTTPError, String(error));
    return [error.statusCode, error.body];
  }
  assert.fail("it was not refused");
}

const section = (text) => ({ type: "section", text: { type: "mrkdwn", text } });
const header = (text) => ({ type: "header", text: { type: "plain_text", text } });

test("texts and blocks are posted, and answered ok", async () => {
  const before = (await posted()).count;
  assert.deepEqual(await webhook.send("hello"), { text: "ok" });
  const blocks = [header("h".repeat(150)), section("s".repeat(3000)), { type: "divider" }];
  assert.deepEqual(await webhook.send({ text: "more", blocks, unfurl_links: false }), { text: "ok" });
  const all = await posted();
  assert.equal(all.count, before + 2);
  assert.deepEqual(all.messages.at(-2), { webhook: "default", payload: { text: "hello" } });
  assert.deepEqual(all.messages.at(-1).payload.blocks, blocks);
});

test("what Slack would not post is refused in plain text", async () => {
  const before = (await posted()).count;
  for (const [message, answer] of [
    ["", [400, "no_text"]],
    [{ blocks: [section("s".repeat(3001))] }, [400, "invalid_blocks"]],
    [{ blocks: [header("h".repeat(151))] }, [400, "invalid_blocks"]],
    [{ blocks: Array(51).fill(section("s")) }, [400, "invalid_blocks"]],
    [{ blocks: [{ type: "purple" }] }, [400, "invalid_blocks"]],
    [{ text: 1 }, [400, "invalid_payload"]],
  ]) {
    assert.deepEqual(await refusal(message), answer);
  }
  const broken = await fetch(url, { method: "POST", body: "{" });
  assert.deepEqual([broken.status, await broken.text()], [400, "invalid_payload"]);
  assert.equal((await posted()).count, before);
});

test("an address that is wrong says where", async () => {
  const parts = url.split("/");
  const other = (index) => new IncomingWebhook(parts.with(index, "X0").join("/"));
  assert.deepEqual(await refusal("hello", other(-3)), [404, "no_team"]);
  assert.deepEqual(await refusal("hello", other(-2)), [404, "no_service"]);
  assert.deepEqual(await refusal("hello", other(-1)), [403, "invalid_token"]);
});

for (const [name, status] of [
  ["invalid_payload", 400],
  ["user_not_found", 400],
  ["invalid_blocks", 400],
  ["no_text", 400],
  ["action_prohibited", 403],
  ["invalid_token", 403],
  ["channel_not_found", 404],
  ["no_service", 404],
  ["no_team", 404],
  ["channel_is_archived", 410],
  ["rate_limited", 429],
  ["rollup_error", 500],
]) {
  test(`${name} reaches the client as ${status}, and posts nothing`, async () => {
    const before = (await posted()).count;
    await script({ error: name });
    assert.deepEqual(await refusal("hello"), [status, name]);
    assert.equal((await posted()).count, before);
  });
}

test("a limit of rate says when to come again", async () => {
  await script({ error: "rate_limited", retry_after: "30" }, { error: "rate_limited" });
  const after = [];
  for (let turn = 0; turn < 2; turn += 1) {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify({ text: "hello" }) });
    after.push(answer.headers.get("retry-after"));
  }
  assert.deepEqual(after, ["30", "1"]);
});

test("another webhook posts under its own name", async () => {
  await new IncomingWebhook(process.env.SLACK_MISMATCH_WEBHOOK).send("a mismatch");
  assert.equal((await posted()).messages.at(-1).webhook, "mismatch");
});

test("what was received shows no secret", async () => {
  await webhook.send("hello");
  const received = await (await fetch(`${base}/_received`)).text();
  assert.ok(received.includes("hello") && !received.includes(url.split("/").at(-1)));
});
