// openid-client of npm: a client that proves itself by a signed assertion; under the FAPI 2.0 Security Profile with pushed
// requests and tokens bound by DPoP as well; or one that registers itself (RFC 7591) and gets a secret.
import * as client from "openid-client";
import { base, given, privateKey, redirectUri, scope, serve, signedOutUri } from "./relying_party.mjs";
import { verifyLogoutToken } from "./logout_token.mjs";

// The loopback has no TLS.
const execute = [client.allowInsecureRequests];
const issuer = new URL(given.issuer);

async function configured() {
  if (given.initial_access_token) {
    const metadata = {
      client_name: "Shop that registered itself",
      // A web client's addresses are https; these are on the loopback.
      application_type: "native",
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [signedOutUri],
      backchannel_logout_uri: `${base}/backchannel-logout`,
      backchannel_logout_session_required: true,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      // What the library does unless it is told otherwise.
      token_endpoint_auth_method: "client_secret_post",
      id_token_signed_response_alg: "ES256",
      scope,
    };
    const { initial_access_token: initialAccessToken } = given;
    const config = await client.dynamicClientRegistration(issuer, metadata, undefined, { initialAccessToken, execute });
    given.client_id = config.clientMetadata().client_id;
    return config;
  }
  const proof = client.PrivateKeyJwt({ key: await privateKey(), kid: given.kid });
  return client.discovery(issuer, given.client_id, { id_token_signed_response_alg: "ES256" }, proof, { execute });
}

const config = await configured();
// The signature is checked against the published keys although the token comes straight from the provider.
client.enableNonRepudiationChecks(config);
const fapi2 = given.profile === "fapi2";
// It learns the provider's nonces by itself.
const DPoP = fapi2 ? client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256")) : undefined;

let begun;
serve({
  async login() {
    begun = {
      pkceCodeVerifier: client.randomPKCECodeVerifier(),
      expectedState: client.randomState(),
      expectedNonce: client.randomNonce(),
    };
    const params = {
      redirect_uri: redirectUri,
      scope,
      code_challenge: await client.calculatePKCECodeChallenge(begun.pkceCodeVerifier),
      code_challenge_method: "S256",
      state: begun.expectedState,
      nonce: begun.expectedNonce,
    };
    if (fapi2) return client.buildAuthorizationUrlWithPAR(config, params, { DPoP });
    return client.buildAuthorizationUrl(config, params);
  },
  async callback(url) {
    const checks = { ...begun, idTokenExpected: true };
    const tokens = await client.authorizationCodeGrant(config, url, checks, undefined, { DPoP });
    const { sub, sid } = tokens.claims();
    const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub, { DPoP });
    const shown = { ...userinfo, expires_in: tokens.expiresIn(), scope: tokens.scope, token_type: tokens.token_type };
    if (fapi2) {
      // Without the key the token is worth nothing.
      const asked = client.fetchUserInfo(config, tokens.access_token, sub);
      shown.without_proof = await asked.then(() => 200, (error) => error.status ?? error.cause?.status ?? `${error}`);
    }
    return { sub, sid, tokens, shown };
  },
  async refresh(session) {
    const fresh = await client.refreshTokenGrant(config, session.tokens.refresh_token, undefined, { DPoP });
    const userinfo = await client.fetchUserInfo(config, fresh.access_token, session.sub, { DPoP });
    const { active } = await client.tokenIntrospection(config, fresh.access_token);
    await client.tokenRevocation(config, fresh.access_token);
    const after = await client.tokenIntrospection(config, fresh.access_token);
    const changed = fresh.access_token !== session.tokens.access_token;
    return { sub: userinfo.sub, changed, active, active_after_revocation: after.active };
  },
  logout(session, state) {
    const id_token_hint = session.tokens.id_token;
    return client.buildEndSessionUrl(config, { id_token_hint, post_logout_redirect_uri: signedOutUri, state });
  },
  ended: (token) => verifyLogoutToken(token, config.serverMetadata().jwks_uri),
});
