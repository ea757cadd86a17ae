"""What a message says: Liquid templates, data only, within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liquid import DictLoader, Environment, StrictUndefined
from liquid.exceptions import LiquidError

LANGUAGES = ("en", "zh")
LONGEST_NAME = 100
TIER_NAMES = {
    "en": {"standard": "Standard", "silver": "Silver", "gold": "Gold", "platinum": "Platinum"},
    "zh": {"standard": "普通", "silver": "银卡", "gold": "金卡", "platinum": "铂金"},
}


class CannotRender(ValueError):  # noqa: N818
    """The template asks for something that is not there, or for too much."""


class _Limited(Environment):
    """A template that loops or grows without end is stopped long before anybody notices."""

    context_depth_limit = 10
    loop_iteration_limit = 1_000
    local_namespace_limit = 20_000
    output_stream_limit = 100_000


@dataclass(frozen=True)
class Content:
    """A message in plain text. ``subject`` is one line."""

    subject: str
    body: str


def language_of(wanted: str | None, default: str) -> str:
    """``zh`` or ``en``: the customer's if there is a template for it (zh-Hans-CN → zh), else the deployment's."""
    for tag in (wanted, default):
        primary = (tag or "").replace("_", "-").split("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return LANGUAGES[0]


def tier_name(tier: str, language: str) -> str:
    """What customers call a tier; a company's own tier goes by its code."""
    return TIER_NAMES[language].get(tier, tier.replace("_", " ").title())


def polite_name(name: str | None) -> str:
    """A name fit for a greeting: one line, not endless; empty if there is none, and templates greet without it."""
    return " ".join((name or "").split())[:LONGEST_NAME]


def render(template: str, values: Mapping[str, Any]) -> Content:
    """The first line of the rendered template is the subject, the rest after an empty line the body.

    Raises CannotRender for a missing value, a broken template or one past its limits.
    """
    try:
        rendered = (
            _Limited(loader=DictLoader({}), undefined=StrictUndefined).from_string(template).render(**values)
        )
    except (LiquidError, RecursionError) as error:
        raise CannotRender(str(error)) from error
    subject, _, body = rendered.strip().partition("\n")
    subject = " ".join(subject.split())
    if not subject or not body.strip():
        raise CannotRender("a message needs a subject and a body")
    return Content(subject, body.strip() + "\n")
