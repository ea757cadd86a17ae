"""Profile's hosted pages, in the languages of ``wording``: to confirm, to choose, to unsubscribe, to sign up, to refresh."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from services.profile.domain.consent_texts import Shown
from services.profile.domain.preferences import Topic
from services.profile.pages.wording import WORDING
from shared.hosted_pages import HostedPages

PAGES = HostedPages(Path(__file__).parent, WORDING, "pages.css")

_OPTIONAL = {"name": "name", "phone": "tel", "birth_date": "bday", "region": "address-level1"}
_LONGEST = {"name": 200, "email": 254, "phone": 40, "birth_date": 10, "region": 100}
_TYPES = {"email": "email", "phone": "tel"}

REFRESHED = ("name", "phone", "birth_date", "region", "language")


class Field(NamedTuple):
    """One field of a form; with ``options`` (code, shown) it is a choice."""

    name: str
    value: str
    required: bool
    type: str
    autocomplete: str
    longest: int
    hint: str | None
    options: Sequence[tuple[str, str]] = ()


class Agreement(NamedTuple):
    purpose: str
    version: str
    text: str
    ticked: bool


def confirm(language: str, channel: str, texts: Mapping[str, Shown]) -> str:
    """What is agreed to by the button."""
    wording = WORDING[language]
    items = [f"{text.in_language(language)} ({wording.channels[channel]})" for text in texts.values()]
    return PAGES.render(
        "confirm.html",
        language,
        title=wording.texts["confirm_title"],
        lead=wording.texts["confirm"],
        items=items,
        hint=wording.texts["confirm_hint"],
        button=wording.labels["confirm"],
    )


def unsubscribe(language: str, purpose: str, channel: str) -> str:
    wording = WORDING[language]
    return PAGES.render(
        "confirm.html",
        language,
        title=wording.texts["unsubscribe_title"],
        lead=wording.texts["unsubscribe"],
        items=[f"{wording.purposes[purpose]} ({wording.channels[channel]})"],
        hint=None,
        button=wording.labels["unsubscribe"],
    )


def preferences(language: str, topics: Iterable[Topic], *, saved: bool = False) -> str:
    """Every topic with its channels, ticked where it is granted."""
    shown = [
        {
            "purpose": topic.purpose,
            "version": topic.text.version,
            "text": topic.text.in_language(language),
            "choices": [
                {"channel": channel, "granted": granted} for channel, granted in topic.granted.items()
            ],
        }
        for topic in topics
    ]
    title = WORDING[language].texts["preferences_title"]
    return PAGES.render("preferences.html", language, title=title, topics=shown, saved=saved)


def sign_up(
    language: str,
    texts: Mapping[str, Shown],
    *,
    entered: Mapping[str, str] | None = None,
    agreed: Collection[str] = (),
    faults: Sequence[str] = (),
) -> str:
    """The sign-up form. ``faults`` are the fields that cannot be taken; what had been entered stays in the form."""
    wording = WORDING[language]
    entered = entered or {}
    return PAGES.render(
        "details.html",
        language,
        title=wording.texts["sign_up_title"],
        lead=wording.texts["sign_up"],
        fields=[
            _field(language, "name", entered),
            _field(language, "email", entered, required=True),
            _field(language, "phone", entered),
        ],
        agreements=[
            Agreement(purpose, text.version, text.in_language(language), purpose in agreed)
            for purpose, text in texts.items()
        ],
        trap=True,
        button=wording.labels["sign_up"],
        faults=[(field, wording.faults[field]) for field in faults],
    )


def refresh(language: str, entered: Mapping[str, str], *, faults: Sequence[str] = ()) -> str:
    """The customer's own data, to be corrected."""
    wording = WORDING[language]
    return PAGES.render(
        "details.html",
        language,
        title=wording.texts["refresh_title"],
        lead=wording.texts["refresh"],
        fields=[_field(language, name, entered) for name in REFRESHED],
        agreements=[],
        trap=False,
        button=wording.labels["refresh"],
        faults=[(field, wording.faults[field]) for field in faults],
    )


def notice(language: str, name: str) -> str:
    """A page that only says something, by the name of the wording's notice."""
    title, text = WORDING[language].notices[name]
    return PAGES.render("notice.html", language, title=title, notice=text)


def _field(language: str, name: str, entered: Mapping[str, str], *, required: bool = False) -> Field:
    wording = WORDING[language]
    options: list[tuple[str, str]] = []
    if name == "language":
        known = [(each.code, each.name) for each in WORDING.values()]
        kept = entered.get(name, "")
        options = known if kept in WORDING else [(kept, kept or wording.labels["unknown"]), *known]
    return Field(
        name,
        entered.get(name, ""),
        required,
        _TYPES.get(name, "text"),
        "email" if name == "email" else _OPTIONAL.get(name, "language"),
        _LONGEST.get(name, 100),
        wording.texts.get(f"{name}_hint"),
        options,
    )
