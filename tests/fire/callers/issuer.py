"""An identity provider on loopback: a key pair, its public half as JWKS, and tokens good and bad."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "tidemill"


def text_of(data: bytes) -> str:
    """Base64 as tokens have it (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens; `url` is what they name as their issuer."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.url = ""

    def jwks(self) -> dict[str, Any]:
        """The public key as RFC 7517 writes it."""
        numbers = self.key.public_key().public_numbers()
        n, e = (text_of(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": n, "e": e}]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a good token of an operator says; None leaves a claim out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "user-1", "iat": now - 5, "exp": now + 600}
        made = {**good, "scope": "openid tidemill/operate", **changed}
        return {name: value for name, value in made.items() if value is not None}

    def token(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        """A token signed with our key, whatever it says."""
        head = {"alg": "RS256", "typ": "JWT", "kid": "one", **header}
        signed = ".".join(text_of(json.dumps(part).encode()) for part in (head, claims or self.claims()))
        return f"{signed}.{text_of(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def hostile(self) -> dict[str, str]:
        """Tokens that open nothing, by what is wrong with them."""
        now, good = int(time.time()), self.token()
        head, body, signature = good.split(".")
        other = Issuer()
        other.url = self.url
        greater = text_of(json.dumps(self.claims(sub="admin")).encode())
        none = text_of(json.dumps({"alg": "none", "kid": "one"}).encode())
        return {
            "garbage": "garbage",
            "three garbled parts": "a.b.c",
            "no signature": f"{head}.{body}.",
            "alg none": f"{none}.{body}.",
            "alg none with a signature": f"{none}.{body}.{signature}",
            "signed by the public key as a secret": self._confused(),
            "claims exchanged": f"{head}.{greater}.{signature}",
            "forged by another key": other.token(),
            "a key that nobody has": self.token(kid="two"),
            "no key named": self.token(kid=""),
            "expired": self.token(self.claims(exp=now - 60)),
            "not valid yet": self.token(self.claims(nbf=now + 3600)),
            "never ending": self.token(self.claims(exp=None)),
            "another issuer": self.token(self.claims(iss="http://127.0.0.1:1")),
            "another audience": self.token(self.claims(aud="other")),
            "no audience": self.token(self.claims(aud=None)),
        }

    def _confused(self) -> str:
        """HS256 with the public modulus as the secret: what a verifier falls for that lets the token choose."""
        head = {"alg": "HS256", "typ": "JWT", "kid": "one"}
        signed = ".".join(text_of(json.dumps(part).encode()) for part in (head, self.claims()))
        mac = hmac.HMAC(self.jwks()["keys"][0]["n"].encode(), hashes.SHA256())
        mac.update(signed.encode())
        return f"{signed}.{text_of(mac.finalize())}"


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer whose keys can be fetched while the block runs."""
    issuer = Issuer()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks.json"}
            body = json.dumps(issuer.jwks() if self.path.endswith("jwks.json") else found).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
