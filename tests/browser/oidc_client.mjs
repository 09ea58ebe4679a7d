// Signs in at identity with a library that knows nothing of it: openid-client. The test that starts this program goes
// through identity's pages in its place. One line of JSON for one question: {"visit": url} is answered by {"ended": url}.
//
//   node oidc_client.mjs '{"issuer", "client_id", "redirect_uri", "scope", "key"?, "kid"?, "post_logout_redirect_uri"?}'
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

// Node 18 keeps them in a module.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
const client = await import("openid-client");

const given = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function visit(url) {
  console.log(JSON.stringify({ visit: url.href }));
  const { value, done } = await answers.next();
  if (done) throw new Error("nobody goes there");
  return new URL(JSON.parse(value).ended);
}

async function authentication() {
  if (!given.key) return client.None();
  const der = Buffer.from(given.key.replace(/-----[^-]+-----|\s/g, ""), "base64");
  const key = await crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  return client.PrivateKeyJwt({ key, kid: given.kid });
}

const metadata = { id_token_signed_response_alg: "ES256" };
const config = await client.discovery(new URL(given.issuer), given.client_id, metadata, await authentication(), {
  // The loopback has no TLS.
  execute: [client.allowInsecureRequests],
});
// The signature is checked against the published keys although the token comes straight from the provider.
client.enableNonRepudiationChecks(config);

async function signIn(more) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: given.redirect_uri,
    scope: given.scope,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    state: expectedState,
    nonce: expectedNonce,
    ...more,
  });
  const ended = await visit(url);
  return client.authorizationCodeGrant(config, ended, { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true });
}

const tokens = await signIn({});
const claims = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
const again = await client.fetchUserInfo(config, refreshed.access_token, claims.sub);
// With the session that is there nobody is asked again.
const silent = (await signIn({ prompt: "none" })).claims();
const logout = client.buildEndSessionUrl(config, {
  id_token_hint: tokens.id_token,
  ...(given.post_logout_redirect_uri && { post_logout_redirect_uri: given.post_logout_redirect_uri, state: "bye" }),
});
const ended = await visit(logout);
// The session is over: what may not ask anybody has to fail.
const refused = await signIn({ prompt: "none" }).then(() => "nothing", (error) => error.error ?? String(error));

console.log(JSON.stringify({
  done: {
    alg: config.serverMetadata().id_token_signing_alg_values_supported,
    sub: claims.sub,
    email: userinfo.email,
    email_verified: userinfo.email_verified,
    same_user: again.sub === claims.sub && silent.sub === claims.sub && userinfo.sub === claims.sub,
    refreshed: refreshed.access_token !== tokens.access_token,
    ended: ended.href,
    refused,
  },
}));
process.exit(0);
