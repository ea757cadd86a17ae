"""/s: the hosted page behind an invitation's link. A page for people, so every answer of it is HTML."""

from typing import Annotated

from fastapi import Form
from fastapi.responses import HTMLResponse

from services.feedback import pages
from services.feedback.api.dependencies import OwnSettings
from services.feedback.domain import answers
from services.feedback.rules import nps
from shared import languages
from shared.errors import Conflict, Gone
from shared.hosted_pages import AcceptLanguage
from shared.http.dependencies import Now, Transaction
from shared.http.routing import Router

router = Router(prefix="/s", tags=["hosted pages"])

Language = str | None


@router.get("/{token}", public=True, include_in_schema=False)
def show_survey(
    token: str,
    session: Transaction,
    now: Now,
    settings: OwnSettings,
    lang: Language = None,
    accept_language: AcceptLanguage = None,
) -> HTMLResponse:
    """The survey, or why it cannot be answered. Opening it records nothing: mail scanners open links too."""
    found = answers.asked(session, settings.invitation_of(token), now)
    language = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None:
        return _page(pages.notice(language, "unknown"), 404, language)
    if found.state != "open":
        return _closed(found.state, language)
    return _page(pages.form(language, found.titles.get(language)), 200, language)


@router.post("/{token}", public=True, include_in_schema=False)
def answer_survey(
    token: str,
    session: Transaction,
    now: Now,
    settings: OwnSettings,
    score: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
    lang: Language = None,
    accept_language: AcceptLanguage = None,
) -> HTMLResponse:
    """Record the answer. What cannot be taken comes back in the form; a second answer changes nothing."""
    found = answers.asked(session, settings.invitation_of(token), now)
    language = languages.chosen(lang, found.language if found else None, accept_language)
    if found is None:
        return _page(pages.notice(language, "unknown"), 404, language)
    if found.state != "open":
        return _closed(found.state, language, answered=409)
    chosen = _score(score)
    comment = comment.replace("\r\n", "\n").replace("\0", "").strip()
    faults = [("score", "score")] if chosen is None else []
    faults += [("comment", "comment")] if len(comment) > pages.LONGEST_COMMENT else []
    if chosen is None or faults:
        form = pages.form(language, found.titles.get(language), score=chosen, comment=comment, faults=faults)
        return _page(form, 422, language)
    try:
        answers.give(session, found.invitation.invitation_id, chosen, comment, language, now)
    except Conflict:  # somebody else was quicker with the same link
        return _closed("answered", language, answered=409)
    except Gone:
        return _closed("withdrawn", language)
    return _page(pages.notice(language, "thanks"), 200, language)


def _closed(state: str, language: str, *, answered: int = 200) -> HTMLResponse:
    """Why there is nothing to answer: 410 for what is over; having answered is no error, answering again is."""
    return _page(pages.notice(language, state), answered if state == "answered" else 410, language)


def _score(text: str) -> int | None:
    """0–10, written as the form writes it."""
    return next((value for value in nps.SCALE if str(value) == text.strip()), None)


def _page(html: str, status: int, language: str) -> HTMLResponse:
    return pages.PAGES.reply(html, status, language)
