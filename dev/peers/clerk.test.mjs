// The vendor's own verifier and client against the stand-in of Clerk: what it mints must be accepted, what it serves
// must be decoded, and what is wrong must be wrong in the vendor's eyes too, as far as the vendor looks.
// Run by dev/tests/clerk.rs, with the instance's settings and the names of all wrong kinds in the environment.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { createClerkClient, verifyToken } from "@clerk/backend";

const apiUrl = process.env.CLERK_BASE_URL;
const secretKey = process.env.CLERK_SECRET_KEY;
const publishableKey = process.env.CLERK_PUBLISHABLE_KEY;
const authorizedParties = process.env.CLERK_AUTHORIZED_PARTIES.split(",");
const other = { apiUrl: process.env.OTHER_CLERK_BASE_URL, secretKey: process.env.OTHER_CLERK_SECRET_KEY };
const wrongKinds = JSON.parse(process.env.CLERK_WRONG_KINDS);

const telemetry = { disabled: true };
const clerk = createClerkClient({ apiUrl, secretKey, publishableKey, telemetry });
const user = () => `user_${randomUUID().replaceAll("-", "")}`;

async function post(url, body) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

const mint = async (spec, at = apiUrl) => (await post(`${at}/mint`, spec)).token;
const verify = (token, options = {}) => verifyToken(token, { apiUrl, secretKey, authorizedParties, ...options });

async function signIn(token) {
  const request = new Request("http://localhost:3000/", { headers: { authorization: `Bearer ${token}` } });
  return clerk.authenticateRequest(request, { authorizedParties });
}

const org = {
  id: "org_one",
  slug: "one",
  role: "admin",
  features: ["reports"],
  permissions: ["teams:manage", "teams:read", "dashboard:read"],
};

for (const version of ["v1", "v2"]) {
  test(`a good token of ${version} signs its user in, with organisation, role and permissions`, async () => {
    const sub = user();
    const token = await mint({ user: sub, session: `sess_${version}`, version, org, user_features: ["themes", "teams"] });
    const claims = await verify(token);
    assert.equal(claims.sub, sub);
    assert.equal(claims.iss, apiUrl);
    assert.equal(claims.exp - claims.iat, 60);

    const state = await signIn(token);
    assert.equal(state.isAuthenticated, true, state.message);
    const auth = state.toAuth();
    assert.deepEqual(
      { user: auth.userId, session: auth.sessionId, org: auth.orgId, slug: auth.orgSlug, role: auth.orgRole },
      { user: sub, session: `sess_${version}`, org: "org_one", slug: "one", role: "org:admin" },
    );
    assert.deepEqual(
      auth.orgPermissions.toSorted(),
      ["org:dashboard:read", "org:teams:manage", "org:teams:read"],
    );
    assert.equal(auth.has({ permission: "org:teams:manage" }), true);
    assert.equal(auth.has({ permission: "org:dashboard:manage" }), false);
    assert.equal(auth.has({ permission: "org:reports:read" }), false);
    if (version === "v2") {
      assert.equal(auth.has({ feature: "org:reports" }), true);
      assert.equal(auth.has({ feature: "user:themes" }), true);
      assert.equal(auth.has({ feature: "org:themes" }), false);
    }
  });

  test(`a good token of ${version} without an organisation has none`, async () => {
    const auth = (await signIn(await mint({ user: user(), version }))).toAuth();
    assert.deepEqual([auth.orgId, auth.orgRole], [undefined, undefined]);
  });
}

test("a permission whose bit is the seventieth is still read", async () => {
  const names = Array.from({ length: 70 }, (_, index) => `p${index}`);
  const permissions = [...names.map((name) => `all:${name}`), "last:p69"];
  const auth = (await signIn(await mint({ user: user(), org: { id: "org_many", role: "admin", permissions } }))).toAuth();
  assert.equal(auth.orgPermissions.length, 71);
  assert.ok(auth.orgPermissions.includes("org:last:p69"));
  assert.ok(!auth.orgPermissions.includes("org:last:p5"));
});

test("five seconds of skew are allowed, and no ten", async () => {
  const at = (iat_offset_s, lifetime_s = 60) => mint({ user: user(), iat_offset_s, nbf_offset_s: 0, lifetime_s });
  await verify(await at(3));
  await verify(await at(-60, 58));
  await assert.rejects(async () => verify(await at(10)), { reason: "token-not-active-yet" });
  await assert.rejects(async () => verify(await at(-60, 50)), { reason: "token-expired" });
});

// What the vendor's verifier says to each kind; `null` where it does not look, so that AOS must.
const verdicts = {
  expired: "token-expired",
  not_yet_valid: "token-not-active-yet",
  issued_in_future: "token-iat-in-the-future",
  no_exp: "token-verification-failed",
  exp_as_string: "token-verification-failed",
  wrong_issuer: null,
  no_issuer: null,
  wrong_azp: "token-invalid-authorized-parties",
  no_azp: "token-invalid-authorized-parties",
  no_subject: "token-verification-failed",
  duplicate_claims: null,
  org_malformed: null,
  pending: null,
  machine_token: "token-invalid",
  huge: null,
  wrong_key: "token-invalid-signature",
  unknown_kid: "jwk-kid-mismatch",
  no_kid: "jwk-kid-mismatch",
  embedded_jwk: "token-invalid-signature",
  alg_none: "token-invalid-algorithm",
  hs256_with_pem: "token-invalid-algorithm",
  hs256_with_modulus: "token-invalid-algorithm",
  rs512: "token-verification-failed",
  es256: "token-invalid-algorithm",
  tampered_payload: "token-invalid-signature",
  tampered_signature: "token-invalid-signature",
  truncated: "token-invalid-signature",
  extra_dot: "token-invalid",
  base64_padding: null,
};

