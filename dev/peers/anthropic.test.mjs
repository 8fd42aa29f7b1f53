// The vendor's own client against the stand-in of Anthropic: answers and streams must be decoded, every documented
// error must become the client's own class of it, and its retries must go as the headers say.
// Run by dev/tests/llm_standins.rs, with the stand-in's address and key in the environment.

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

const baseURL = process.env.ANTHROPIC_BASE_URL;
const apiKey = process.env.ANTHROPIC_API_KEY;
const client = (options = {}) => new Anthropic({ baseURL, apiKey, maxRetries: 0, ...options });
const anthropic = client();
const model = "claude-sonnet-5-5";

const ask = (content, more = {}) => ({ model, max_tokens: 500, messages: [{ role: "user", content }], ...more });
const schema = {
  type: "object",
  properties: {
    name: { type: "string" },
    count: { type: "integer" },
    sure: { type: "boolean" },
    kind: { type: "string", enum: ["first", "second"] },
    list: { type: "array", items: { type: "string" } },
  },
  required: ["name", "count", "sure", "kind", "list"],
  additionalProperties: false,
};
const fitting = (text) => ({ name: text, count: 1, sure: true, kind: "first", list: [text] });
const output_config = { format: { type: "json_schema", schema } };
const tools = [{ name: "note", description: "Notes something.", input_schema: schema }];

async function script(...steps) {
  const answer = await fetch(`${baseURL}/_script`, { method: "POST", body: JSON.stringify(steps) });
  assert.equal(answer.status, 204, await answer.text());
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("it did not fail");
}

test("a message is decoded, with its usage and its request id", async () => {
  const { data, request_id, response } = await anthropic.messages
    .create(ask("hello", { system: "be brief" }))
    .withResponse();
  assert.deepEqual(
    data.content.map(({ type, text }) => ({ type, text })),
    [{ type: "text", text: "echo: hello" }],
  );
  assert.equal(data.stop_reason, "end_turn");
  assert.equal(data.model, model);
  assert.equal(data.usage.input_tokens, Math.ceil("be briefhello".length / 4));
  assert.equal(data.usage.output_tokens, Math.ceil("echo: hello".length / 4));
  assert.match(request_id, /^req_/);
  assert.equal(data._request_id, request_id);
  assert.equal(response.headers.get("anthropic-ratelimit-requests-limit"), "4000");
  assert.ok(Date.parse(response.headers.get("anthropic-ratelimit-tokens-reset")) > Date.now() - 2000);
});

test("the key may come as x-api-key too, and an alias is answered with the full name", async () => {
  const body = ask("hi", { model: "claude-haiku-4-5" });
  const message = await new Anthropic({
    baseURL,
    apiKey: "wrong",
    maxRetries: 0,
    defaultHeaders: { "x-api-key": apiKey },
  }).messages.create(body);
  assert.equal(message.model, "claude-haiku-4-5-20251001");
});

test("a stream has the vendor's events in the vendor's order, and adds up to the message", async () => {
  const stream = anthropic.messages.stream(ask("[tokens 77] [cached 9] how are you today"));
  const seen = [];
  // Copies, since the client adds to the first event's message.
  stream.on("streamEvent", (event) => seen.push(structuredClone(event)));
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, "echo: how are you today");
  assert.deepEqual(
    seen.map((event) => event.type),
    [
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ],
  );
  assert.equal(seen[0].message.usage.output_tokens, 1);
  assert.equal(message.usage.output_tokens, 77);
  assert.equal(message.usage.cache_read_input_tokens, 9);
  assert.equal(message.stop_reason, "end_turn");
  assert.match(stream.request_id, /^req_/);
});

test("the wire has a ping after the beginning of the first block, and names each event", async () => {
  const response = await anthropic.messages.create({ ...ask("hi"), stream: true }).asResponse();
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  const events = (await response.text()).trim().split("\n\n");
  const names = events.map((event) => {
    const [first, second, ...rest] = event.split("\n");
    assert.deepEqual(rest, []);
    const name = first.replace("event: ", "");
    assert.equal(JSON.parse(second.replace("data: ", "")).type, name);
    return name;
  });
  assert.deepEqual(names.slice(0, 3), ["message_start", "content_block_start", "ping"]);
});

test("structured output fits its schema, streamed or not", async () => {
  const message = await anthropic.messages.parse(ask("hi", { output_config }));
  assert.deepEqual(JSON.parse(message.content[0].text), fitting("hi"));
  assert.equal(message.stop_reason, "end_turn");
  const streamed = await anthropic.messages.stream(ask("hi", { output_config })).finalMessage();
  assert.deepEqual(JSON.parse(streamed.content[0].text), fitting("hi"));
  const not = await anthropic.messages.create(ask("[not-json] hi", { output_config }));
  assert.equal(not.content[0].text, "echo: hi");
});

