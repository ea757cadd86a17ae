"""A company's identity provider: it has keys, shows the public ones, and signs what a test asks for."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://login.example"
AUDIENCE = "regulars"


class IdentityProvider:
    """``with IdentityProvider() as idp``: ``idp.settings`` are what a service needs to trust it."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rsa-1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ec-1": ec.generate_private_key(ec.SECP256R1()),
            "ed-1": ed25519.Ed25519PrivateKey.generate(),
        }
        self.shown = set(self.keys)
        self.asked = 0
        self.away = False

    @property
    def settings(self) -> dict[str, str]:
        return {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwks_url": f"{self._url}/jwks.json"}

    def key_set(self) -> dict[str, Any]:
        kinds = {
            "rsa": jwt.algorithms.RSAAlgorithm,
            "ec": jwt.algorithms.ECAlgorithm,
            "ed": jwt.algorithms.OKPAlgorithm,
        }
        shown = []
        for name in sorted(self.shown):
            entry = kinds[name[:2].replace("rs", "rsa")].to_jwk(self.keys[name].public_key(), as_dict=True)
            shown.append({**entry, "kid": name, "use": "sig"})
        # What a careless provider might show: a shared secret is never a key to us.
        return {
            "keys": [
                *shown,
                {"kty": "oct", "kid": "oct-1", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw"},
            ]
        }

    def public_pem(self, name: str) -> bytes:
        return (
            self.keys[name]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def token(
        self,
        scope: str = "*",
        *,
        key: Any = "rsa-1",
        algorithm: str = "RS256",
        headers: Any = None,
        **claims: Any,
    ) -> str:
        """A token that is good for an hour; a claim given as None is left out."""
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "someone@example.com",
            "iat": now,
            "exp": now + 3600,
            "scope": scope,
        }
        said = {name: value for name, value in (said | claims).items() if value is not None}
        kid = {"kid": key} if isinstance(key, str) else {}
        signing = self.keys[key] if isinstance(key, str) else key
        return jwt.encode(said, signing, algorithm=algorithm, headers={**kid, **(headers or {})})

    def __enter__(self) -> Self:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                if provider.away:
                    self.send_error(503)
                    return
                body = json.dumps(provider.key_set()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def forgeries(provider: IdentityProvider, **claims: Any) -> dict[str, str]:
    """Tokens that look right and are not, by what is wrong with them."""
    import base64

    def unsigned(header: dict[str, Any]) -> str:
        good = provider.token(**claims).split(".")
        head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        return f"{head}.{good[1]}."

    def hs_with(secret: bytes, kid: Any) -> str:
        import hashlib
        import hmac

        good = provider.token(**claims).split(".")
        head = {"alg": "HS256", "typ": "JWT", "kid": kid}
        signed = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode() + "." + good[1]
        tag = hmac.digest(secret, signed.encode(), hashlib.sha256)
        return signed + "." + base64.urlsafe_b64encode(tag).rstrip(b"=").decode()

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = {**jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True), "kid": "mine"}
    good = provider.token(**claims).split(".")
    past = int(time.time()) - 3600
    return {
        "alg none": unsigned({"alg": "none", "typ": "JWT", "kid": "rsa-1"}),
        "alg None": unsigned({"alg": "None", "typ": "JWT", "kid": "rsa-1"}),
        "no alg": unsigned({"typ": "JWT", "kid": "rsa-1"}),
        "HS with the public key": hs_with(provider.public_pem("rsa-1"), "rsa-1"),
        "HS with the shown secret": hs_with(b"secret-secret-secret-secret-123", "oct-1"),
        "HS with an empty secret": hs_with(b"", "/dev/null"),
        "another's signature": provider.token(key=stranger, headers={"kid": "rsa-1"}, **claims),
        "key in the header": provider.token(key=stranger, headers={"kid": "mine", "jwk": own}, **claims),
        "key set in the header": provider.token(
            key=stranger, headers={"kid": "mine", "jku": f"{provider._url}/x"}, **claims
        ),
        "kid of a file": provider.token(key=stranger, headers={"kid": "../../../../dev/null"}, **claims),
        "kid of a query": provider.token(key=stranger, headers={"kid": "x' union select 'secret"}, **claims),
        "unknown kid": provider.token(key=stranger, headers={"kid": "rsa-2"}, **claims),
        "no kid": provider.token(key=provider.keys["rsa-1"], **claims),
        "wrong algorithm of the key": provider.token(
            key=provider.keys["rsa-1"], algorithm="RS256", headers={"kid": "ec-1"}, **claims
        ),
        "expired": provider.token(exp=past, **claims),
        "no expiry": provider.token(exp=None, **claims),
        "not yet": provider.token(nbf=int(time.time()) + 3600, **claims),
        "wrong audience": provider.token(aud="another", **claims),
        "no audience": provider.token(aud=None, **claims),
        "wrong issuer": provider.token(iss="https://evil.example", **claims),
        "no issuer": provider.token(iss=None, **claims),
        "changed after signing": ".".join(
            [good[0], provider.token(**(claims | {"sub": "other"})).split(".")[1], good[2]]
        ),
        "no signature": ".".join([*good[:2], ""]),
        "not a token": "a.b.c",
        "empty parts": "..",
    }
