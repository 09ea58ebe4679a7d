// openid-client of npm, with a client that proves itself by a signed assertion.
import * as client from "openid-client";
import { given, privateKey, redirectUri, scope, serve, signedOutUri } from "./relying_party.mjs";
import { verifyLogoutToken } from "./logout_token.mjs";

const proof = client.PrivateKeyJwt({ key: await privateKey(), kid: given.kid });
const metadata = { id_token_signed_response_alg: "ES256" };
// The loopback has no TLS.
const options = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(new URL(given.issuer), given.client_id, metadata, proof, options);
// The signature is checked against the published keys although the token comes straight from the provider.
client.enableNonRepudiationChecks(config);

let begun;
serve({
  async login() {
    begun = {
      pkceCodeVerifier: client.randomPKCECodeVerifier(),
      expectedState: client.randomState(),
      expectedNonce: client.randomNonce(),
    };
    return client.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope,
      code_challenge: await client.calculatePKCECodeChallenge(begun.pkceCodeVerifier),
      code_challenge_method: "S256",
      state: begun.expectedState,
      nonce: begun.expectedNonce,
    });
  },
  async callback(url) {
    const tokens = await client.authorizationCodeGrant(config, url, { ...begun, idTokenExpected: true });
    const { sub, sid } = tokens.claims();
    const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub);
    const shown = { ...userinfo, expires_in: tokens.expiresIn(), scope: tokens.scope };
    return { sub, sid, tokens, shown };
  },
  async refresh(session) {
    const fresh = await client.refreshTokenGrant(config, session.tokens.refresh_token);
    const userinfo = await client.fetchUserInfo(config, fresh.access_token, session.sub);
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
