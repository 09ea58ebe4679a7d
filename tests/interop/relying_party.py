"""A relying party's site around one library, as relying_party.mjs is in JavaScript: whoever drives it goes to /login, comes
back at /callback, and reads as JSON what the library saw. One person at a time."""

import json
import logging
import secrets
import sys
import traceback

import flask
from werkzeug.serving import make_server

# What the driver gives: {"issuer", "port", "client_id", "client_secret", ...}, as one argument.
given = json.loads(sys.argv[1])
base = f"http://127.0.0.1:{given['port']}"
redirect_uri = f"{base}/callback"
signed_out_uri = f"{base}/signed-out"
SCOPES = ["openid", "profile", "email", "offline_access"]

logging.basicConfig(stream=sys.stderr, level=logging.INFO)
app = flask.Flask(__name__)
app.secret_key = secrets.token_bytes(32)


class Site:
    """The one session, and the logout tokens that came."""

    def __init__(self):
        self.session = None
        self.told = []
        self.state = secrets.token_urlsafe(16)


def serve(library):
    """Serves a library: login() gives a response, callback() a session {"sub", "sid", "shown", ...}, refresh(session) what is
    told of it, logout(session, state) a response, ended(token) the claims of a logout token that it checked."""
    site = Site()

    @app.get("/login")
    def login():
        return library.login()

    @app.get("/callback")
    def callback():
        site.session = library.callback()
        return flask.redirect(f"{base}/me", 303)

    @app.get("/me")
    def me():
        if site.session is None:
            return {"signed_in": False}
        return {"signed_in": True, "sid": site.session["sid"], **site.session["shown"]}

    @app.get("/refresh")
    def refresh():
        return library.refresh(site.session)

    @app.get("/logout")
    def logout():
        leaving, site.session = site.session, None
        return library.logout(leaving, site.state)

    @app.get("/signed-out")
    def signed_out():
        return {"state_returned": flask.request.args.get("state") == site.state}

    @app.get("/told")
    def told():
        return {"told": site.told}

    @app.post("/backchannel-logout")
    def backchannel_logout():
        claims = library.ended(flask.request.form["logout_token"])
        site.told.append(claims)
        if site.session is not None and site.session["sid"] == claims["sid"]:
            site.session = None
        return "", 200

    @app.errorhandler(Exception)
    def failed(error):
        traceback.print_exception(error)
        return {"failed": repr(error)}, 500

    # Bound before the driver is told to come.
    server = make_server("127.0.0.1", given["port"], app, threaded=True)
    print(json.dumps({"ready": base}), flush=True)
    server.serve_forever()
