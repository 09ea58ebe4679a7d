// What the site's page does with oidc-client-ts; the driver calls these one by one.
if (bound) settings.dpop = { store: new oidc.IndexedDbDPoPStore() };
const users = new oidc.UserManager(settings);

// What the library does not ask by itself, the page does with the library's proof: first without our nonce, then with it.
async function asked(url, user, method, request) {
  const ask = async (nonce) => {
    const dpop = bound ? { dpop: await users.dpopProof(url, user, method, nonce) } : {};
    return fetch(url, { ...request, method, headers: { ...request.headers, ...dpop } });
  };
  const first = await ask();
  const nonce = first.headers.get("dpop-nonce");
  const answer = first.ok || !nonce ? first : await ask(nonce);
  return answer.json();
}

async function userinfo(user) {
  const url = await users.metadataService.getUserInfoEndpoint();
  return asked(url, user, "GET", { headers: { authorization: `DPoP ${user.access_token}` } });
}

const site = {
  // Leaves the page.
  async signIn() {
    await users.signinRedirect();
  },

  // At the callback: code, ID token and userinfo in one go.
  async finish() {
    const user = await users.signinCallback();
    const { expires_in, scope, profile, token_type } = user;
    const more = bound ? await userinfo(user) : {};
    return { signed_in: true, ...profile, ...more, expires_in, scope, token_type };
  },

  // With the refresh token, since there is one.
  async refresh() {
    const before = await users.getUser();
    const user = await users.signinSilent();
    return { sub: user.profile.sub, changed: user.access_token !== before.access_token };
  },

  // What the page gives back is worth nothing any more.
  async revoke() {
    const user = await users.getUser();
    const { refresh_token } = user;
    await users.revokeTokens(["refresh_token"]);
    const body = new URLSearchParams({ grant_type: "refresh_token", client_id: settings.client_id, refresh_token });
    return (await asked(await users.metadataService.getTokenEndpoint(), user, "POST", { body })).error;
  },

  // Leaves the page.
  async signOut() {
    await users.signoutRedirect();
  },

  // Leaves the page. Nobody is asked, so nobody can be signed in.
  async trySilently() {
    await users.signinRedirect({ prompt: "none" });
  },

  // Back from that: why not.
  async refusal() {
    return users.signinCallback().then(() => "nothing", (error) => error.error ?? String(error));
  },
};
