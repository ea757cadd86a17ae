"""Signatures as the Standard Webhooks specification has them (version 1, symmetric): the receiver needs one secret and any
of its libraries."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

_PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A secret of 256 bits as its users keep it: ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def headers(message_id: str, sent_at: datetime, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """The three headers of a call. While a secret is being replaced there is a signature by each."""
    timestamp = str(int(sent_at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (
        hmac.new(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256).digest() for key in keys
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
