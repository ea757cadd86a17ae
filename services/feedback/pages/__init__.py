"""The hosted pages: HTML that works without JavaScript, in the languages of ``wording``, with nothing from elsewhere."""

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.feedback.pages.wording import WORDING, Wording

LONGEST_COMMENT = 4_000

_FOLDER = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STYLE = (_FOLDER / "survey.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()

# The link is a credential: it is kept by no cache, told to no other site and found by no search engine, and the page
# may load nothing, run nothing, be framed by nobody and send its form nowhere but home.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Vary": "Accept-Language",
}


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
    return _render(
        "form.html",
        wording,
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
    wording = WORDING[language]
    title, text = wording.notices[name]
    return _render("notice.html", wording, title=title, notice=text, faults=[])


def _render(template: str, wording: Wording, **context: Any) -> str:
    return _TEMPLATES.get_template(template).render(
        wording=wording,
        style=Markup(_STYLE),  # noqa: S704 - our own file
        others=[other for other in WORDING.values() if other is not wording],
        **context,
    )
