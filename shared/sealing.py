"""Personal data and free text at rest: AES-256-GCM under a data key per subject.

A subject is whoever the text is about (a customer's id, a job's id). Its data key lies in ``shared.subject_key``,
wrapped by a key of the environment; destroying it makes everything sealed under it unreadable for ever, in every
backup that does not also hold the key. The place (``"table.column:row id"``) is authenticated with the text, so that
a sealed value moved to another row or subject does not open.

Sealed form: one version byte, 12 bytes of nonce, ciphertext with its 16-byte tag.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    Table,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, insert
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.types import Text

from shared.database import Timestamptz, new_metadata
from shared.errors import Gone

_VERSION = b"\x01"
_NONCE, _TAG = 12, 16

metadata = new_metadata("shared")

subject_key = Table(
    "subject_key",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("key_id", Text, nullable=False, comment="which key of the environment wraps this one"),
    Column("wrapped", LargeBinary, comment="null: destroyed, for ever"),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("destroyed_at", Timestamptz),
    CheckConstraint("(wrapped is null) = (destroyed_at is not null)", name="destroyed"),
    Index(None, "key_id", postgresql_where=text("wrapped is not null")),
)


class SealBroken(Exception):  # noqa: N818
    """A sealed value does not open: altered, moved, or sealed under a key that is not here."""


class Keyring:
    """The keys of the environment by id; the first one wraps new data keys, all of them unwrap."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("at least one sealing key is needed")
        self.current = next(iter(keys))
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        # Data keys of running transactions: a key made in a savepoint that is rolled back must be forgotten with it.
        self.opened: WeakKeyDictionary[SessionTransaction, dict[str, AESGCM | None]] = WeakKeyDictionary()

    def wrap(self, key: bytes, about: str) -> bytes:
        return _encrypt(self._ciphers[self.current], key, f"{self.current}\0{about}")

    def unwrap(self, key_id: str, wrapped: bytes, about: str) -> bytes:
        if key_id not in self._ciphers:
            raise SealBroken(f"the sealing key {key_id!r} is not in this environment")
        return _decrypt(self._ciphers[key_id], wrapped, f"{key_id}\0{about}")


def seal(session: Session, subject: str, place: str, plain: str) -> bytes:
    """``plain`` sealed for ``subject``; Gone (``subject_erased``) when the subject's key was destroyed."""
    return seal_many(session, [(subject, place, plain)])[0]


def seal_many(session: Session, texts: Sequence[tuple[str, str, str]]) -> list[bytes]:
    """Seal ``(subject, place, text)`` of many subjects with at most two statements."""
    return seal_bytes_many(session, [(subject, place, plain.encode()) for subject, place, plain in texts])


def seal_bytes(session: Session, subject: str, place: str, content: bytes) -> bytes:
    return seal_bytes_many(session, [(subject, place, content)])[0]


def seal_bytes_many(session: Session, contents: Sequence[tuple[str, str, bytes]]) -> list[bytes]:
    keys = _keys(session, {subject for subject, _, _ in contents}, make=True)
    sealed = []
    for subject, place, content in contents:
        key = keys.get(subject)
        if key is None:
            raise Gone("subject_erased", "the data of this subject was erased; nothing new is kept about it")
        sealed.append(_encrypt(key, content, f"{subject}\0{place}"))
    return sealed


def unseal(session: Session, subject: str, place: str, sealed: bytes | None) -> str | None:
    """The text, or None when there is none or the subject's key was destroyed."""
    return unseal_many(session, [(subject, place, sealed)])[0]


def unseal_many(session: Session, sealed: Sequence[tuple[str, str, bytes | None]]) -> list[str | None]:
    return [None if content is None else content.decode() for content in unseal_bytes_many(session, sealed)]


def unseal_bytes(session: Session, subject: str, place: str, sealed: bytes | None) -> bytes | None:
    return unseal_bytes_many(session, [(subject, place, sealed)])[0]


def unseal_bytes_many(
    session: Session, sealed: Sequence[tuple[str, str, bytes | None]]
) -> list[bytes | None]:
    """Open many values with at most one statement."""
    keys = _keys(session, {subject for subject, _, content in sealed if content is not None}, make=False)
    opened: list[bytes | None] = []
    for subject, place, content in sealed:
        key = keys.get(subject)
        if content is None or key is None:
            opened.append(None)
        else:
            opened.append(_decrypt(key, content, f"{subject}\0{place}"))
    return opened


