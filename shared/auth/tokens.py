"""JWTs of the company's identity provider: who its staff and its customers are."""

import hashlib
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import jwt
import structlog

from shared.auth.callers import Caller, Reach
from shared.errors import Unauthenticated
from shared.settings import Settings

# Asymmetric only, each bound to the kind of key it belongs to: a public key is never taken for a shared secret.
ALGORITHMS: Mapping[str, str] = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "EdDSA": "OKP",
}  # fmt: skip
FRESH_FOR = 600.0
"""Seconds after which the key set is asked for again."""
TRUST_FOR = 86_400.0
"""Seconds for which the last key set is used when the identity provider does not answer."""
ASK_EVERY = 10.0
"""Seconds between two looks at the key set, whatever key ids arrive."""
LEEWAY = 30.0
"""Seconds by which the clocks of the identity provider and ours may differ."""

log = structlog.get_logger(__name__)


class Tokens:
    """Verifies tokens against the identity provider's key set (JWKS), kept in memory."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._url = settings.jwks_url
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._seen_at = self._asked_at = float("-inf")
        self._asking = threading.Lock()

    @property
    def configured(self) -> bool:
        return bool(self._issuer and self._audience and self._url)

    def knows(self, token: str) -> bool:
        """Whether ``verify`` will do without asking the identity provider; cheap."""
        if not self.configured or time.monotonic() - self._asked_at < ASK_EVERY:
            return True
        return time.monotonic() - self._seen_at < FRESH_FOR and _key_id(token) in self._keys

    def verify(self, token: str) -> Caller:
        """The caller whose token this is. Raises Unauthenticated. May block (up to 3 s) unless ``knows(token)``."""
        if not self.configured:
            raise _refused("tokens are not accepted here: no identity provider is configured")
        if not self.knows(token):
            self._ask()
        if time.monotonic() - self._seen_at > TRUST_FOR:
            raise _refused("the identity provider's keys are not known")
        key = self._keys.get(_key_id(token) or "")
        if key is None:
            raise _refused("the token names no key of the identity provider")
        return self._caller(self._claims(token, key))

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if not isinstance(algorithm, str) or ALGORITHMS.get(algorithm) != key.key_type:
                raise _refused("the token's algorithm is not accepted")
            if key.algorithm_name != algorithm and key._jwk_data.get("alg"):
                raise _refused("the token's algorithm is not that of its key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"], "verify_sub": True},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("the token has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            raise _refused("the token is not valid here") from None
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        # The subject may be someone's address: only a hash of it is kept.
        subject = hashlib.sha256(f"{claims['iss']}\0{claims['sub']}".encode()).hexdigest()[:32]
        customer_id = None
        if "customer_id" in claims:
            try:
                customer_id = UUID(claims["customer_id"])
            except (ValueError, TypeError, AttributeError):
                raise _refused("the token's customer_id is not a UUID") from None
        return Caller("token", f"token:{subject}", _scopes(claims), customer_id, _reach(claims))

    def _ask(self) -> None:
        with self._asking:
            if time.monotonic() - self._asked_at < ASK_EVERY:
                return
            assert self._url is not None
            try:
                reply = httpx.get(self._url, timeout=httpx.Timeout(3.0, connect=1.0))
                reply.raise_for_status()
                self._keys = _usable(reply.json())
                self._seen_at = time.monotonic()
            except (httpx.HTTPError, ValueError) as error:
                log.warning("key_set_unavailable", error=type(error).__name__)
            finally:
                # Not before: whoever comes meanwhile waits for the answer instead of going without.
                self._asked_at = time.monotonic()


def _usable(key_set: Any) -> dict[str, jwt.PyJWK]:
    """The public signing keys by id; symmetric, unnamed and unknown kinds are left out."""
    found: dict[str, jwt.PyJWK] = {}
    for entry in key_set.get("keys", []) if isinstance(key_set, dict) else []:
        if (
            not isinstance(entry, dict)
            or entry.get("use", "sig") != "sig"
            or not isinstance(entry.get("kid"), str)
        ):
            continue
        if entry.get("kty") not in ALGORITHMS.values():
            continue
        try:
            found[entry["kid"]] = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError):
            log.warning("key_set_entry_unusable", kty=entry.get("kty"))
    return found


def _key_id(token: str) -> str | None:
    """The ``kid`` the token claims. Only ever compared with the ids in the key set; ``jku``, ``x5u`` and ``jwk``
    in a header are never looked at."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError):
        return None
    return key_id if isinstance(key_id, str) else None


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """``scope`` (words in one string) or ``scp`` (a list or such a string)."""
    value = claims.get("scope", claims.get("scp", ""))
    words = value.split() if isinstance(value, str) else value
    return (
        frozenset(word for word in words if isinstance(word, str)) if isinstance(words, list) else frozenset()
    )


def _reach(claims: Mapping[str, Any]) -> Reach | None:
    """Whom a member of staff reaches: ``reach`` says own (the default), team, store or all, and ``staff_id``, ``team`` and
    ``store`` (a text or a list) name them. A token without ``staff_id`` and ``reach`` is not a member of staff's."""
    if "staff_id" not in claims and "reach" not in claims:
        return None
    reach, named = claims.get("reach", "own"), {}
    for name in ("staff_id", "team", "store"):
        value = claims.get(name, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
            raise _refused(f"the token's {name} is not a name")
        named[name] = tuple(values)
    if reach == "all":
        return None
    if reach not in ("own", "team", "store") or not named["staff_id" if reach == "own" else reach]:
        raise _refused("the token does not say whom it reaches")
    return Reach(
        named["staff_id"],
        named["team"] if reach == "team" else (),
        named["store"] if reach == "store" else (),
    )


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated("invalid_credential", reason)
