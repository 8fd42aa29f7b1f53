// The vendor's own client against the stand-in of OpenAI: answers and streams must be decoded, every documented error
// must become the client's own class of it, and its retries must go as the headers say.
// Run by dev/tests/llm_standins.rs, with the stand-in's address and key in the environment.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const standIn = process.env.OPENAI_BASE_URL;
const apiKey = process.env.OPENAI_API_KEY;
const client = (options = {}) => new OpenAI({ baseURL: `${standIn}/v1`, apiKey, maxRetries: 0, ...options });
const openai = client();
const model = "gpt-4o";

const ask = (content, more = {}) => ({ model, messages: [{ role: "user", content }], ...more });
const create = (content, more) => openai.chat.completions.create(ask(content, more));
const schema = {
  type: "object",
  properties: {
    name: { type: "string" },
    count: { type: "number" },
    sure: { type: "boolean" },
    kind: { type: "string", enum: ["first", "second"] },
    list: { type: "array", items: { $ref: "#/$defs/entry" } },
  },
  required: ["name", "count", "sure", "kind", "list"],
  additionalProperties: false,
  $defs: {
    entry: {
      type: "object",
      properties: { note: { type: ["string", "null"] } },
      required: ["note"],
      additionalProperties: false,
    },
  },
};
const fitting = (text) => ({ name: text, count: 1, sure: true, kind: "first", list: [{ note: text }] });
const format = (schema) => ({ type: "json_schema", json_schema: { name: "answer", strict: true, schema } });
const tools = [{ type: "function", function: { name: "note", strict: true, parameters: schema } }];

async function script(...steps) {
  const answer = await fetch(`${standIn}/_script`, { method: "POST", body: JSON.stringify(steps) });
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

test("a completion is decoded, with its usage and its request id", async () => {
  const { data, request_id, response } = await openai.chat.completions
    .create(ask("[cached 100] hello", { max_completion_tokens: 100 }))
    .withResponse();
  const [choice] = data.choices;
  assert.deepEqual(
    [choice.message.role, choice.message.content, choice.message.refusal, choice.finish_reason],
    ["assistant", "echo: hello", null, "stop"],
  );
  assert.equal(data.object, "chat.completion");
  assert.equal(data.model, "gpt-4o-2024-08-06");
  const prompt = Math.ceil("[cached 100] hello".length / 4) + 100;
  assert.equal(data.usage.prompt_tokens, prompt);
  assert.equal(data.usage.prompt_tokens_details.cached_tokens, 100);
  assert.equal(data.usage.completion_tokens, Math.ceil("echo: hello".length / 4));
  assert.equal(data.usage.total_tokens, prompt + data.usage.completion_tokens);
  assert.match(request_id, /^req_/);
  assert.equal(data._request_id, request_id);
  assert.match(response.headers.get("x-ratelimit-reset-tokens"), /^6m0s$/);
});

test("a stream ends with the usage when it is asked for", async () => {
  const stream = await create("how are you today", { stream: true, stream_options: { include_usage: true } });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(text, "echo: how are you today");
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, Math.ceil(text.length / 4));
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.every((chunk) => chunk.usage === null));
});

test("a stream ends with [DONE], and has no usage unless it is asked for", async () => {
  const response = await create("hi", { stream: true }).asResponse();
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  const lines = (await response.text()).trim().split("\n\n");
  assert.equal(lines.pop(), "data: [DONE]");
  for (const line of lines) assert.equal("usage" in JSON.parse(line.replace("data: ", "")), false);
});

test("structured output fits its strict schema, streamed or not", async () => {
  const response_format = format(schema);
  const completion = await openai.chat.completions.parse(ask("hi", { response_format }));
  assert.deepEqual(completion.choices[0].message.parsed ?? JSON.parse(completion.choices[0].message.content), fitting("hi"));
  const streamed = await openai.chat.completions.stream(ask("hi", { response_format })).finalChatCompletion();
  assert.deepEqual(JSON.parse(streamed.choices[0].message.content), fitting("hi"));
  const not = await create("[not-json] hi", { response_format });
  assert.equal(not.choices[0].message.content, "echo: hi");
});

