// The reference library of Standard Webhooks against our receivers: what it signs must be taken, what it would refuse
// must be refused. Run by dev/tests/mail_standins.rs, with the address of the receivers in the environment.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { Webhook, WebhookVerificationError } from "standardwebhooks";

const base = process.env.WEBHOOKS_URL;

const get = async (path) => (await fetch(`${base}/${path}`)).json();
const tally = async (name) => {
  const { delivered, duplicates, invalid } = await get(`${name}/_tally`);
  return [delivered, duplicates, invalid];
};
const receiver = async () => {
  const name = randomUUID();
  return { name, webhook: new Webhook((await get(`${name}/_secret`)).secret) };
};

function signed(webhook, body, { id = `msg_${randomUUID()}`, at = new Date() } = {}) {
  const headers = {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": webhook.sign(id, at, body),
  };
  return { method: "POST", headers, body };
}

const send = async (name, request) => (await fetch(`${base}/${name}`, { redirect: "manual", ...request })).status;
const accepted = (webhook, { body, headers }) => {
  try {
    webhook.verify(body, headers);
    return true;
  } catch (error) {
    assert.ok(error instanceof WebhookVerificationError, String(error));
    return false;
  }
};

test("the library signs the known vector as we do", () => {
  const webhook = new Webhook("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3");
  const signature = webhook.sign("msg_1", new Date(1_700_000_000_000), '{"a":1}');
  assert.equal(signature, "v1,WUgAXU8H0NQ1/7M+TtMwKma2b74a3/TCgekiM3YUdN8=");
});

test("what the library signs is taken once", async () => {
  const { name, webhook } = await receiver();
  const request = signed(webhook, '{"event":"run.completed","text":"ü"}');
  assert.equal(await send(name, request), 200);
  assert.equal(await send(name, request), 200);
  assert.equal(await send(name, signed(webhook, "")), 200);
  assert.deepEqual(await tally(name), [2, 1, 0]);
  const [first] = (await get(`${name}/_tally`)).messages;
  assert.deepEqual([first.id, first.body], [request.headers["webhook-id"], request.body]);
});

test("what the library refuses is refused", async () => {
  const { name, webhook } = await receiver();
  const good = signed(webhook, '{"a":1}');
  const with_ = (headers) => ({ ...good, headers: { ...good.headers, ...headers } });
  const wrong = [
    { ...good, body: '{"a":2}' },
    with_({ "webhook-id": "msg_other" }),
    with_({ "webhook-timestamp": String(Number(good.headers["webhook-timestamp"]) - 1) }),
    with_({ "webhook-timestamp": "soon" }),
    with_({ "webhook-signature": good.headers["webhook-signature"].replace("v1,", "v2,") }),
    with_({ "webhook-signature": "v1,AAAA" }),
    signed(webhook, '{"a":1}', { at: new Date(Date.now() - 301_500) }),
    signed(webhook, '{"a":1}', { at: new Date(Date.now() + 302_500) }),
    signed(new Webhook(`whsec_${Buffer.alloc(32).toString("base64")}`), '{"a":1}'),
  ];
  for (const request of wrong) {
    assert.equal(accepted(webhook, request), false);
    assert.equal(await send(name, request), 401);
  }
  for (const header of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    const headers = { ...good.headers };
    delete headers[header];
    assert.equal(await send(name, { ...good, headers }), 401);
  }
  assert.deepEqual(await tally(name), [0, 0, wrong.length + 3]);
  assert.equal(await send(name, good), 200, "none of them has used up the id");
});

test("while a secret is rotated, either signature will do", async () => {
  const { name, webhook } = await receiver();
  const next = new Webhook(`whsec_${Buffer.from(randomUUID()).toString("base64")}`);
  const request = signed(webhook, "{}");
  const both = { ...request.headers };
  both["webhook-signature"] = `${next.sign(both["webhook-id"], new Date(both["webhook-timestamp"] * 1000), "{}")} ${both["webhook-signature"]}`;
  assert.ok(accepted(webhook, { body: "{}", headers: both }) && accepted(next, { body: "{}", headers: both }));
  assert.equal(await send(name, { ...request, headers: both }), 200);
});

test("a receiver trusts the secret that it is given", async () => {
  const { name, webhook } = await receiver();
  const secret = `whsec_${Buffer.from("0123456789abcdef01234567").toString("base64")}`;
  const order = (body) => fetch(`${base}/${name}/_secret`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.equal((await order({ secret: "plain" })).status, 400);
  assert.equal((await order({ secret })).status, 204);
  assert.equal(await send(name, signed(webhook, "{}")), 401);
  assert.equal(await send(name, signed(new Webhook(secret), "{}")), 200);
});

test("a receiver that fails by its script has taken nothing", async () => {
  const { name, webhook } = await receiver();
  const steps = [
    { match: name, error: "server_error", times: 2 },
    { match: name, error: "gone" },
    { match: name, error: "redirect" },
    { match: name, fault: { status: { code: 418 } } },
  ];
  const answer = await fetch(`${base}/_script`, { method: "POST", body: JSON.stringify(steps) });
  assert.equal(answer.status, 204, await answer.text());
  const request = signed(webhook, "{}");
  const statuses = [];
  for (let turn = 0; turn < 6; turn += 1) {
    statuses.push(await send(name, request));
  }
  assert.deepEqual(statuses, [500, 500, 410, 307, 418, 200]);
  assert.deepEqual(await tally(name), [1, 0, 0]);
});
