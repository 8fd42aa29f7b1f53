// The vendor's own client against the stand-in of Voyage: what it asks for must be answered, what it decodes must be
// right, and each documented error must come out of it as an error of that status.
// Run by dev/tests/mail_standins.rs, with the address and the key in the environment.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { VoyageAIClient, VoyageAIError } from "voyageai";

const base = process.env.VOYAGE_BASE_URL;
const environment = `${base}/v1`;
const apiKey = process.env.VOYAGE_API_KEY;
const voyage = new VoyageAIClient({ apiKey, environment, maxRetries: 0 });

async function script(...steps) {
  const answer = await fetch(`${base}/_script`, { method: "POST", body: JSON.stringify(steps) });
  assert.equal(answer.status, 204, await answer.text());
}

afterEach(() => fetch(`${base}/_script`, { method: "DELETE" }));

const length = (vector) => Math.hypot(...vector);
const dot = (a, b) => a.reduce((sum, number, index) => sum + number * b[index], 0);

async function refusal(request, client = voyage) {
  try {
    await client.embed(request);
  } catch (error) {
    assert.ok(error instanceof VoyageAIError, String(error));
    return { status: error.statusCode, detail: error.body.detail };
  }
  assert.fail("it was not refused");
}

for (const [model, dimension] of [["voyage-3", 1024], ["voyage-3-lite", 512], ["voyage-code-3", 1024], ["voyage-4", 1024]]) {
  test(`${model} answers vectors of length 1 and ${dimension} numbers, in their order`, async () => {
    const texts = ["first", "second", "third"];
    const answer = await voyage.embed({ input: texts, model, inputType: "document" });
    assert.equal(answer.object, "list");
    assert.equal(answer.model, model);
    assert.deepEqual(answer.data.map((item) => item.index), [0, 1, 2]);
    for (const item of answer.data) {
      assert.equal(item.object, "embedding");
      assert.equal(item.embedding.length, dimension);
      assert.ok(Math.abs(length(item.embedding) - 1) < 1e-5);
    }
    assert.equal(answer.usage.totalTokens, 2 + 2 + 2);
    const alone = await voyage.embed({ input: "second", model, inputType: "document" });
    assert.deepEqual(alone.data[0].embedding, answer.data[1].embedding);
    const query = await voyage.embed({ input: "second", model, inputType: "query" });
    assert.notDeepEqual(query.data[0].embedding, answer.data[1].embedding);
    assert.ok(dot(query.data[0].embedding, answer.data[1].embedding) > 0.5);
    assert.ok(Math.abs(dot(query.data[0].embedding, answer.data[0].embedding)) < 0.2);
  });
}

test("a flexible model gives shorter vectors, and other numbers", async () => {
  const ask = async (more) => (await voyage.embed({ input: "a text", model: "voyage-code-3", ...more })).data[0].embedding;
  const whole = await ask({});
  const short = await ask({ outputDimension: 256 });
  assert.equal(short.length, 256);
  assert.ok(Math.abs(length(short) - 1) < 1e-5 && dot(short, whole) > 0);
  const int8 = await ask({ outputDtype: "int8" });
  assert.ok(int8.length === 1024 && int8.every((number) => Number.isInteger(number) && Math.abs(number) <= 127));
  assert.equal((await ask({ outputDtype: "ubinary" })).length, 128);
  const answer = await fetch(`${environment}/embeddings`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}` },
    body: JSON.stringify({ input: "a text", model: "voyage-code-3", encoding_format: "base64" }),
  });
  const bytes = Buffer.from((await answer.json()).data[0].embedding, "base64");
  assert.equal(bytes.length, 4096);
  assert.ok(Math.abs(bytes.readFloatLE(0) - whole[0]) < 1e-6);
});

test("a thousand texts are one request, and one more is refused", async () => {
  const input = Array.from({ length: 1000 }, (_, index) => `text ${index}`);
  const answer = await voyage.embed({ input, model: "voyage-3-lite" });
  assert.equal(answer.data.length, 1000);
  const refused = await refusal({ input: [...input, "one more"], model: "voyage-3-lite" });
  assert.equal(refused.status, 400);
  assert.match(refused.detail, /batch size limit is 1000\. Your batch size is 1001/);
});

test("the tokens of one request are limited by the model", async () => {
  const text = "x".repeat(4 * 30_000);
  const four = await voyage.embed({ input: [text, text, text, text], model: "voyage-code-3" });
  assert.equal(four.usage.totalTokens, 120_000);
  const refused = await refusal({ input: [text, text, text, text, "x"], model: "voyage-code-3" });
  assert.equal(refused.status, 400);
  assert.match(refused.detail, /max allowed tokens per submitted batch is 120000\. Your batch has 120001 tokens/);
  const five = await voyage.embed({ input: [text, text, text, text, "x"], model: "voyage-3" });
  assert.equal(five.usage.totalTokens, 120_001);
});

test("a text that is too long is cut, or refused where that is forbidden", async () => {
  const input = "x".repeat(4 * 32_000 + 1);
  assert.equal((await voyage.embed({ input, model: "voyage-3" })).usage.totalTokens, 32_000);
  assert.equal((await refusal({ input, model: "voyage-3", truncation: false })).status, 400);
});

test("what is wrong with a request is a 400 with its reason", async () => {
  for (const [request, reason] of [
    [{ input: "a", model: "voyage-0" }, /Model voyage-0 is not supported/],
    [{ input: [], model: "voyage-3" }, /empty/],
    [{ input: ["a", ""], model: "voyage-3" }, /empty/],
    [{ input: "a", model: "voyage-3", outputDimension: 256 }, /output_dimension of 256/],
    [{ input: "a", model: "voyage-3", outputDtype: "int8" }, /only floats/],
  ]) {
    const { status, detail } = await refusal(request);
    assert.equal(status, 400);
    assert.match(detail, reason);
  }
});

test("a wrong key is a 401", async () => {
  const other = new VoyageAIClient({ apiKey: "pa-wrong", environment, maxRetries: 0 });
  const refused = await refusal({ input: "a", model: "voyage-3" }, other);
  assert.deepEqual(refused, { status: 401, detail: "Provided API key is invalid." });
});

for (const [name, status] of [
  ["invalid_request", 400],
  ["unauthorized", 401],
  ["forbidden", 403],
  ["malformed_request", 422],
  ["rate_limit_exceeded", 429],
  ["server_error", 500],
  ["bad_gateway", 502],
  ["service_unavailable", 503],
]) {
  test(`${name} reaches the client as ${status}`, async () => {
    await script({ error: name });
    const refused = await refusal({ input: "a", model: "voyage-3" });
    assert.equal(refused.status, status);
    assert.ok(refused.detail.length > 0);
  });
}

test("the client comes again by itself after a limit of rate", async () => {
  await script({ error: "rate_limit_exceeded", retry_after: "1" });
  const patient = new VoyageAIClient({ apiKey, environment, maxRetries: 1 });
  assert.equal((await patient.embed({ input: "a", model: "voyage-3" })).data.length, 1);
});
