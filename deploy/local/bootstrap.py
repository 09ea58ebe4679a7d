#!/usr/bin/env python3
"""Prints identity's bootstrap file: the first clients with their public keys, and the first staff.

    deploy/local/bootstrap.py KEYS [--base-url URL]... [--results-url URL]... [--second-rp-logout URL] > bootstrap.json

KEYS is the directory that `deploy/local/keys` made. Needs `openssl` and the standard library only.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import subprocess
import sys

OIDC = ["openid", "profile", "email", "offline_access"]
FAN = ["identity.self", "profile.read", "profile.write", "consent.read", "consent.write"]
CAMPAIGNS = ["segmentation.read", "segmentation.write", "segmentation.members", "segmentation.freeze",
             "mailer.template", "mailer.campaign", "mailer.send", "mailer.report", "mailer.admin",
             "crmsync.agreement"]  # the second person of an agreement
OPERATIONS = ["identity.read", "identity.support", "identity.admin", "consent.read", "consent.admin", "profile.read",
              "profile.search", "crmsync.read", "crmsync.preview", "crmsync.plan", "crmsync.activate", "crmsync.apply",
              "crmsync.ledger", "crmsync.agreement", "crmsync.admin",
              "results.read", "results.publish", "results.admin", "portal.content"]
EVERY_API = [f"kotinos.{name}" for name in
             ("identity", "profile", "segmentation", "mailer", "crmsync", "results", "portal")]

# The look of the portal's pages at identity: a wreath that is seen on light and on dark screens.
LOGO = ('<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 32 32"><g fill="none" stroke="#5b8f4a" '
        'stroke-width="4" stroke-linecap="round"><path d="M12 4A12.5 12.5 0 1 0 20 4"/></g></svg>')
THEME = {"accent": "#2f5d27", "accent_dark": "#a9d19a",
         "logo": {"media_type": "image/svg+xml", "data": base64.b64encode(LOGO.encode()).decode()}}

# At the commentators' desk, whose pages are results-feed's.
COMMENTARY = ["results.cis"]

# The staff, and what each of them may do.
STAFF = {"chie@staff.example": CAMPAIGNS, "daniel@staff.example": OPERATIONS, "emma@staff.example": COMMENTARY}


def service(name, audiences, scopes):
    """One of ours that asks others: who may call whom is ARCHITECTURE.md's, which scope is each method's policy."""
    return {"client_id": name, "name": name.capitalize(), "kind": "first_party", "auth": "private_key_jwt",
            "grant_types": ["client_credentials"], "audiences": [f"kotinos.{one}" for one in audiences],
            "scopes": scopes}


def clients(base_urls, results_urls, second_rp_logout):
    """The table of clients; keys are added by `complete`."""
    results = service("results", ["results"], ["openid", *COMMENTARY])
    results["name"] = "Commentators"
    results["grant_types"] = ["authorization_code"]
    results["redirect_uris"] = [f"{url}/results/cis/callback" for url in results_urls]
    results["post_logout_redirect_uris"] = [f"{url}/results/live" for url in results_urls]
    portal = service("portal", ["identity", "profile", "segmentation", "mailer", "results"],
                     OIDC + FAN + ["results.read", "results.subscribe", "segmentation.check"])
    portal["name"] = "My Page"
    portal["theme"] = THEME
    portal["grant_types"] = ["authorization_code", "refresh_token", "client_credentials"]
    portal["redirect_uris"] = [f"{url}/portal/callback" for url in base_urls]
    portal["post_logout_redirect_uris"] = [f"{url}/portal" for url in base_urls]
    portal["post_logout_redirect_uris"] += [f"{url}/portal/" for url in base_urls]
    portal["backchannel_logout_uri"] = f"{base_urls[0]}/portal/backchannel-logout"
    return [
        service("identity", ["profile", "mailer"], ["profile.read", "mailer.transactional"]),
        service("profile", ["identity", "segmentation", "mailer", "crmsync"], ["privacy.export"]),
        service("segmentation", ["profile"], ["profile.read", "profile.schema", "consent.read"]),
        service("mailer", ["segmentation", "profile"],
                ["segmentation.freeze", "segmentation.read", "profile.read", "consent.read", "consent.write"]),
        service("crmsync", ["profile", "segmentation"],
                ["profile.read", "consent.read", "segmentation.read", "segmentation.members", "segmentation.freeze"]),
        results,
        portal,
        {   # staff sign in with it from a terminal; any port of the loopback (RFC 8252 7.3)
            "client_id": "console", "name": "Console", "kind": "first_party", "auth": "none",
            "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["http://127.0.0.1/callback"],
            "audiences": EVERY_API, "scopes": OIDC + ["identity.self"] + sorted({*CAMPAIGNS, *OPERATIONS}),
        },
        {   # another site of the event, which signs out with everybody else
            "client_id": "second-rp", "name": "Ticket shop", "kind": "partner", "auth": "private_key_jwt",
            "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["http://127.0.0.1/callback"],
            "post_logout_redirect_uris": ["http://127.0.0.1/"], "backchannel_logout_uri": second_rp_logout,
            "scopes": OIDC,
        },
        {   # a partner that reads the feed of results, and may have documents sent
            "client_id": "broadcaster", "name": "Broadcaster", "kind": "partner", "auth": "private_key_jwt",
            "grant_types": ["client_credentials"], "audiences": ["kotinos.results"],
            "scopes": ["results.subscribe", "results.deliver"],
        },
    ]


def base64url(data):
    """RFC 7515, section 2: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(pem):
    """The public JWK of a P-256 key (RFC 7518, 6.2); its `kid` is the thumbprint (RFC 7638)."""
    der = subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True).stdout
    # SubjectPublicKeyInfo of P-256 ends with the uncompressed point: 4, x, y.
    if len(der) != 91 or der[26] != 4:
        raise ValueError(f"{pem} is no P-256 key")
    key = {"crv": "P-256", "kty": "EC", "x": base64url(der[27:59]), "y": base64url(der[59:91])}
    thumbprint = hashlib.sha256(json.dumps(key, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**key, "kid": base64url(thumbprint), "alg": "ES256", "use": "sig"}


def complete(client, keys):
    """A client in the form of the file."""
    method = client.pop("auth")
    client["token_endpoint_auth_method"] = method
    if method == "private_key_jwt":
        client["jwks"] = {"keys": [jwk(keys / f"{client['client_id']}.pem")]}
    return client


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", type=pathlib.Path, help="directory of the private keys")
    parser.add_argument("--base-url", action="append", dest="base_urls", metavar="URL",
                        help="where fans reach the portal; may be repeated, the first gets back-channel logouts "
                             "(default: the all-in-one's, then the portal's own port)")
    parser.add_argument("--results-url", action="append", dest="results_urls", metavar="URL",
                        help="where commentators reach results-feed; may be repeated (default: the all-in-one's, then the "
                             "own port of results-feed)")
    parser.add_argument("--second-rp-logout", metavar="URL", help="back-channel logout URI of the second relying party")
    given = parser.parse_args()
    base_urls = given.base_urls or ["http://localhost:8100", "http://localhost:8107"]
    base_urls = [url.rstrip("/") for url in base_urls]
    results_urls = given.results_urls or ["http://localhost:8100", "http://localhost:8106"]
    results_urls = [url.rstrip("/") for url in results_urls]
    table = clients(base_urls, results_urls, given.second_rp_logout)
    file = {"clients": [complete(client, given.keys) for client in table],
            "staff": [{"email": email, "scopes": scopes} for email, scopes in STAFF.items()]}
    json.dump(file, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
