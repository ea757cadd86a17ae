"""/confirm, /preferences, /unsubscribe, /refresh, /join: the hosted pages behind signed links. For people, so HTML.

Opening a page changes nothing: mail scanners open links, too.
"""

from collections.abc import Callable, Iterable
from typing import Annotated
from uuid import UUID

from fastapi import Form
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from services.profile import pages
from services.profile.domain import (
    confirmations,
    consent_texts,
    customer_profiles,
    preferences,
    refreshing,
    sign_ups,
)
from services.profile.domain.confirmations import Asked
from services.profile.domain.links import links_of
from services.profile.rules.consents import CHANNELS, PURPOSES
from shared import languages
from shared.errors import Conflict, Gone, Invalid, NotFound, TooManyRequests
from shared.hosted_pages import AcceptLanguage
from shared.http.dependencies import Now, Transaction
from shared.http.routing import Router

router = Router(prefix="", tags=["hosted pages"])

# No form of these pages fills a fraction of it.
LONGEST = 64 * 1024

Language = str | None
Text = Annotated[str, Form()]
Texts = Annotated[list[str], Form()]


@router.get("/confirm/{token}", public=True, include_in_schema=False)
def show_confirmation(
    token: str, session: Transaction, now: Now, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """What there is to agree to, or why there is nothing."""
    found = confirmations.asked(session, links_of(session).confirmation(token), now)
    language = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None or found.state != "open":
        return _closed(found, language, "confirmed_before", 200)
    texts = consent_texts.agreed(session, found.row.purposes)
    return _page(pages.confirm(language, found.row.channel, texts), 200, language)


@router.post("/confirm/{token}", public=True, include_in_schema=False, longest=LONGEST)
def confirm(
    token: str, session: Transaction, now: Now, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """Agree. Once: a second time changes nothing."""
    found = confirmations.asked(session, links_of(session).confirmation(token), now)
    language = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None or found.state != "open":
        return _closed(found, language, "confirmed_before", 409)
    try:
        confirmations.confirm(session, found.row.confirmation_id, now)
    except (Conflict, Gone):  # somebody was quicker
        return _notice("confirmed_before", 409, language)
    return _notice("confirmed", 200, language)


@router.get("/refresh/{token}", public=True, include_in_schema=False)
def show_own_data(
    token: str, session: Transaction, now: Now, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """The customer's own data in a form, or why there is none."""
    found = confirmations.asked(session, links_of(session).confirmation(token, refresh=True), now)
    language = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None or found.state != "open":
        return _closed(found, language, "refreshed_before", 200)
    return _page(pages.refresh(language, refreshing.known(session, found.row.customer_id)), 200, language)


@router.post("/refresh/{token}", public=True, include_in_schema=False, longest=LONGEST)
def refresh_own_data(
    token: str,
    session: Transaction,
    now: Now,
    name: Text = "",
    phone: Text = "",
    birth_date: Text = "",
    region: Text = "",
    language: Text = "",
    lang: Language = None,
    accept_language: AcceptLanguage = None,
) -> HTMLResponse:
    """Write what was corrected. What cannot be taken comes back in the form; a second time changes nothing."""
    found = confirmations.asked(session, links_of(session).confirmation(token, refresh=True), now)
    spoken = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None or found.state != "open":
        return _closed(found, spoken, "refreshed_before", 409)
    given = {"name": name, "phone": phone, "birth_date": birth_date, "region": region, "language": language}
    entered = {field: _clean(text) for field, text in given.items()}
    try:
        with session.begin_nested():
            refreshing.write(session, found.row.confirmation_id, entered, now)
    except Invalid as invalid:
        return _page(pages.refresh(spoken, entered, faults=_fields(invalid)), 422, spoken)
    except (Conflict, Gone):
        return _notice("refreshed_before", 409, spoken)
    return _notice("refreshed", 200, spoken)


@router.get("/preferences/{token}", public=True, include_in_schema=False)
def show_preferences(
    token: str, session: Transaction, now: Now, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """Every topic and channel, ticked where the customer agreed."""

    def show(customer_id: UUID, language: str) -> HTMLResponse:
        topics = preferences.topics(session, customer_profiles.get(session, customer_id))
        return _page(pages.preferences(language, topics), 200, language)

    return _preferences(session, token, now, lang, accept_language, show)


@router.post("/preferences/{token}", public=True, include_in_schema=False, longest=LONGEST)
def choose_preferences(
    token: str,
    session: Transaction,
    now: Now,
    agree: Texts = [],  # noqa: B006
    agreed: Texts = [],  # noqa: B006
    shown: Texts = [],  # noqa: B006
    withdraw: Text = "",
    lang: Language = None,
    accept_language: AcceptLanguage = None,
) -> HTMLResponse:
    """Record what was ticked and unticked, or take everything back."""

    def choose(customer_id: UUID, language: str) -> HTMLResponse:
        if withdraw:
            preferences.withdraw_all(session, customer_id)
        else:
            versions = _versions(session, shown)
            preferences.choose(session, customer_id, _choices(agree), _choices(agreed), versions)
        topics = preferences.topics(session, customer_profiles.get(session, customer_id))
        return _page(pages.preferences(language, topics, saved=True), 200, language)

    return _preferences(session, token, now, lang, accept_language, choose)


@router.get("/unsubscribe/{token}", public=True, include_in_schema=False)
def show_unsubscription(
    token: str, session: Transaction, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """What the button takes back."""
    return _unsubscribe(session, token, lang, accept_language, done=False)


@router.post("/unsubscribe/{token}", public=True, include_in_schema=False, longest=LONGEST)
def unsubscribe(
    token: str, session: Transaction, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """Take the consent back: by the button, or by one click in a mail program (RFC 8058), whatever it posts."""
    return _unsubscribe(session, token, lang, accept_language, done=True)


@router.get("/join/{token}", public=True, include_in_schema=False)
def show_sign_up(
    token: str, session: Transaction, lang: Language = None, accept_language: AcceptLanguage = None
) -> HTMLResponse:
    """The sign-up form of a source."""
    source_id = links_of(session).sign_up_source(token)
    try:
        source = sign_ups.open_source(session, source_id) if source_id else None
    except NotFound:
        source = None
    except Gone:
        return _notice("closed", 410, languages.chosen(lang, None, accept_language))
    language = languages.chosen(lang, source.language if source else None, accept_language)
    if source is None:
        return _notice("unknown", 404, language)
    return _page(pages.sign_up(language, consent_texts.shown(session, source.purposes)), 200, language)


@router.post("/join/{token}", public=True, include_in_schema=False, longest=LONGEST)
def join(
    token: str,
    session: Transaction,
    now: Now,
    name: Text = "",
    email: Text = "",
    phone: Text = "",
    agree: Texts = [],  # noqa: B006
    shown: Texts = [],  # noqa: B006
    website: Text = "",
    lang: Language = None,
    accept_language: AcceptLanguage = None,
) -> HTMLResponse:
    """Take a form. The answer does not tell whether the address was known; a robot that fills the hidden field gets the
    same one and nothing happens."""
    source_id = links_of(session).sign_up_source(token)
    try:
        source = sign_ups.open_source(session, source_id) if source_id else None
    except NotFound:
        source = None
    except Gone:
        return _notice("closed", 410, languages.chosen(lang, None, accept_language))
    language = languages.chosen(lang, source.language if source else None, accept_language)
    if source is None:
        return _notice("unknown", 404, language)
    if website:
        return _notice("signed_up", 200, language)
    entered = {"name": _clean(name), "email": _clean(email), "phone": _clean(phone)}
    texts = consent_texts.shown(session, source.purposes)
    read = _versions(session, shown)
    versions = {purpose: read.get(purpose, text.version) for purpose, text in texts.items()}
    form = sign_ups.Form(
        **entered,
        language=language,
        agree={purpose: version for purpose, version in versions.items() if purpose in agree},
    )
    try:
        sign_ups.sign(session, source.source_id, form, now)
    except Invalid as invalid:
        again = pages.sign_up(language, texts, entered=entered, agreed=agree, faults=_fields(invalid))
        return _page(again, 422, language)
    except TooManyRequests:
        return _notice("busy", 429, language)
    return _notice("signed_up", 200, language)


def _preferences(
    session: Session,
    token: str,
    now: Now,
    lang: Language,
    accepted: str | None,
    answer: Callable[[UUID, str], HTMLResponse],
) -> HTMLResponse:
    link = links_of(session).preferences(token)
    if link is None:
        return _notice("unknown", 404, languages.chosen(lang, None, accepted))
    try:
        language = languages.chosen(lang, customer_profiles.get(session, link.customer_id).language, accepted)
        if link.expires_at <= now:
            return _notice("expired", 410, language)
        return answer(link.customer_id, language)
    except (Gone, NotFound):
        return _notice("withdrawn", 410, languages.chosen(lang, None, accepted))


def _unsubscribe(
    session: Session, token: str, lang: Language, accepted: str | None, *, done: bool
) -> HTMLResponse:
    link = links_of(session).unsubscription(token)
    if link is None:
        return _notice("unknown", 404, languages.chosen(lang, None, accepted))
    try:
        language = languages.chosen(lang, customer_profiles.get(session, link.customer_id).language, accepted)
        if not done:
            return _page(pages.unsubscribe(language, link.purpose, link.channel), 200, language)
        evidence = "Unsubscribed by the link of a message."
        preferences.withdraw(session, *link, evidence, "unsubscribe link")
    except (Gone, NotFound):
        return _notice("withdrawn", 410, languages.chosen(lang, None, accepted))
    return _notice("unsubscribed", 200, language)


def _closed(found: Asked | None, language: str, used: str, used_status: int) -> HTMLResponse:
    """Why a link has nothing to ask: having answered is no error, answering again is."""
    if found is None:
        return _notice("unknown", 404, language)
    if found.state == "confirmed":
        return _notice(used, used_status, language)
    return _notice(found.state, 410, language)


def _choices(texts: Iterable[str]) -> set[preferences.Choice]:
    """``marketing.email`` as the page writes it; anything else is nobody's choice."""
    pairs = (text.partition(".") for text in texts)
    return {
        (purpose, channel) for purpose, _, channel in pairs if purpose in PURPOSES and channel in CHANNELS
    }


def _versions(session: Session, shown: Iterable[str]) -> dict[str, str]:
    """Which texts the page showed (``marketing:2026-03``), as far as they exist."""
    named = (text.partition(":") for text in list(shown)[: len(PURPOSES)])
    wanted = {purpose: version for purpose, _, version in named if purpose in PURPOSES}
    return consent_texts.existing(session, wanted)


def _clean(text: str) -> str:
    return text.replace("\0", "").strip()


def _fields(invalid: Invalid) -> list[str]:
    return [fault.pointer.lstrip("/") for fault in invalid.faults]


def _notice(name: str, status: int, language: str) -> HTMLResponse:
    return _page(pages.notice(language, name), status, language)


def _page(html: str, status: int, language: str) -> HTMLResponse:
    return pages.PAGES.reply(html, status, language)