test("a function is called when it must be", async () => {
  for (const [tool_choice, finish_reason] of [
    ["required", "tool_calls"],
    [{ type: "function", function: { name: "note" } }, "stop"],
  ]) {
    for (const { choices } of [
      await create("hi", { tools, tool_choice }),
      await openai.chat.completions.stream(ask("hi", { tools, tool_choice })).finalChatCompletion(),
    ]) {
      const [call] = choices[0].message.tool_calls;
      assert.equal(call.function.name, "note");
      assert.match(call.id, /^call_/);
      assert.deepEqual(JSON.parse(call.function.arguments), fitting("hi"));
      assert.equal(choices[0].message.content, null);
      assert.equal(choices[0].finish_reason, finish_reason);
    }
  }
});

test("the result of a function goes back, but only to a call", async () => {
  const first = await create("hi", { tools, tool_choice: "required" });
  const { message } = first.choices[0];
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "noted" };
  const user = { role: "user", content: "hi" };
  const second = await openai.chat.completions.create({ model, tools, messages: [user, message, result] });
  assert.equal(second.choices[0].message.content, "echo: hi");
  const error = await failure(openai.chat.completions.create({ model, messages: [user, result] }));
  assert.equal(error.status, 400);
});

test("a refusal and a truncation are told as the vendor tells them", async () => {
  for (const call of [
    (body) => openai.chat.completions.create(body),
    (body) => openai.chat.completions.stream(body).finalChatCompletion(),
  ]) {
    const refusal = await call(ask("[refuse] hi", { response_format: format(schema) }));
    assert.equal(refusal.choices[0].message.refusal, process.env.REFUSAL);
    assert.equal(refusal.choices[0].message.content ?? null, null);
    assert.equal(refusal.choices[0].finish_reason, "stop");
    const truncated = await call(ask("[truncate] hello"));
    assert.equal(truncated.choices[0].message.content, "echo:");
    assert.equal(truncated.choices[0].finish_reason, "length");
  }
  const limited = await create("hello", { max_completion_tokens: 2 });
  assert.deepEqual([limited.choices[0].finish_reason, limited.usage.completion_tokens], ["length", 2]);
  const stopped = await create("one two", { stop: "two" });
  assert.deepEqual([stopped.choices[0].finish_reason, stopped.choices[0].message.content], ["stop", "echo: one "]);
});

for (const [name, status, Class, code, type] of [
  ["invalid_request_error", 400, OpenAI.BadRequestError, null, "invalid_request_error"],
  ["context_length_exceeded", 400, OpenAI.BadRequestError, "context_length_exceeded", "invalid_request_error"],
  ["invalid_api_key", 401, OpenAI.AuthenticationError, "invalid_api_key", "invalid_request_error"],
  [
    "unsupported_country_region_territory",
    403,
    OpenAI.PermissionDeniedError,
    "unsupported_country_region_territory",
    "request_forbidden",
  ],
  ["model_not_found", 404, OpenAI.NotFoundError, "model_not_found", "invalid_request_error"],
  ["conflict", 409, OpenAI.ConflictError, "conflict", "invalid_request_error"],
  ["unprocessable_entity", 422, OpenAI.UnprocessableEntityError, null, "invalid_request_error"],
  ["rate_limit_exceeded", 429, OpenAI.RateLimitError, "rate_limit_exceeded", "requests"],
  ["insufficient_quota", 429, OpenAI.RateLimitError, "insufficient_quota", "insufficient_quota"],
  ["server_error", 500, OpenAI.InternalServerError, null, "server_error"],
  ["service_unavailable", 503, OpenAI.InternalServerError, null, "service_unavailable"],
]) {
  test(`${name} is the client's error of ${status}`, async () => {
    await script({ error: name, match: `a ${name}` });
    const error = await failure(create(`a ${name}`));
    assert.ok(error instanceof Class, error.constructor.name);
    assert.deepEqual([error.status, error.code, error.type], [status, code, type]);
    assert.match(error.requestID, /^req_/);
    assert.equal(error.headers.get("retry-after"), name === "rate_limit_exceeded" ? "1" : null);
  });
}

test("the client tries again, and waits as long as it is told", async () => {
  await script({ error: "server_error", times: 2, retry_after: "1", match: "patience" });
  const begun = Date.now();
  const { choices } = await client({ maxRetries: 2 }).chat.completions.create(ask("patience"));
  assert.equal(choices[0].message.content, "echo: patience");
  const waited = Date.now() - begun;
  assert.ok(waited >= 1900 && waited < 6000, `${waited}`);
});