def destroy(session: Session, subject: str) -> None:
    """Nothing sealed for ``subject`` can be read again, and nothing new can be sealed for it."""
    gone = insert(subject_key).values(
        subject=subject, key_id=_keyring(session).current, wrapped=None, destroyed_at=func.now()
    )
    session.execute(
        gone.on_conflict_do_update(
            index_elements=["subject"],
            set_={"wrapped": None, "destroyed_at": func.now()},
            where=subject_key.c.destroyed_at.is_(None),
        )
    )
    _opened(session)[subject] = None


def rewrap(session: Session, limit: int = 1000) -> int:
    """Wrap up to ``limit`` data keys that an older key wraps with the current one; how many there were.

    Run until it gives 0; then the old key may leave the environment.
    """
    keyring = _keyring(session)
    old = (
        select(subject_key.c.subject, subject_key.c.key_id, subject_key.c.wrapped)
        .where(subject_key.c.key_id != keyring.current, subject_key.c.wrapped.is_not(None))
        .order_by(subject_key.c.subject)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    changed = [
        {"of": subject, "new": keyring.wrap(keyring.unwrap(key_id, wrapped, subject), subject)}
        for subject, key_id, wrapped in session.execute(old).all()
    ]
    if changed:
        session.execute(
            update(subject_key)
            .where(subject_key.c.subject == bindparam("of"))
            .values(key_id=keyring.current, wrapped=bindparam("new")),
            changed,
            execution_options={"synchronize_session": False},
        )
    return len(changed)


def _keys(session: Session, subjects: Iterable[str], *, make: bool) -> Mapping[str, AESGCM | None]:
    """The data key of each subject; None for a destroyed one, absent for one that never had any."""
    opened = _opened(session)
    wanted = sorted(subject for subject in subjects if subject not in opened)
    if wanted and make:
        _read_or_make(session, wanted, opened)
        # Whoever made one meanwhile has committed by now: another snapshot sees it.
        wanted = [subject for subject in wanted if subject not in opened]
    if wanted:
        found = session.connection().exec_driver_sql(_READ, {"subjects": wanted})
        _open(session, found.all(), opened)
    return opened


# In psycopg's own language for its %b: a thousand subjects go over in binary in a fifth of the time.
_READ = "select subject, key_id, wrapped from shared.subject_key where subject = any(%(subjects)b)"
_READ_OR_MAKE = text(
    """
    with known as (select subject, key_id, wrapped from shared.subject_key where subject = any(:subjects)),
    made as (
        insert into shared.subject_key (subject, key_id, wrapped)
        select subject, :key_id, wrapped from unnest(:subjects, :wrapped) as new (subject, wrapped)
        where not exists (select from known where known.subject = new.subject)
        order by subject
        on conflict do nothing
        returning subject, key_id, wrapped
    )
    select * from known union all select * from made
    """
).bindparams(bindparam("subjects", type_=ARRAY(Text)), bindparam("wrapped", type_=ARRAY(BYTEA)))


def _read_or_make(session: Session, subjects: list[str], opened: dict[str, AESGCM | None]) -> None:
    keyring = _keyring(session)
    wrapped = [keyring.wrap(os.urandom(32), subject) for subject in subjects]
    values = {"subjects": subjects, "wrapped": wrapped, "key_id": keyring.current}
    _open(session, session.execute(_READ_OR_MAKE, values), opened)


def _open(session: Session, rows: Iterable[Any], opened: dict[str, AESGCM | None]) -> None:
    keyring = _keyring(session)
    for subject, key_id, wrapped in rows:
        opened[subject] = None if wrapped is None else AESGCM(keyring.unwrap(key_id, wrapped, subject))


def _keyring(session: Session) -> Keyring:
    keyring = session.info["keyring"]
    assert isinstance(keyring, Keyring)
    return keyring


def _opened(session: Session) -> dict[str, AESGCM | None]:
    transaction = session.get_nested_transaction() or session.get_transaction() or session.begin()
    return _keyring(session).opened.setdefault(transaction, {})


def _encrypt(key: AESGCM, content: bytes, about: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return _VERSION + nonce + key.encrypt(nonce, content, about.encode())


def _decrypt(key: AESGCM, sealed: bytes, about: str) -> bytes:
    sealed = bytes(sealed)
    if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE + _TAG:
        raise SealBroken("not a sealed value")
    try:
        return key.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], about.encode())
    except InvalidTag:
        raise SealBroken("the value was altered, moved or sealed for someone else") from None
