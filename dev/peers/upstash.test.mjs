// The vendor's own clients against the gateway: what they send must be understood, what they get must be decoded.
// Run by dev/tests/upstash_gateway.rs, with UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN set.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";

import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";

const url = process.env.UPSTASH_REDIS_REST_URL;
const token = process.env.UPSTASH_REDIS_REST_TOKEN;

// As a program would have it: base64 and automatic pipelines are on unless turned off.
const client = (options = {}) => new Redis({ url, token, enableTelemetry: false, ...options });
const key = (name) => `${name}:${randomUUID()}`;

for (const [how, options] of [
  ["as it comes", {}],
  ["without automatic pipelines", { enableAutoPipelining: false }],
  ["without base64", { responseEncoding: false }],
]) {
  test(`strings, numbers and JSON come back as they went, ${how}`, async () => {
    const redis = client(options);
    const k = key("value");
    assert.equal(await redis.set(k, "grüße, 世界 🚀"), "OK");
    assert.equal(await redis.get(k), "grüße, 世界 🚀");
    assert.equal(await redis.set(k, { nested: [1, "two", null, { three: true }] }, { ex: 100 }), "OK");
    assert.deepEqual(await redis.get(k), { nested: [1, "two", null, { three: true }] });
    const ttl = await redis.ttl(k);
    assert.ok(ttl > 90 && ttl <= 100, `ttl ${ttl}`);
    assert.equal(await redis.incrby(key("number"), 41), 41);
    assert.equal(await redis.get(key("absent")), null);
    assert.equal(await redis.set(k, "again", { nx: true }), null);
    assert.equal(await redis.set(k, "OK"), "OK");
    assert.equal(await redis.get(k), "OK");
    assert.equal(await redis.echo("PONG?"), "PONG?");
    assert.equal(await redis.type(k), "string");
  });

  test(`hashes, lists, sets and sorted sets, ${how}`, async () => {
    const redis = client(options);
    const [h, l, s, z] = [key("hash"), key("list"), key("set"), key("sorted")];
    assert.equal(await redis.hset(h, { a: 1, b: "two", c: { d: [3] } }), 3);
    assert.deepEqual(await redis.hgetall(h), { a: 1, b: "two", c: { d: [3] } });
    assert.deepEqual(await redis.hmget(h, "a", "missing"), { a: 1, missing: null });
    assert.equal(await redis.hgetall(key("absent")), null);
    await redis.rpush(l, "x", "y", "z");
    assert.deepEqual(await redis.lrange(l, 0, -1), ["x", "y", "z"]);
    await redis.sadd(s, "m");
    assert.deepEqual(await redis.smembers(s), ["m"]);
    await redis.zadd(z, { score: 1.5, member: "one" }, { score: 2, member: "two" });
    assert.deepEqual(await redis.zrange(z, 0, -1, { withScores: true }), ["one", 1.5, "two", 2]);
  });
}

test("commands of one moment travel as one pipeline", async () => {
  const redis = client();
  const k = key("auto");
  await redis.set(k, 1);
  const answers = await Promise.all([redis.get(k), redis.exists(k), redis.strlen(k), redis.get(key("absent"))]);
  assert.deepEqual(answers, [1, 1, 1, null]);
});

test("a pipeline answers each command, and an error in its place", async () => {
  const redis = client();
  const k = key("pipeline");
  const answers = await redis.pipeline().set(k, "text").incr(k).get(k).exec({ keepErrors: true });
  assert.equal(answers[0].result, "OK");
  assert.match(answers[1].error, /^ERR value is not an integer/);
  assert.equal(answers[2].result, "text");
  await assert.rejects(redis.pipeline().set(k, "text").incr(k).exec(), /Command 2 \[ incr \] failed: ERR/);
});

test("a transaction is executed, or discarded as a whole", async () => {
  const redis = client();
  const k = key("multi");
  assert.deepEqual(await redis.multi().set(k, 1).incr(k).hset(`${k}:h`, { f: "v" }).exec(), ["OK", 2, 1]);
  await assert.rejects(redis.multi().set(k, 99).del().exec(), /ERR wrong number of arguments/);
  assert.equal(await redis.get(k), 2);
});

test("many transactions at once do not meet", async () => {
  const redis = client();
  const keys = Array.from({ length: 20 }, () => key("apart"));
  const results = await Promise.all(keys.map((k) => redis.multi().incr(k).incr(k).exec()));
  assert.deepEqual(results, keys.map(() => [1, 2]));
});

