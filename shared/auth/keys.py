"""API keys: made once, known only by their keyed hash, listed by profile and obeyed by every service."""

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.auth.callers import ENVIRONMENT_SCOPES, Caller
from shared.auth.client import CallRefused, ServiceClient
from shared.auth.tables import credential, credential_check
from shared.database import Sessions
from shared.errors import Unavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.service import Service

PREFIX = "rgl_"
ASK_EVERY = 15.0
"""Seconds between two looks at profile's list."""
LOOK_EVERY = 3.0
"""Seconds for which profile itself, whose list is in its own database, does without looking."""
TRUST_FOR = 3600.0
"""Seconds for which the last list is believed when profile does not answer."""
ASK_FOR_UNKNOWN_EVERY = 2.0
"""A key nobody knows is asked for at once, at most this often: a fresh key works at once everywhere."""

log = structlog.get_logger(__name__)


class Credential(BaseModel):
    """One active API key as profile lists it; ``hmac`` is ``hmac_of(clear, pepper)``."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    id: str
    name: str
    scopes: list[str]
    hmac: str = Field(pattern=r"^[0-9a-f]{64}$", examples=["5f" * 32])


class ActiveKeys(BaseModel):
    """What ``GET /profile/v1/api-keys/active`` answers."""

    items: list[Credential]


ReadActive = Callable[[Session], Sequence[Credential]]


def new_key(pepper: str) -> tuple[str, str]:
    """A new key in clear (shown once, 256 random bits) and its HMAC (kept)."""
    clear = PREFIX + secrets.token_urlsafe(32)
    return clear, hmac_of(clear, pepper)


def hmac_of(clear: str, pepper: str) -> str:
    """HMAC-SHA256 under the pepper, 64 hexadecimal digits."""
    return hmac.digest(pepper.encode(), clear.encode(), "sha256").hex()


class KeyRing:
    """The keys that are good now: the environment's, and profile's list as last seen.

    ``start()`` reads the stored copy and polls profile in a thread of its own until ``stop()``; a service without a key
    of its own has nobody to ask and knows the keys of the environment only. Profile (``own`` reads the list from its
    database) has no such thread: whoever brings a key looks there, unless someone just did.
    """

    def __init__(self, settings: Settings, sessions: Sessions, own: ReadActive | None = None) -> None:
        self._settings = settings
        self._sessions = sessions
        self._own = own
        self._pepper = settings.key_pepper.encode()
        self._environment = {
            digest: Caller(name, f"environment:{name}", ENVIRONMENT_SCOPES.get(name, frozenset()))
            for name, digest in settings.environment_keys.items()
        }
        self._listed: Mapping[str, Caller] = {}
        self._seen_at = float("-inf")  # time.monotonic() of profile's last answer
        self._stored: tuple[frozenset[tuple[Any, ...]], float] | None = None
        self._profile: ServiceClient | None = None
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def find(self, clear: str) -> Caller | None:
        """The caller who holds this key, or None."""
        digest = self._digest(clear)
        if known := self._environment.get(digest):
            return known
        if time.monotonic() - self._seen_at > TRUST_FOR:
            return None
        return self._listed.get(digest)

    def should_ask(self, clear: str) -> bool:
        """Whether to ``ask`` before ``find``: cheap, and true at most every few seconds."""
        silent = time.monotonic() - self._asked_at
        if self._own is not None:
            return silent > LOOK_EVERY and self._digest(clear) not in self._environment
        return self._thread is not None and silent > ASK_FOR_UNKNOWN_EVERY and self.find(clear) is None

    def ask(self) -> bool:
        """Ask profile now and remember what it said; False if it did not answer. Blocks for up to 3 s."""
        with self._asking:
            self._asked_at = time.monotonic()
            try:
                active = self._read_own() if self._own else self._read_profile()
            except (Unavailable, CallRefused, SQLAlchemyError, ValueError) as error:
                log.warning("key_list_unavailable", error=type(error).__name__)
                return False
            self._believe(active, age=0.0)
            if self._own is not None:
                return True
            try:
                self._store(active)
            except SQLAlchemyError as error:
                log.warning("key_list_not_stored", error=type(error).__name__)
            return True

    def start(self) -> None:
        """Begin to poll, once, if there is anything to ask with."""
        if self._thread is None and self._own is None and self._settings.service_key:
            self._thread = threading.Thread(target=self._poll, name="keys", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._profile is not None:
            self._profile.close()

    def _digest(self, clear: str) -> str:
        return hmac.digest(self._pepper, clear.encode("utf-8", "replace"), "sha256").hex()

    def _poll(self) -> None:
        self._recall()
        wait = 0.2
        while not self._stopping.is_set():
            # Until the first answer profile may just be starting: ask sooner.
            wait = ASK_EVERY if self.ask() else min(wait * 2, ASK_EVERY)
            self._stopping.wait(wait)

    def _believe(self, active: Sequence[Credential], age: float) -> None:
        self._listed = {key.hmac: Caller(key.name, f"key:{key.id}", frozenset(key.scopes)) for key in active}
        self._seen_at = time.monotonic() - age

    def _read_own(self) -> Sequence[Credential]:
        assert self._own is not None
        with self._sessions() as session:
            return self._own(session)

    def _read_profile(self) -> Sequence[Credential]:
        if self._profile is None:
            self._profile = ServiceClient(self._settings, "profile", timeout=3.0)
        return ActiveKeys.model_validate(self._profile.get("/v1/api-keys/active")).items

    def _recall(self) -> None:
        """Believe the copy of an earlier run, as old as the database says it is."""
        try:
            with self._sessions() as session:
                age = session.scalar(
                    select(func.extract("epoch", func.now() - credential_check.c.checked_at))
                )
                rows = session.execute(select(credential)).all()
        except SQLAlchemyError as error:
            log.warning("stored_keys_unreadable", error=type(error).__name__)
            return
        if age is not None:
            active = [Credential(id=r.credential_id, name=r.name, scopes=r.scopes, hmac=r.hmac) for r in rows]
            self._believe(active, age=float(age))

    def _store(self, active: Sequence[Credential]) -> None:
        """Keep the list in the database: at once when it changed, its age once a minute."""
        now = time.monotonic()
        content = frozenset((key.id, key.name, key.hmac, *key.scopes) for key in active)
        if self._stored is not None and self._stored[0] == content and now - self._stored[1] < 60:
            return
        with self._sessions.begin() as session:
            session.execute(
                insert(credential_check)
                .values(only=True)
                .on_conflict_do_update(index_elements=["only"], set_={"checked_at": func.now()})
            )
            session.execute(
                delete(credential).where(credential.c.credential_id.not_in([key.id for key in active]))
            )
            if active:
                rows = insert(credential).values(
                    [
                        {"credential_id": key.id, "name": key.name, "scopes": key.scopes, "hmac": key.hmac}
                        for key in sorted(active, key=lambda key: key.id)
                    ]
                )
                session.execute(
                    rows.on_conflict_do_update(
                        index_elements=["credential_id"],
                        set_={name: rows.excluded[name] for name in ("name", "scopes", "hmac")},
                    )
                )
        self._stored = (content, now)


def open_keys(service: "Service", settings: Settings, sessions: Sessions) -> KeyRing:
    """The key ring of one service's process; its application starts and stops it."""
    return KeyRing(settings, sessions, own=service.active_keys)
