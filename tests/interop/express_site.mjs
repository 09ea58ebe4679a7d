// A whole express application behind express-openid-connect, which does everything by itself, back-channel logout as well.
import { randomBytes } from "node:crypto";
import express from "express";
import oidc from "express-openid-connect";
import { base, given, ready, scope } from "./relying_party.mjs";

// Sessions that the provider says are over, in the form of express-session's stores.
const ended = new Map();
const store = {
  get: (key, done) => done(null, ended.get(key)),
  set(key, value, done) {
    ended.set(key, value);
    done(null);
  },
  destroy(key, done) {
    ended.delete(key);
    done(null);
  },
};

const app = express();
app.use(oidc.auth({
  issuerBaseURL: given.issuer,
  baseURL: base,
  clientID: given.client_id,
  clientSecret: given.client_secret,
  clientAuthMethod: "client_secret_post",
  idTokenSigningAlg: "ES256",
  secret: randomBytes(32).toString("hex"),
  authRequired: false,
  idpLogout: true,
  authorizationParams: { response_type: "code", scope },
  routes: { backchannelLogout: "/backchannel-logout", postLogoutRedirect: "/signed-out" },
  backchannelLogout: { store },
}));

app.get("/", (_, response) => response.redirect("/me"));
app.get("/me", async (request, response) => {
  if (!request.oidc.isAuthenticated()) return response.json({ signed_in: false });
  const userinfo = await request.oidc.fetchUserInfo();
  const { access_token, expires_in } = request.oidc.accessToken;
  // The library keeps no scope; the token says what was granted.
  const { scope: granted } = JSON.parse(Buffer.from(access_token.split(".")[1], "base64url"));
  response.json({ signed_in: true, ...userinfo, sid: request.oidc.user.sid, expires_in, scope: granted });
});
app.get("/refresh", async (request, response) => {
  const before = request.oidc.accessToken.access_token;
  const { access_token } = await request.oidc.accessToken.refresh();
  const { sub } = await request.oidc.fetchUserInfo();
  response.json({ sub, changed: access_token !== before });
});
app.get("/signed-out", (_, response) => response.json({}));
// A key is `iss|sid` or `iss|sub`.
app.get("/told", (_, response) => {
  const told = [...ended.keys()].map((key) => ({ sid: key.split("|")[1] }));
  response.json({ told });
});
app.use((error, _request, response, _next) => {
  console.error(error);
  response.status(500).json({ failed: `${error}`, cause: error.error_description });
});
app.listen(given.port, "127.0.0.1", ready);
