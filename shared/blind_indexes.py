"""Looking up what lies sealed: the same value gives the same token, and a token gives nothing back without the key.

A token is 16 bytes of HMAC-SHA256 of the field and the value, under a key that serves nothing else
(``REGULARS_BLIND_INDEX_KEY``). Sealing keys may be replaced at any time, this one cannot without writing every token
again: the values have to be opened for it. Whoever holds a copy of the database alone sees which rows share a value,
and how often, but not the value.
"""

import hmac
from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy.orm import Session

_LENGTH = 16


class _Keyed(Protocol):
    blind_index_key: str


def blind(session: Session, field: str, normalised: str) -> bytes:
    """The token of one value. ``field`` keeps equal values of different fields apart; ``normalised`` is the value in the
    one form in which everybody writes it (an address in lower case, a number in E.164)."""
    return blind_many(session, field, (normalised,))[0]


def blind_many(session: Session, field: str, normalised: Iterable[str]) -> list[bytes]:
    """The tokens of many values of one field, in their order."""
    return tokens(_key(session), field, normalised)


def tokens(key: str, field: str, normalised: Iterable[str]) -> list[bytes]:
    """As ``blind_many``, for whoever has the key and no session."""
    secret, about = key.encode(), field.encode() + b"\0"
    return [hmac.digest(secret, about + value.encode(), "sha256")[:_LENGTH] for value in normalised]


def _key(session: Session) -> str:
    settings: _Keyed | Any = session.info["settings"]
    key: str = settings.blind_index_key
    return key