test("scripts by text and by digest", async () => {
  const redis = client();
  const script = "return {KEYS[1], ARGV[1], tonumber(ARGV[2]), {'deep'}, redis.call('SET', KEYS[1], ARGV[1])}";
  const k = key("script");
  const expected = [k, "v", 7, ["deep"], "OK"];
  assert.deepEqual(await redis.eval(script, [k], ["v", 7]), expected);
  const digest = await redis.scriptLoad(script);
  assert.equal(digest, createHash("sha1").update(script).digest("hex"));
  assert.deepEqual(await redis.scriptExists(digest), [1]);
  assert.deepEqual(await redis.evalsha(digest, [k], ["v", 7]), expected);
  await assert.rejects(redis.evalsha("0".repeat(40), [], []), /NOSCRIPT/);
  const helper = redis.createScript("return ARGV[1]");
  assert.equal(await helper.exec([], ["by helper"]), "by helper");
});

test("scripts with the vendor's own flag", async () => {
  const redis = client();
  const script = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])";
  const digest = createHash("sha1").update(script).digest("hex");
  const k = key("locking");
  await assert.rejects(redis.evalsha(digest, [k], []), /NOSCRIPT/);
  assert.equal(await redis.eval(script, [k], []), 1);
  assert.equal(await redis.evalsha(digest, [k], []), 2);
  assert.equal(await redis.scriptLoad(script), digest);
  assert.deepEqual(await redis.scriptExists(digest), [1]);
  assert.deepEqual(await redis.multi().eval(script, [k], []).evalsha(digest, [k], []).exec(), [3, 4]);
});

test("scan walks through all keys", async () => {
  const redis = client();
  const prefix = key("scan");
  await redis.mset(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${prefix}:${i}`, i])));
  const found = new Set();
  let cursor = "0";
  do {
    let page;
    [cursor, page] = await redis.scan(cursor, { match: `${prefix}:*`, count: 7 });
    page.forEach((name) => found.add(name));
  } while (cursor !== "0");
  assert.equal(found.size, 50);
});

/** The next event of a kind; a wait without end is the test runner's to stop. */
const next = (subscriber, kind) => new Promise((resolve) => subscriber.on(kind, resolve));

test("a subscriber is confirmed and gets messages", { timeout: 10_000 }, async () => {
  const redis = client();
  const channel = key("chat");
  const subscriber = redis.subscribe([channel]);
  assert.equal(await next(subscriber, "subscribe"), 1);
  const message = next(subscriber, "message");
  assert.equal(await redis.publish(channel, { hello: "a, b" }), 1);
  assert.deepEqual(await message, { channel, message: { hello: "a, b" } });
  await subscriber.unsubscribe();
});

test("a pattern's subscriber learns pattern and channel", { timeout: 10_000 }, async () => {
  const redis = client();
  const prefix = key("room");
  const subscriber = redis.psubscribe([`${prefix}:*`]);
  await next(subscriber, "psubscribe");
  const message = next(subscriber, "pmessage");
  await redis.publish(`${prefix}:1`, { n: 1 });
  assert.deepEqual(await message, { pattern: `${prefix}:*`, channel: `${prefix}:1`, message: { n: 1 } });
  await subscriber.unsubscribe();
});

test("a wrong token is refused", async () => {
  const redis = client({ token: "wrong" });
  await assert.rejects(redis.get("k"), /WRONGPASS/);
});

for (const [name, limiter, allowed] of [
  ["a fixed window", Ratelimit.fixedWindow(3, "60 s"), 3],
  ["a sliding window", Ratelimit.slidingWindow(3, "60 s"), 3],
  ["a token bucket", Ratelimit.tokenBucket(1, "60 s", 3), 3],
]) {
  test(`${name} lets three through and no fourth`, async () => {
    const ratelimit = new Ratelimit({
      redis: client(),
      limiter,
      prefix: key("limit"),
      ephemeralCache: false,
      analytics: true,
    });
    const who = randomUUID();
    const remaining = [];
    for (let call = 0; call < allowed; call += 1) {
      const answer = await ratelimit.limit(who);
      assert.equal(answer.success, true, `call ${call}`);
      remaining.push(answer.remaining);
      await answer.pending;
    }
    assert.deepEqual(remaining, [2, 1, 0]);
    const refused = await ratelimit.limit(who);
    assert.equal(refused.success, false);
    assert.ok(refused.reset > Date.now());
    await refused.pending;
    assert.equal((await ratelimit.limit(randomUUID())).success, true, "another one's limit is apart");
    assert.ok((await ratelimit.getRemaining(who)).remaining <= 0);
    await ratelimit.resetUsedTokens(who);
    assert.equal((await ratelimit.limit(who)).success, true);
  });
}
