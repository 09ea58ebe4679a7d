// What the site's page does with oidc-client-ts; the driver calls these one by one.
const users = new oidc.UserManager(settings);

const site = {
  // Leaves the page.
  async signIn() {
    await users.signinRedirect();
  },

  // At the callback: code, ID token and userinfo in one go.
  async finish() {
    const user = await users.signinCallback();
    const { expires_in, scope, profile } = user;
    return { signed_in: true, ...profile, expires_in, scope };
  },

  // With the refresh token, since there is one.
  async refresh() {
    const before = await users.getUser();
    const user = await users.signinSilent();
    return { sub: user.profile.sub, changed: user.access_token !== before.access_token };
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
