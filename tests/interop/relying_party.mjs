// A relying party's site around one library. Whoever drives it goes to /login, comes back at /callback, and reads as JSON
// what the library saw. One person at a time.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

// What the driver gives: {"issuer", "port", "client_id", "client_secret"?, "key"?, "kid"?, ...}, as one argument.
export const given = JSON.parse(process.argv[2]);
export const base = `http://127.0.0.1:${given.port}`;
export const redirectUri = `${base}/callback`;
export const signedOutUri = `${base}/signed-out`;
export const scope = "openid profile email offline_access";

// The private key of a client that proves itself with one: PKCS#8, base64.
export async function privateKey() {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  return crypto.subtle.importKey("pkcs8", Buffer.from(given.key, "base64"), algorithm, false, ["sign"]);
}

// Tells the driver that it may come.
export function ready() {
  console.log(JSON.stringify({ ready: base }));
}

// Serves a library: login() and logout(session) give a URL, callback(url) a session {sub, sid, ...}, refresh(session) what is
// told of it, ended(token) the claims of a logout token that it checked. `more` adds paths.
export function serve(library, more = {}) {
  let session = null;
  const told = [];
  const state = randomUUID();
  const routes = {
    "GET /login": async () => redirect(await library.login()),
    "GET /callback": async (url) => {
      session = await library.callback(url);
      return redirect(`${base}/me`);
    },
    "GET /me": async () => json(session ? { signed_in: true, sid: session.sid, ...session.shown } : { signed_in: false }),
    "GET /refresh": async () => json(await library.refresh(session)),
    "GET /logout": async () => {
      const leaving = session;
      session = null;
      return redirect(await library.logout(leaving, state));
    },
    "GET /signed-out": async (url) => json({ state_returned: url.searchParams.get("state") === state }),
    "GET /told": async () => json({ told }),
    "POST /backchannel-logout": async (_, body) => {
      const claims = await library.ended(new URLSearchParams(body).get("logout_token"));
      told.push(claims);
      if (session?.sid === claims.sid) session = null;
      return { status: 200, headers: { "cache-control": "no-store" } };
    },
    ...more,
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, base);
    let answer = { status: 404 };
    try {
      let body = "";
      for await (const part of request) body += part;
      const route = routes[`${request.method} ${url.pathname}`];
      if (route) answer = await route(url, body);
    } catch (error) {
      console.error(error);
      const { status, error: code, error_description } = error.cause ?? {};
      answer = { ...json({ failed: `${error}`, cause: { status, code, error_description } }), status: 500 };
    }
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  server.listen(given.port, "127.0.0.1", ready);
}

export function json(value) {
  return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

function redirect(url) {
  return { status: 303, headers: { location: `${url}` } };
}
