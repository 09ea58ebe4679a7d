// oauth4webapi of npm, with a client that has a secret in the Authorization header.
import * as oauth from "oauth4webapi";
import { given, redirectUri, scope, serve, signedOutUri } from "./relying_party.mjs";
import { verifyLogoutToken } from "./logout_token.mjs";

// The loopback has no TLS.
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(given.issuer);
const discovered = await oauth.discoveryRequest(issuer, insecure);
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: given.client_id };
const proof = oauth.ClientSecretBasic(given.client_secret);

async function userinfo(token, sub) {
  const answer = await oauth.userInfoRequest(server, client, token, insecure);
  return oauth.processUserInfoResponse(server, client, sub, answer);
}

let begun;
serve({
  async login() {
    begun = {
      verifier: oauth.generateRandomCodeVerifier(),
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
    };
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: client.client_id,
      redirect_uri: redirectUri,
      response_type: "code",
      scope,
      code_challenge: await oauth.calculatePKCECodeChallenge(begun.verifier),
      code_challenge_method: "S256",
      state: begun.state,
      nonce: begun.nonce,
    });
    return url;
  },
  async callback(url) {
    const params = oauth.validateAuthResponse(server, client, url, begun.state);
    const answer = await oauth.authorizationCodeGrantRequest(
      server, client, proof, params, redirectUri, begun.verifier, insecure,
    );
    const checks = { expectedNonce: begun.nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, checks);
    await oauth.validateApplicationLevelSignature(server, answer, insecure);
    const { sub, sid } = oauth.getValidatedIdTokenClaims(tokens);
    const shown = { ...(await userinfo(tokens.access_token, sub)), expires_in: tokens.expires_in, scope: tokens.scope };
    return { sub, sid, tokens, shown };
  },
  async refresh(session) {
    const { refresh_token } = session.tokens;
    const answer = await oauth.refreshTokenGrantRequest(server, client, proof, refresh_token, insecure);
    const fresh = await oauth.processRefreshTokenResponse(server, client, answer);
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