test("every wrong kind has a verdict", () => {
  assert.deepEqual(Object.keys(verdicts).toSorted(), wrongKinds.toSorted());
});

for (const [wrong, reason] of Object.entries(verdicts)) {
  test(`${wrong} is ${reason ?? "not looked at by the vendor"}`, async () => {
    const token = await mint({ user: user(), org, wrong });
    if (reason === null) {
      await verify(token);
    } else {
      await assert.rejects(verify(token), (error) => error.reason === reason || assert.fail(String(error)));
    }
  });
}

test("an issuer that is asked for is compared", async () => {
  await verify(await mint({ user: user() }), { issuer: apiUrl });
  for (const wrong of ["wrong_issuer", "no_issuer"]) {
    await assert.rejects(async () => verify(await mint({ user: user(), wrong }), { issuer: apiUrl }), {
      reason: "token-invalid-issuer",
    });
  }
});

test("a pending session is not signed in", async () => {
  const state = await signIn(await mint({ user: user(), pending: true }));
  assert.equal(state.toAuth().userId, null);
});

test("the other instance's tokens carry the same kid and are not ours", async () => {
  const token = await mint({ user: user() }, other.apiUrl);
  const kid = (of) => JSON.parse(Buffer.from(of.split(".")[0], "base64url").toString()).kid;
  assert.equal(kid(token), kid(await mint({ user: user() })));
  await assert.rejects(verify(token), { reason: "token-invalid-signature" });
  await verifyToken(token, other);
});

test("sessions are listed and revoked", async () => {
  const userId = user();
  for (const session of ["sess_a", "sess_b", "sess_c"]) {
    await mint({ user: userId, session: `${session}_${userId}`, org: session === "sess_c" ? org : null });
  }
  const sessions = await clerk.sessions.getSessionList({ userId, status: "active" });
  assert.equal(sessions.totalCount, 3);
  assert.deepEqual(sessions.data.map((session) => session.id), ["sess_c", "sess_b", "sess_a"].map((id) => `${id}_${userId}`));
  assert.equal(sessions.data[0].userId, userId);
  assert.equal(sessions.data[0].lastActiveOrganizationId, "org_one");
  assert.ok(sessions.data[0].expireAt > Date.now());

  const revoked = await clerk.sessions.revokeSession(`sess_b_${userId}`);
  assert.equal(revoked.status, "revoked");
  assert.equal((await clerk.sessions.getSession(`sess_b_${userId}`)).status, "revoked");
  assert.equal((await clerk.sessions.getSessionList({ userId, status: "active" })).totalCount, 2);
  assert.equal((await clerk.sessions.getSessionList({ userId, status: "revoked" })).data[0].id, `sess_b_${userId}`);
  const page = await clerk.sessions.getSessionList({ userId, limit: 1, offset: 1 });
  assert.deepEqual([page.totalCount, page.data.length, page.data[0].id], [3, 1, `sess_b_${userId}`]);

  await assert.rejects(clerk.sessions.revokeSession(`sess_b_${userId}`), (error) => {
    assert.deepEqual([error.status, error.errors[0].code], [400, "invalid_action_for_session"]);
    return true;
  });
});

test("users are read", async () => {
  const id = user();
  await mint({ user: id });
  const found = await clerk.users.getUser(id);
  assert.equal(found.id, id);
  assert.match(found.primaryEmailAddress.emailAddress, /@example\.com$/);
});

test("errors are decoded", async () => {
  const failure = (call) => call.then(() => assert.fail("no error"), (error) => error);
  const unknown = await failure(clerk.sessions.revokeSession("sess_nowhere"));
  assert.deepEqual([unknown.status, unknown.errors[0].code], [404, "resource_not_found"]);
  assert.equal(unknown.errors[0].longMessage, "No session was found with id sess_nowhere");
  assert.ok(unknown.clerkTraceId);
  assert.equal((await failure(clerk.users.getUser("user_nowhere"))).status, 404);
  assert.equal((await failure(clerk.sessions.getSessionList())).status, 422);
  const stranger = createClerkClient({ apiUrl, secretKey: `${secretKey}x`, telemetry });
  const refused = await failure(stranger.users.getUser("user_nowhere"));
  assert.deepEqual([refused.status, refused.errors[0].code], [401, "clerk_key_invalid"]);
  await assert.rejects(verify(await mint({ user: user() }), { secretKey: `${secretKey}x` }), {
    reason: "secret-key-invalid",
  });
});

test("too many requests are told when to come again", async () => {
  await post(`${apiUrl}/_control/limit`, { requests: 0 });
  const refused = await clerk.users.getUser("user_nowhere").catch((error) => error);
  await post(`${apiUrl}/_control/limit`, { requests: 1000 });
  assert.deepEqual([refused.status, refused.errors[0].code], [429, "too_many_requests"]);
  assert.ok(refused.retryAfter >= 1 && refused.retryAfter <= 10, String(refused.retryAfter));
});

test("after a rotation new tokens pass, and those of the old key while it is published", async () => {
  const first = await mint({ user: user() });
  await post(`${apiUrl}/_control/rotate`, { rotation: "overlap" });
  const second = await mint({ user: user() });
  await verify(second);
  await verify(first, { skipJwksCache: true });
  await post(`${apiUrl}/_control/rotate`, { rotation: "immediate" });
  await verify(await mint({ user: user() }));
  const keys = (await clerk.jwks.getJwks()).keys;
  assert.equal(keys.length, 1);
});
