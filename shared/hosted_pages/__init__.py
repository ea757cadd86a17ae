"""Hosted pages: HTML that works without JavaScript, in our languages, with nothing from elsewhere.

A service has a folder of Jinja templates that extend ``layout.html``, a style sheet beside them, and a wording per
language. The link to a page is a credential: the page is kept by no cache, told to no other site and found by no search
engine, and it may load nothing, run nothing, be framed by nobody and send its form nowhere but home.
"""

import base64
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Header
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

AcceptLanguage = Annotated[str | None, Header(alias="Accept-Language")]

_FOLDER = Path(__file__).parent


class Wording(Protocol):
    """What every page says in one language. ``tag`` is its BCP 47 tag, ``name`` what it calls itself, ``languages`` the
    label of the choice among them."""

    @property
    def code(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def languages(self) -> str: ...
    @property
    def fault_title(self) -> str: ...


class HostedPages:
    """The pages of one service. ``wordings`` by language code, ``style`` the name of its own style sheet in ``folder``."""

    def __init__(self, folder: Path, wordings: Mapping[str, Wording], style: str) -> None:
        self._wordings = wordings
        self._templates = Environment(
            loader=FileSystemLoader([folder, _FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._style = "".join(
            path.read_text(encoding="utf-8") for path in (_FOLDER / "page.css", folder / style)
        )
        digest = base64.b64encode(sha256(self._style.encode()).digest()).decode()
        self.headers: Mapping[str, str] = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
                " base-uri 'none'; frame-ancestors 'none'"
            ),
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "X-Robots-Tag": "noindex, nofollow",
            "Vary": "Accept-Language",
        }

    def render(self, template: str, language: str, **context: Any) -> str:
        """The page in ``language``; ``context`` has its ``title`` and, where a form comes back, ``faults``: (field,
        message) of what cannot be taken."""
        wording = self._wordings[language]
        return self._templates.get_template(template).render(
            wording=wording,
            style=Markup(self._style),  # noqa: S704 - our own file
            others=[other for other in self._wordings.values() if other is not wording],
            **{"faults": [], **context},
        )

    def reply(self, html: str, status: int, language: str) -> HTMLResponse:
        return HTMLResponse(html, status, {**self.headers, "Content-Language": language})
