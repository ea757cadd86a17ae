"""The hosted page of an invitation, in the languages of ``wording``."""

from collections.abc import Sequence
from pathlib import Path

from services.feedback.pages.wording import WORDING
from shared.hosted_pages import HostedPages

LONGEST_COMMENT = 4_000

PAGES = HostedPages(Path(__file__).parent, WORDING, "survey.css")


def form(
    language: str,
    question: str | None,
    *,
    score: int | None = None,
    comment: str = "",
    faults: Sequence[tuple[str, str]] = (),
) -> str:
    """The survey. ``faults`` are (field, key of the wording) for what was sent and cannot be taken; what had been
    entered stays in the form."""
    wording = WORDING[language]
    return PAGES.render(
        "form.html",
        language,
        title=wording.heading,
        question=question or wording.question,
        scale=range(11),
        score=score,
        comment=comment,
        longest_comment=LONGEST_COMMENT,
        faults=[(field, wording.faults[key]) for field, key in faults],
    )


def notice(language: str, name: str) -> str:
    """A page that only says something: ``thanks``, ``answered``, ``expired``, ``unknown``, ``withdrawn``."""
    title, text = WORDING[language].notices[name]
    return PAGES.render("notice.html", language, title=title, notice=text)
