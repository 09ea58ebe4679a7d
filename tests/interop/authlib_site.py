"""Authlib of PyPI: its Flask integration, with a secret in the Authorization header."""

import time

from authlib.integrations.flask_client import OAuth
from joserfc import jwt
from joserfc.jwk import KeySet

from relying_party import SCOPES, app, given, redirect_uri, serve, signed_out_uri

EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Library:
    """The library, as the site calls it."""

    def __init__(self):
        self.refreshed = None
        self.provider = OAuth(app).register(
            "identity",
            client_id=given["client_id"],
            client_secret=given["client_secret"],
            server_metadata_url=f"{given['issuer']}/.well-known/openid-configuration",
            client_kwargs={"scope": " ".join(SCOPES), "code_challenge_method": "S256"},
            update_token=self.keep,
        )

    def keep(self, token, refresh_token=None, access_token=None):
        """Called by the library when it has refreshed."""
        self.refreshed = token

    def login(self):
        return self.provider.authorize_redirect(redirect_uri)

    def callback(self):
        token = self.provider.authorize_access_token()
        claims = token["userinfo"]
        userinfo = self.provider.userinfo(token=token)
        assert userinfo["sub"] == claims["sub"], "userinfo is of somebody else"
        shown = {**userinfo, "expires_in": token["expires_in"], "scope": token["scope"]}
        return {"sub": claims["sub"], "sid": claims["sid"], "token": token, "shown": shown}

    def refresh(self, session):
        # The library refreshes by itself what it takes for stale.
        stale = {**session["token"], "expires_at": int(time.time()) - 1}
        userinfo = self.provider.userinfo(token=stale)
        changed = self.refreshed["access_token"] != stale["access_token"]
        return {"sub": userinfo["sub"], "changed": changed}

    def logout(self, session, state):
        hint = session["token"]["id_token"]
        return self.provider.logout_redirect(signed_out_uri, id_token_hint=hint, state=state)

    def ended(self, token):
        keys = KeySet.import_key_set(self.provider.fetch_jwk_set(force=True))
        claims = jwt.decode(token, keys, algorithms=["ES256"]).claims
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": given["issuer"]},
            aud={"essential": True, "value": given["client_id"]},
            jti={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
        assert isinstance(claims["events"][EVENT], dict) and "nonce" not in claims, "no logout token"
        return claims


serve(Library())
