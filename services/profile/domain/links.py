"""The signed links of the hosted pages: made for the one who may use them, never kept and in no event."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast
from uuid import UUID

from sqlalchemy.orm import Session

from services.profile.rules.consents import CHANNELS, PURPOSES
from services.profile.settings import ProfileSettings
from shared import signed_links

_CONFIRM = "regulars/profile/confirmation/v1"
_REFRESH = "regulars/profile/refresh/v1"
_PREFERENCES = "regulars/profile/preferences/v1"
_UNSUBSCRIBE = "regulars/profile/unsubscribe/v1"
_SIGN_UP = "regulars/profile/sign-up/v1"

PATHS = {
    _CONFIRM: "confirm",
    _REFRESH: "refresh",
    _PREFERENCES: "preferences",
    _UNSUBSCRIBE: "unsubscribe",
    _SIGN_UP: "join",
}


class Preferences(NamedTuple):
    """Whose preferences a link opens, and until when."""

    customer_id: UUID
    expires_at: datetime


class Unsubscription(NamedTuple):
    """What a link takes back. It never expires: who was once written to may always say no."""

    customer_id: UUID
    purpose: str
    channel: str


class Links:
    """Makes and opens links. Opening gives None for whatever nobody signed."""

    def __init__(self, settings: ProfileSettings) -> None:
        self._base = f"{settings.public_url.rstrip('/')}/{settings.service}"
        self._keys = settings.link_keys
        self._preferences = timedelta(days=settings.preference_link_days)

    def to_confirm(self, confirmation_id: UUID, *, refresh: bool = False) -> str:
        return self._url(_REFRESH if refresh else _CONFIRM, confirmation_id.bytes)

    def confirmation(self, token: str, *, refresh: bool = False) -> UUID | None:
        return _uuid(signed_links.opened(_REFRESH if refresh else _CONFIRM, token, self._keys))

    def to_preferences(self, customer_id: UUID, now: datetime) -> str:
        expires_at = int((now + self._preferences).timestamp())
        return self._url(_PREFERENCES, customer_id.bytes + expires_at.to_bytes(5, "big"))

    def preferences(self, token: str) -> Preferences | None:
        about = signed_links.opened(_PREFERENCES, token, self._keys)
        if about is None:
            return None
        expires_at = datetime.fromtimestamp(int.from_bytes(about[16:], "big"), UTC)
        return Preferences(UUID(bytes=about[:16]), expires_at)

    def to_unsubscribe(self, customer_id: UUID, purpose: str, channel: str) -> str:
        return self._url(_UNSUBSCRIBE, customer_id.bytes + f"{purpose}/{channel}".encode())

    def unsubscription(self, token: str) -> Unsubscription | None:
        about = signed_links.opened(_UNSUBSCRIBE, token, self._keys)
        if about is None:
            return None
        purpose, _, channel = about[16:].decode().partition("/")
        if purpose not in PURPOSES or channel not in CHANNELS:
            return None
        return Unsubscription(UUID(bytes=about[:16]), purpose, channel)

    def to_sign_up(self, source_id: UUID) -> str:
        return self._url(_SIGN_UP, source_id.bytes)

    def sign_up_source(self, token: str) -> UUID | None:
        return _uuid(signed_links.opened(_SIGN_UP, token, self._keys))

    def _url(self, purpose: str, about: bytes) -> str:
        return f"{self._base}/{PATHS[purpose]}/{signed_links.token(purpose, about, self._keys[0])}"


def links_of(session: Session) -> Links:
    return Links(settings_of(session))


def settings_of(session: Session) -> ProfileSettings:
    return cast("ProfileSettings", session.info["settings"])


def _uuid(about: bytes | None) -> UUID | None:
    return UUID(bytes=about) if about is not None and len(about) == 16 else None
