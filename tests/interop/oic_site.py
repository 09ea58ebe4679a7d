"""oic of PyPI, with a secret in the body; or one that registers itself. The library checks logout tokens itself."""

import secrets

import flask
from oic.oic import Client
from oic.oic.message import AuthorizationResponse, BackChannelLogoutRequest, RegistrationResponse
from oic.utils.authn.client import CLIENT_AUTHN_METHOD

from relying_party import SCOPES, base, given, redirect_uri, serve, signed_out_uri

AUTHENTICATION = "client_secret_post"


class Library:
    """The library, as the site calls it."""

    def __init__(self):
        pkce = {"code_challenge": {"length": 64, "method": "S256"}}
        self.client = Client(client_authn_method=CLIENT_AUTHN_METHOD, config=pkce)
        # It also checks that the metadata are the issuer's.
        self.client.provider_config(given["issuer"])
        metadata = {
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": AUTHENTICATION,
            "id_token_signed_response_alg": "ES256",
        }
        if "initial_access_token" in given:
            self.register(metadata)
        else:
            known = {"client_id": given["client_id"], "client_secret": given["client_secret"]}
            self.client.store_registration_info(RegistrationResponse(**metadata, **known))
        self.state = self.verifier = None

    def register(self, metadata):
        """RFC 7591, with an initial access token."""
        request = self.client.create_registration_request(
            client_name="Shop that registered itself",
            # A web client's addresses are https; these are on the loopback.
            application_type="native",
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            post_logout_redirect_uris=[signed_out_uri],
            backchannel_logout_uri=f"{base}/backchannel-logout",
            **metadata,
        )
        request["scope"] = " ".join(SCOPES)
        # Client.register would wrap the token in base64 (it takes it for a JWT or for something to be hidden).
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {given['initial_access_token']}",
        }
        url = self.client.provider_info["registration_endpoint"]
        answer = self.client.http_request(url, "POST", data=request.to_json(), headers=headers)
        answer = self.client.handle_registration_info(answer)
        given["client_id"] = answer["client_id"]

    def login(self):
        self.state = secrets.token_urlsafe(16)
        challenge, self.verifier = self.client.add_code_challenge()
        args = {
            "client_id": given["client_id"],
            "response_type": "code",
            "scope": SCOPES,
            "redirect_uri": redirect_uri,
            "state": self.state,
            "nonce": secrets.token_urlsafe(16),
            **challenge,
        }
        # Keeps the nonce, which it compares later.
        url, _, _, _ = self.client.authorization_request_info(request_args=args)
        return flask.redirect(url, 303)

    def callback(self):
        query = flask.request.query_string.decode()
        answer = self.client.parse_response(AuthorizationResponse, info=query, sformat="urlencoded")
        assert answer["state"] == self.state, "an answer to something else"
        args = {"code": answer["code"], "redirect_uri": redirect_uri, "code_verifier": self.verifier}
        tokens = self.client.do_access_token_request(
            state=self.state, request_args=args, authn_method=AUTHENTICATION
        )
        assert "error" not in tokens, tokens.to_dict()
        claims = tokens["id_token"]
        userinfo = self.client.do_user_info_request(state=self.state)
        assert userinfo["sub"] == claims["sub"], "userinfo is of somebody else"
        shown = {**userinfo.to_dict(), "expires_in": tokens["expires_in"], "scope": " ".join(tokens["scope"])}
        return {"sub": claims["sub"], "sid": claims["sid"], "tokens": tokens, "shown": shown}

    def refresh(self, session):
        before = session["tokens"]["access_token"]
        fresh = self.client.do_access_token_refresh(state=self.state, authn_method=AUTHENTICATION)
        assert "error" not in fresh, fresh.to_dict()
        userinfo = self.client.do_user_info_request(state=self.state)
        return {"sub": userinfo["sub"], "changed": fresh["access_token"] != before}

    def logout(self, session, state):
        hint = session["tokens"]["id_token"].jwt
        args = {"post_logout_redirect_uri": signed_out_uri, "state": state, "id_token_hint": hint}
        request = self.client.construct_EndSessionRequest(request_args=args)
        return flask.redirect(request.request(self.client.end_session_endpoint), 303)

    def ended(self, token):
        request = BackChannelLogoutRequest(logout_token=token)
        request.verify(keyjar=self.client.keyjar, iss=given["issuer"], aud=given["client_id"], sigalg="ES256")
        return request["logout_token"].to_dict()


serve(Library())
