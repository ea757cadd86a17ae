"""Links that are credentials: whoever holds one may do one thing, and nobody can make one up.

A token is base64url (no padding) of what the link is about and the first 16 bytes of its HMAC-SHA256. ``purpose`` stands
in front of what is signed, so that a link for one thing never opens another, though both are signed by the same key.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256

SIGNATURE_BYTES = 16  # 128 bits: 2^64 guesses a second would take 10^11 years
_LONGEST = 400


def token(purpose: str, about: bytes, key: bytes) -> str:
    """For a payload of 16 bytes 43 characters."""
    return _encode(about + _signature(purpose, about, key))


def opened(purpose: str, text: str, keys: Sequence[bytes]) -> bytes | None:
    """What the token was made for under any of ``keys``, else None.

    Only the exact text that ``token`` made is accepted: base64 leaves spare bits in the last character, and a link must
    not have several spellings.
    """
    if len(text) > _LONGEST:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) <= SIGNATURE_BYTES or _encode(raw) != text:
        return None
    about, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
    genuine = [hmac.compare_digest(signature, _signature(purpose, about, key)) for key in keys]
    return about if any(genuine) else None


def keys_of(setting: str) -> tuple[bytes, ...]:
    """The keys of a setting ``new,old``: the first signs, all of them open."""
    return tuple(key.strip().encode() for key in setting.split(",") if key.strip())


def _signature(purpose: str, about: bytes, key: bytes) -> bytes:
    return hmac.digest(key, f"{purpose}:".encode() + about, sha256)[:SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
