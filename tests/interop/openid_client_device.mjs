// openid-client of npm on a device without a browser (RFC 8628): it shows a code, and asks until its user has decided.
import * as client from "openid-client";
import { given, scope } from "./relying_party.mjs";

const options = { execute: [client.allowInsecureRequests] };
const metadata = { id_token_signed_response_alg: "ES256" };
const config = await client.discovery(new URL(given.issuer), given.client_id, metadata, client.None(), options);
client.enableNonRepudiationChecks(config);

// Shows a code, waits, and tells what came of it.
async function once() {
  const shown = await client.initiateDeviceAuthorization(config, { scope });
  console.log(JSON.stringify({ shown }));
  return client.pollDeviceAuthorizationGrant(config, shown);
}

const tokens = await once();
const { sub } = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub);
const fresh = await client.refreshTokenGrant(config, tokens.refresh_token);
const again = await client.fetchUserInfo(config, fresh.access_token, sub);
const me = { signed_in: true, ...userinfo, expires_in: tokens.expiresIn(), scope: tokens.scope };
const refreshed = { sub: again.sub, changed: fresh.access_token !== tokens.access_token };
// The second time its user says no.
const refused = await once().then(() => "nothing", (error) => error.error ?? String(error));
console.log(JSON.stringify({ done: { me, refreshed, refused } }));
process.exit(0);