for (const tool_choice of [{ type: "tool", name: "note" }, { type: "any" }]) {
  test(`a tool is called when it must be: ${tool_choice.type}`, async () => {
    for (const message of [
      await anthropic.messages.create(ask("hi", { tools, tool_choice })),
      await anthropic.messages.stream(ask("hi", { tools, tool_choice })).finalMessage(),
    ]) {
      const [block] = message.content;
      assert.equal(block.type, "tool_use");
      assert.equal(block.name, "note");
      assert.match(block.id, /^toolu_/);
      assert.deepEqual(block.input, fitting("hi"));
      assert.equal(message.stop_reason, "tool_use");
    }
  });
}

test("the result of a tool goes back, and the text of the user is echoed again", async () => {
  const first = await anthropic.messages.create(ask("hi", { tools, tool_choice: { type: "any" } }));
  const result = { type: "tool_result", tool_use_id: first.content[0].id, content: "noted" };
  const messages = [
    { role: "user", content: "hi" },
    { role: "assistant", content: first.content },
    { role: "user", content: [result] },
  ];
  const second = await anthropic.messages.create({ model, max_tokens: 500, tools, messages });
  assert.equal(second.content[0].text, "echo: hi");
});

test("a refusal, a truncation and a stop sequence are told by the stop reason", async () => {
  for (const call of [
    (body) => anthropic.messages.create(body),
    (body) => anthropic.messages.stream(body).finalMessage(),
  ]) {
    const refusal = await call(ask("[refuse] hi"));
    assert.equal(refusal.stop_reason, "refusal");
    assert.equal(refusal.stop_details.type, "refusal");
    assert.deepEqual(refusal.content, []);
    const truncated = await call(ask("[truncate] hello"));
    assert.equal(truncated.stop_reason, "max_tokens");
    assert.equal(truncated.content[0].text, "echo:");
    const limited = await call(ask("hello", { max_tokens: 2 }));
    assert.equal(limited.stop_reason, "max_tokens");
    assert.equal(limited.usage.output_tokens, 2);
    const stopped = await call(ask("one two three", { stop_sequences: ["two"] }));
    assert.equal(stopped.stop_reason, "stop_sequence");
    assert.equal(stopped.stop_sequence, "two");
    assert.equal(stopped.content[0].text, "echo: one ");
  }
});

for (const [type, status, Class] of [
  ["invalid_request_error", 400, Anthropic.BadRequestError],
  ["authentication_error", 401, Anthropic.AuthenticationError],
  ["billing_error", 402, Anthropic.PaymentRequiredError],
  ["permission_error", 403, Anthropic.PermissionDeniedError],
  ["not_found_error", 404, Anthropic.NotFoundError],
  ["request_too_large", 413, Anthropic.ContentTooLargeError],
  ["rate_limit_error", 429, Anthropic.RateLimitError],
  ["api_error", 500, Anthropic.InternalServerError],
  ["timeout_error", 504, Anthropic.GatewayTimeoutError],
  ["overloaded_error", 529, Anthropic.OverloadedError],
]) {
  test(`${type} is the client's error of ${status}`, async () => {
    assert.equal(typeof Class, "function");
    await script({ error: type, match: `a ${type}` });
    const error = await failure(anthropic.messages.create(ask(`a ${type}`)));
    assert.ok(error instanceof Class, error.constructor.name);
    assert.equal(error.status, status);
    assert.equal(error.type, type);
    assert.match(error.requestID, /^req_/);
    assert.equal(error.error.request_id, error.requestID);
    assert.equal(error.headers.get("x-should-retry"), String(status === 429 || status >= 500));
    assert.equal(error.headers.get("retry-after"), status === 429 ? "1" : null);
  });
}

test("the client tries again, and waits as long as it is told", async () => {
  await script({ error: "overloaded_error", times: 2, retry_after: "1", match: "patience" });
  const begun = Date.now();
  const message = await client({ maxRetries: 2 }).messages.create(ask("patience"));
  assert.equal(message.content[0].text, "echo: patience");
  const waited = Date.now() - begun;
  assert.ok(waited >= 1900 && waited < 6000, `${waited}`);
});

