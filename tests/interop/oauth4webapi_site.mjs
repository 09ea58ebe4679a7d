// oauth4webapi of npm: a client with a secret in the Authorization header; or, under the FAPI 2.0 Security Profile, one with
// a signed assertion, pushed requests and tokens bound by DPoP.
import * as oauth from "oauth4webapi";
import { given, privateKey, redirectUri, scope, serve, signedOutUri } from "./relying_party.mjs";
import { verifyLogoutToken } from "./logout_token.mjs";

// The loopback has no TLS.
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(given.issuer);
const discovered = await oauth.discoveryRequest(issuer, insecure);
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: given.client_id };
const fapi2 = given.profile === "fapi2";
const proof = fapi2
  ? oauth.PrivateKeyJwt({ key: await privateKey(), kid: given.kid })
  : oauth.ClientSecretBasic(given.client_secret);
const DPoP = fapi2 ? oauth.DPoP(client, await oauth.generateKeyPair("ES256")) : undefined;
const options = { ...insecure, DPoP };

// A first request learns the nonce, the second one has it (RFC 9449 8).
async function withNonce(ask) {
  try {
    return await ask();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return ask();
  }
}

function userinfo(token, sub) {
  return withNonce(async () => {
    const answer = await oauth.userInfoRequest(server, client, token, options);
    return oauth.processUserInfoResponse(server, client, sub, answer);
  });
}

async function pushed(params) {
  const { request_uri } = await withNonce(async () => {
    const answer = await oauth.pushedAuthorizationRequest(server, client, proof, params, options);
    return oauth.processPushedAuthorizationResponse(server, client, answer);
  });
  return { client_id: client.client_id, request_uri };
}

let begun;
serve({
  async login() {
    begun = {
      verifier: oauth.generateRandomCodeVerifier(),
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
    };
    const params = {
      client_id: client.client_id,
      redirect_uri: redirectUri,
      response_type: "code",
      scope,
      code_challenge: await oauth.calculatePKCECodeChallenge(begun.verifier),
      code_challenge_method: "S256",
      state: begun.state,
      nonce: begun.nonce,
    };
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams(fapi2 ? await pushed(params) : params);
    return url;
  },
  async callback(url) {
    const params = oauth.validateAuthResponse(server, client, url, begun.state);
    const checks = { expectedNonce: begun.nonce, requireIdToken: true };
    let answer;
    const tokens = await withNonce(async () => {
      answer = await oauth.authorizationCodeGrantRequest(
        server, client, proof, params, redirectUri, begun.verifier, options,
      );
      return oauth.processAuthorizationCodeResponse(server, client, answer, checks);
    });
    await oauth.validateApplicationLevelSignature(server, answer, insecure);
    const { sub, sid } = oauth.getValidatedIdTokenClaims(tokens);
    const { access_token, expires_in, token_type } = tokens;
    const shown = { ...(await userinfo(access_token, sub)), expires_in, scope: tokens.scope, token_type };
    return { sub, sid, tokens, shown };
  },
  async refresh(session) {
    const fresh = await withNonce(async () => {
      const { refresh_token } = session.tokens;
      const answer = await oauth.refreshTokenGrantRequest(server, client, proof, refresh_token, options);
      return oauth.processRefreshTokenResponse(server, client, answer);
    });
    const told = await userinfo(fresh.access_token, session.sub);
    return { sub: told.sub, changed: fresh.access_token !== session.tokens.access_token };
  },
  logout(session, state) {
    const url = new URL(server.end_session_endpoint);
    const { id_token } = session.tokens;
    url.search = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: signedOutUri, state });
    return url;
  },
  ended: (token) => verifyLogoutToken(token, server.jwks_uri),
});