test("an error within a stream is the client's error", async () => {
  await script({ stream: { after: 2, then: { error: "server_error" } }, match: "mid-stream" });
  const seen = [];
  const error = await failure(
    (async () => {
      for await (const chunk of await create("mid-stream", { stream: true })) seen.push(chunk);
    })(),
  );
  assert.ok(error instanceof OpenAI.APIError);
  assert.equal(error.type, "server_error");
  assert.equal(seen.length, 2);
});

test("a stream that is cut off fails, and so does garbage", async () => {
  await script({ stream: { after: 2, then: "drop" }, match: "cut off" }, { garbage: true, match: "garbage" });
  await failure(openai.chat.completions.stream(ask("cut off")).finalChatCompletion());
  await failure(create("garbage"));
  await script({ fault: "half_body", match: "half" }, { fault: "drop_before", match: "nothing" });
  await failure(create("half"));
  assert.ok((await failure(create("nothing"))) instanceof OpenAI.APIConnectionError);
});

const open = { type: "object", properties: {} };
const lax = { type: "object", properties: { a: { type: "string" }, b: { type: "string" } }, additionalProperties: false };
const nested = {
  type: "object",
  properties: { list: { type: "array", items: { ...open, required: [] } } },
  required: ["list"],
  additionalProperties: false,
};
const refusals = {
  "no model": [{ model: undefined }, 400, null, "you must provide a model parameter"],
  "a model that there is not": [{ model: "gpt-9" }, 404, "model_not_found", "The model `gpt-9` does not exist"],
  "no messages": [{ messages: undefined }, 400, "missing_required_parameter", "'messages'"],
  "an empty list of messages": [{ messages: [] }, 400, "empty_array", "empty array"],
  "a role that there is not": [{ messages: [{ role: "model", content: "" }] }, 400, "invalid_value", "'model'"],
  "a field that there is not": [{ response_schema: {} }, 400, null, "Unrecognized request argument supplied"],
  "max_tokens of a model that reasons": [{ model: "gpt-5", max_tokens: 5 }, 400, "unsupported_parameter", "max_tokens"],
  "a temperature of a model that reasons": [{ model: "gpt-5", temperature: 0 }, 400, "unsupported_value", "temperature"],
  "a temperature that is too high": [{ temperature: 2.1 }, 400, "decimal_above_max_value", "temperature"],
  "options of a stream that is none": [{ stream_options: {} }, 400, null, "stream_options"],
  "JSON that nobody spoke of": [{ response_format: { type: "json_object" } }, 400, null, "must contain the word 'json'"],
  "an open schema": [
    { response_format: format(open) },
    400,
    null,
    "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be supplied and to be false.",
  ],
  "an optional property": [
    { response_format: format({ ...lax, required: ["a"] }) },
    400,
    null,
    "In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'b'.",
  ],
  "an open schema within": [
    { response_format: format(nested) },
    400,
    null,
    "In context=('properties', 'list', 'items'), 'additionalProperties' is required",
  ],
  "an open schema of a strict function": [
    { tools: [{ type: "function", function: { name: "note", strict: true, parameters: open } }] },
    400,
    "invalid_function_parameters",
    "Invalid schema for function 'note'",
  ],
  "a choice without tools": [{ tool_choice: "required" }, 400, null, "tool_choice"],
};
for (const [name, [more, status, code, message]] of Object.entries(refusals)) {
  test(`refused: ${name}`, async () => {
    const error = await failure(create("hi", more));
    assert.deepEqual([error.status, error.code], [status, code], error.message);
    assert.ok(error.message.includes(message), error.message);
  });
}

test("nobody is let in with another key", async () => {
  const error = await failure(client({ apiKey: "sk-proj-other" }).chat.completions.create(ask("hi")));
  assert.ok(error instanceof OpenAI.AuthenticationError);
  assert.equal(error.code, "invalid_api_key");
});

test("the models are listed, and read one by one", async () => {
  const ids = [];
  for await (const { id } of openai.models.list()) ids.push(id);
  assert.ok(ids.includes("gpt-4o-2024-08-06"));
  assert.equal((await openai.models.retrieve(model)).id, "gpt-4o-2024-08-06");
  assert.ok((await failure(openai.models.retrieve("other"))) instanceof OpenAI.NotFoundError);
});