test("an error within a stream is the client's error, with its type", async () => {
  await script({ stream: { after: 4, then: { error: "overloaded_error" } }, match: "mid-stream" });
  const stream = await anthropic.messages.create({ ...ask("mid-stream"), stream: true });
  const seen = [];
  const error = await failure(
    (async () => {
      for await (const event of stream) seen.push(event.type);
    })(),
  );
  assert.ok(error instanceof Anthropic.APIError);
  assert.equal(error.type, "overloaded_error");
  // The ping is not shown.
  assert.deepEqual(seen, ["message_start", "content_block_start", "content_block_delta"]);
});

test("a stream that is cut off fails, and so does garbage", async () => {
  await script({ stream: { after: 4, then: "drop" }, match: "cut off" }, { garbage: true, match: "garbage" });
  await failure(anthropic.messages.stream(ask("cut off")).finalMessage());
  await failure(anthropic.messages.create(ask("garbage")));
  await script({ fault: "half_body", match: "half" }, { fault: "drop_before", match: "nothing" });
  await failure(anthropic.messages.create(ask("half")));
  assert.ok((await failure(anthropic.messages.create(ask("nothing")))) instanceof Anthropic.APIConnectionError);
});

test("a slow answer runs into the client's timeout", async () => {
  await script({ fault: { delay: { ms: 3000 } }, match: "slowly" });
  const error = await failure(client({ timeout: 200 }).messages.create(ask("slowly")));
  assert.ok(error instanceof Anthropic.APIConnectionTimeoutError, error.constructor.name);
});

const refusals = {
  "claude-sonnet-4-20250514 has retired": [{ model: "claude-sonnet-4-20250514" }, 404, "model: claude-sonnet-4-20250514"],
  "a sampling parameter": [{ temperature: 1 }, 400, "temperature: Extra inputs are not permitted"],
  "no max_tokens": [{ max_tokens: undefined }, 400, "max_tokens: Field required"],
  "too many max_tokens": [{ max_tokens: 1_000_000 }, 400, "max_tokens: 1000000 > 128000"],
  "no messages": [{ messages: undefined }, 400, "messages: Field required"],
  "an empty list of messages": [{ messages: [] }, 400, "messages: at least one message is required"],
  "an assistant's message at the end": [
    { messages: [{ role: "user", content: "hi" }, { role: "assistant", content: "so" }] },
    400,
    "prefill",
  ],
  "a field that there is not": [{ response_schema: {} }, 400, "response_schema: Extra inputs are not permitted"],
  "an open schema": [
    { output_config: { format: { type: "json_schema", schema: { type: "object", properties: {} } } } },
    400,
    "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
  ],
  "a schema with bounds": [
    {
      output_config: {
        format: {
          type: "json_schema",
          schema: {
            type: "object",
            properties: { count: { type: "integer", minimum: 1, maximum: 3 } },
            additionalProperties: false,
          },
        },
      },
    },
    400,
    "For 'integer' type, properties maximum, minimum are not supported",
  ],
  "a tool that there is not": [{ tools, tool_choice: { type: "tool", name: "other" } }, 400, "Tool 'other' not found"],
  "a choice without tools": [{ tool_choice: { type: "any" } }, 400, "tool_choice"],
};
for (const [name, [more, status, message]] of Object.entries(refusals)) {
  test(`refused: ${name}`, async () => {
    // With a timeout of its own, since the client itself refuses long answers that are not streamed.
    const error = await failure(anthropic.messages.create(ask("hi", more), { timeout: 10_000 }));
    assert.equal(error.status, status, error.message);
    assert.ok(error.apiMessage.includes(message), error.apiMessage);
  });
}

test("the older version takes sampling parameters, but not of newer models", async () => {
  const older = client({ defaultHeaders: { "anthropic-version": "2023-06-01" } });
  await older.messages.create(ask("hi", { model: "claude-haiku-4-5", temperature: 0.3 }));
  await older.messages.create(ask("hi", { temperature: 1 }));
  const error = await failure(older.messages.create(ask("hi", { temperature: 0.3 })));
  assert.equal(error.status, 400);
  const unknown = client({ defaultHeaders: { "anthropic-version": "2020-01-01" } });
  assert.match((await failure(unknown.messages.create(ask("hi")))).apiMessage, /not a valid version/);
});

test("nobody is let in with another key", async () => {
  const error = await failure(client({ apiKey: "sk-ant-api03-other" }).messages.create(ask("hi")));
  assert.ok(error instanceof Anthropic.AuthenticationError);
  assert.equal(error.type, "authentication_error");
});

test("the models are listed, and read one by one", async () => {
  const ids = [];
  for await (const { id } of anthropic.models.list()) ids.push(id);
  assert.ok(ids.includes(model));
  assert.equal((await anthropic.models.retrieve(model)).id, model);
  assert.ok((await failure(anthropic.models.retrieve("other"))) instanceof Anthropic.NotFoundError);
});
