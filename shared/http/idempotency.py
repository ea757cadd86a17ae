"""Idempotency-Key: a request that was answered once is not carried out again.

The key is claimed by an advisory lock inside the transaction that holds the effect, so that effect and stored reply
are committed together or not at all. Only 2xx replies are stored. What is stored is sealed with the key itself, which
is not stored, so that the table holds nobody's personal data.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, Header, Request
from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json
from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from starlette.responses import Response

from shared.errors import BadRequest, Conflict, Invalid
from shared.http.dependencies import Transaction
from shared.http.exchange import Exchange, exchange_of
from shared.http.tables import idempotency_key

T = TypeVar("T")
KEPT_FOR = timedelta(days=7)
_KEPT_HEADERS = frozenset({b"content-type", b"location", b"etag"})


class Replayed(Exception):  # noqa: N818
    """The request was answered before; ``reply`` is that answer."""

    def __init__(self, reply: Response) -> None:
        self.reply = reply


class Repeatable:
    """``once: Once`` in a route; ``return once(RedemptionOut, lambda: rewards.redeem(...))``.

    Carries the effect out, or answers as the first time (with ``Idempotent-Replayed: true``) when this credential
    already sent this key to this operation. Raises Conflict ``idempotency_key_in_use`` while another request holds
    the key, and Invalid ``idempotency_key_reused`` when it was sent with another path, query or body. The reply is
    kept for 7 days, ``forever`` where an effect may never happen twice. Call it once, before any other effect.
    """

    def __init__(self, session: Session, exchange: Exchange, request: "_Identity | None") -> None:
        self._session = session
        self._exchange = exchange
        self._request = request

    def __call__(self, model: type[T], make: Callable[[], object], *, forever: bool = False) -> T:
        if self._request is not None:
            self._claim(self._request)
        made = make()
        if self._request is not None:
            request = self._request
            self._exchange.keep = lambda reply: _store(self._session, request, reply, forever=forever)
        if isinstance(model, type) and issubclass(model, BaseModel) and not isinstance(made, model):
            mapping = getattr(made, "_mapping", made)
            return model.model_validate(
                dict(mapping) if isinstance(mapping, Mapping) else mapping, from_attributes=True
            )
        return made if isinstance(made, BaseModel) else TypeAdapter(model).validate_python(made)  # type: ignore[return-value]

    def _claim(self, request: "_Identity") -> None:
        lock = int.from_bytes(request.hash[:8], "big", signed=True)
        if not self._session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
            raise Conflict(
                "idempotency_key_in_use",
                "a request with this key is being carried out",
                headers={"Retry-After": "1"},
            )
        # A statement of its own: what was committed before the lock was taken is seen only by a later snapshot.
        stored = self._session.execute(
            select(
                idempotency_key.c.fingerprint, idempotency_key.c.status, idempotency_key.c.sealed_reply
            ).where(
                idempotency_key.c.request_hash == request.hash,
                or_(idempotency_key.c.expires_at.is_(None), idempotency_key.c.expires_at > func.now()),
            )
        ).first()
        if stored is None:
            return
        if not hmac.compare_digest(bytes(stored.fingerprint), request.fingerprint):
            raise Invalid("idempotency_key_reused", "this key was sent before with another request")
        raise Replayed(_opened(request, stored.status, bytes(stored.sealed_reply)))


class _Identity:
    """One key as one credential uses it with one operation; and what exactly was asked."""

    def __init__(self, secret: bytes, credential: str, operation: str, key: str, content: bytes) -> None:
        identity = json.dumps([credential, operation, key]).encode()
        self.hash = hmac.digest(secret, b"idempotency hash:" + identity, "sha256")
        self.cipher = AESGCM(hmac.digest(secret, b"idempotency seal:" + identity, "sha256"))
        self.fingerprint = hmac.digest(secret, b"idempotency body:" + identity + b"\0" + content, "sha256")


def forget_expired(session: Session, limit: int = 10_000) -> int:
    """Delete replies that nobody may ask for any more; how many there were (scheduled work)."""
    old = (
        select(idempotency_key.c.request_hash).where(idempotency_key.c.expires_at <= func.now()).limit(limit)
    )
    gone = delete(idempotency_key).where(idempotency_key.c.request_hash.in_(old))
    return len(session.scalars(gone.returning(idempotency_key.c.status)).all())


def _store(session: Session, request: _Identity, reply: Response, *, forever: bool) -> None:
    if not 200 <= reply.status_code < 300:
        return
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")]
        for name, value in reply.raw_headers
        if name in _KEPT_HEADERS
    ]
    head = json.dumps(headers).encode()
    nonce = os.urandom(12)
    content = len(head).to_bytes(4, "big") + head + bytes(reply.body)
    row = insert(idempotency_key).values(
        request_hash=request.hash,
        fingerprint=request.fingerprint,
        status=reply.status_code,
        sealed_reply=nonce + request.cipher.encrypt(nonce, content, None),
        expires_at=None if forever else func.now() + KEPT_FOR,
    )
    session.execute(
        row.on_conflict_do_update(  # an expired one that was not deleted yet
            index_elements=["request_hash"],
            set_={
                "fingerprint": row.excluded.fingerprint,
                "status": row.excluded.status,
                "sealed_reply": row.excluded.sealed_reply,
                "created_at": func.now(),
                "expires_at": row.excluded.expires_at,
            },
        )
    )


def _opened(request: _Identity, status: int, sealed: bytes) -> Response:
    content = request.cipher.decrypt(sealed[:12], sealed[12:], None)
    length = int.from_bytes(content[:4], "big")
    reply = Response(content[4 + length :], status)
    for name, value in json.loads(content[4 : 4 + length]):
        reply.headers[name] = value
    reply.headers["Idempotent-Replayed"] = "true"
    return reply


_FORM: dict[str, Any] = {
    "alias": "Idempotency-Key",
    "description": "Any text of up to 255 characters, new for every effect; sent again, it gives the first answer again.",
    "min_length": 1,
    "max_length": 255,
    "pattern": r"^[\x21-\x7e]+$",
}
# Where it is only welcome it stands in the operation's description: a parameter of every creating operation would be
# filled in by generated clients and test tools, which then send one key with different bodies.
_Welcome = Annotated[str | None, Header(include_in_schema=False, **_FORM)]
_Needed = Annotated[str | None, Header(**_FORM)]


async def once(request: Request, session: Transaction, key: _Welcome = None) -> Repeatable:
    exchange = exchange_of(request)
    if key is None or exchange.caller is None:
        return Repeatable(session, exchange, None)
    asked = (
        f"{request.url.path}?{request.url.query}\n".encode()
        + hashlib.sha256(await _meaning(request)).digest()
    )
    operation = f"{request.method} {exchange.template}"
    secret = request.app.state.settings.key_pepper.encode()
    return Repeatable(
        session, exchange, _Identity(secret, exchange.caller.credential_id, operation, key, asked)
    )


async def required_once(request: Request, session: Transaction, key: _Needed = None) -> Repeatable:
    if key is None:
        raise BadRequest(
            "idempotency_key_required", "send an Idempotency-Key: this must not happen twice by mistake"
        )
    return await once(request, session, key)


async def _meaning(request: Request) -> bytes:
    """The body; for JSON without what does not matter: spaces and the order of fields."""
    body = await request.body()
    try:
        return json.dumps(from_json(body), sort_keys=True, separators=(",", ":")).encode()
    except ValueError:
        return body


Once = Annotated[Repeatable, Depends(once)]
RequiredOnce = Annotated[Repeatable, Depends(required_once)]

__all__ = ["Once", "Repeatable", "Replayed", "RequiredOnce", "forget_expired"]
