"""The link of an invitation: whoever holds it may answer once, and nobody can make one up."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

SIGNATURE_BYTES = 16  # 128 bits: 2^64 guesses a second would take 10^11 years
_PURPOSE = b"regulars/feedback/invitation/v1:"  # so that a signature for something else never opens a survey


def token(invitation_id: UUID, key: bytes) -> str:
    """base64url (43 characters, no padding) of the invitation's 16 bytes and the first 16 of its HMAC-SHA256."""
    return _encode(invitation_id.bytes + _signature(invitation_id, key))


def invitation_of(text: str, keys: Sequence[bytes]) -> UUID | None:
    """The invitation that the token was made for under any of ``keys``, else None.

    Only the exact text that ``token`` made is accepted: base64 leaves two spare bits in the last character, and
    a link must not have four spellings.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != 16 + SIGNATURE_BYTES or _encode(raw) != text:
        return None
    invitation_id = UUID(bytes=raw[:16])
    genuine = [hmac.compare_digest(raw[16:], _signature(invitation_id, key)) for key in keys]
    return invitation_id if any(genuine) else None


def _signature(invitation_id: UUID, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + invitation_id.bytes, sha256)[:SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
