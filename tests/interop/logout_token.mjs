// Checks a logout token (OpenID Connect Back-Channel Logout 1.0, 2.6) with jose, for libraries that leave it to the site.
import { createRemoteJWKSet, jwtVerify } from "jose";
import { given } from "./relying_party.mjs";

const EVENT = "http://schemas.openid.net/event/backchannel-logout";

export async function verifyLogoutToken(token, jwksUri) {
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwksUri)), {
    issuer: given.issuer,
    audience: given.client_id,
    typ: "logout+jwt",
    requiredClaims: ["iat", "exp", "jti", "events"],
    maxTokenAge: "5 minutes",
  });
  if (typeof payload.events[EVENT] !== "object") throw new Error("no logout event");
  if ("nonce" in payload) throw new Error("a logout token has no nonce");
  if (!payload.sid && !payload.sub) throw new Error("neither sid nor sub");
  return payload;
}
