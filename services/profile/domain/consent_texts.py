"""The catalogue of what customers read before they agree: versions that never change, the latest is shown."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from services.profile.rules.consent_texts import BUILT_IN, TEXTS
from services.profile.tables import consent_text
from shared.errors import Conflict, NotFound

Texts = Mapping[str, str]
"""By language code."""


class Shown(NamedTuple):
    """The text of a purpose that is in use."""

    version: str
    texts: Texts

    def in_language(self, language: str) -> str:
        """The text; where the company has none in this language, the one it has."""
        return self.texts.get(language) or next(iter(self.texts.values()))


def publish(
    session: Session, purpose: str, version: str, texts: Texts, valid_days: int | None, by: str, now: datetime
) -> tuple[Row[Any], bool]:
    """A new text of a purpose, shown from now on; and whether it is new. Raises Conflict ``text_differs``: a version
    that somebody may have agreed to says what it says for ever."""
    values = {"texts": dict(texts), "valid_days": valid_days}
    made = session.execute(
        insert(consent_text)
        .values(purpose=purpose, version=version, created_at=now, created_by=by, **values)
        .on_conflict_do_nothing()
        .returning(consent_text)
    ).one_or_none()
    if made is not None:
        return made, True
    found = get(session, purpose, version)
    if {"texts": found.texts, "valid_days": found.valid_days} != values:
        raise Conflict("text_differs", "this version says something else; publish another one")
    return found, False


def get(session: Session, purpose: str, version: str) -> Row[Any]:
    row = session.execute(
        select(consent_text).where(consent_text.c.purpose == purpose, consent_text.c.version == version)
    ).one_or_none()
    if row is None:
        raise NotFound("consent_text_not_found", "there is no such text")
    return row


def page(session: Session, after: tuple[Any, ...] | None, limit: int) -> Sequence[Row[Any]]:
    """All versions, by purpose and version."""
    order = (consent_text.c.purpose, consent_text.c.version)
    rows = select(consent_text)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def shown(session: Session, purposes: Iterable[str]) -> dict[str, Shown]:
    """What is shown for each purpose now: the company's latest text, else the one that comes with the suite."""
    wanted = list(purposes)
    rows = session.execute(
        select(consent_text)
        .ext(distinct_on(consent_text.c.purpose))
        .where(consent_text.c.purpose.in_(wanted))
        .order_by(consent_text.c.purpose, consent_text.c.created_at.desc(), consent_text.c.version.desc())
    ).all()
    own = {row.purpose: Shown(row.version, row.texts) for row in rows}
    return {purpose: own.get(purpose, Shown(BUILT_IN, TEXTS[purpose])) for purpose in wanted}


def versions_shown(session: Session, purposes: Iterable[str]) -> dict[str, str]:
    return {purpose: text.version for purpose, text in shown(session, purposes).items()}


def agreed(session: Session, versions: Mapping[str, str]) -> dict[str, Shown]:
    """The texts of these versions, as they were when somebody was asked."""
    found = {}
    for purpose, version in versions.items():
        if version == BUILT_IN:
            found[purpose] = Shown(version, TEXTS[purpose])
        else:
            found[purpose] = Shown(version, get(session, purpose, version).texts)
    return found


def existing(session: Session, versions: Mapping[str, str]) -> dict[str, str]:
    """Those of ``versions`` (purpose → version) that there are."""
    rows = session.execute(
        select(consent_text.c.purpose, consent_text.c.version).where(
            tuple_(consent_text.c.purpose, consent_text.c.version).in_(list(versions.items()))
        )
    ).all()
    built_in = {purpose: version for purpose, version in versions.items() if version == BUILT_IN}
    return built_in | {row.purpose: row.version for row in rows}
