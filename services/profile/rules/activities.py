"""What an activity may say, and what of it is nobody's business."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from services.profile.rules.facts import CustomerRef

BUILT_IN = frozenset({"product_view", "page_view", "search", "add_to_cart", "checkout_started", "app_open"})

Property = bool | float | int | str
# Name of a property → ``{"kind": "number" | "boolean" | "code", "values": [...]}``.
Definition = Mapping[str, Mapping[str, Any]]

# A step of a page's path that names somebody or something single: an address, a long number, an id.
_SINGULAR = re.compile(r"@|%40|\d{5,}|^[0-9a-fA-F-]{16,}$")
_FIELD = "\x1f"


class ActivityFacts(NamedTuple):
    """An activity as somebody reports it, named by ``(source, external_id)`` or by ``activity_id``.

    ``customer`` None = whoever uses ``device_id``. ``query`` is what was searched for: kept under seal for a known
    customer, for an unknown device not at all.
    """

    type: str
    occurred_at: datetime
    activity_id: UUID | None = None
    source: str | None = None
    external_id: str | None = None
    customer: CustomerRef | None = None
    device_id: str | None = None
    channel: str | None = None
    sku: str | None = None
    category: str | None = None
    page: str | None = None
    query: str | None = None
    result_count: int | None = None
    quantity: int | None = None
    campaign_id: str | None = None
    properties: tuple[tuple[str, Property], ...] = ()


def coarse_page(page: str | None) -> str | None:
    """A page's path without what could name a person: no query, no fragment, no host, and every step that holds an
    address or an id is ``:id``."""
    if page is None:
        return None
    path = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", "", page)
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    return "/".join(":id" if _SINGULAR.search(step) else step for step in path.split("/")) or "/"


def unfit(properties: tuple[tuple[str, Property], ...], definition: Definition) -> tuple[str, str] | None:
    """The first property that the type's definition does not allow, and why; None if all fit."""
    for name, value in properties:
        allowed = definition.get(name)
        if allowed is None:
            return name, "property_undefined"
        kind = allowed["kind"]
        fits = (
            isinstance(value, bool)
            if kind == "boolean"
            else isinstance(value, int | float) and not isinstance(value, bool)
            if kind == "number"
            else isinstance(value, str) and value in allowed["values"]
        )
        if not fits:
            return name, "property_unfit"
    return None


def fingerprint(facts: ActivityFacts, device_token: bytes | None) -> bytes:
    """What makes two reports of one activity the same report: everything but the customer, who may become known later,
    and what was searched for, which must not be guessable from a hash."""
    parts = (
        facts.type,
        facts.occurred_at.astimezone(UTC).isoformat(),
        device_token.hex() if device_token else "",
        *(
            "\x00" if value is None else str(value)
            for value in (
                facts.channel,
                facts.sku,
                facts.category,
                facts.page,
                facts.result_count,
                facts.quantity,
                facts.campaign_id,
            )
        ),
        *(f"{name}={value!r}" for name, value in sorted(facts.properties)),
    )
    return sha256(_FIELD.join(parts).encode()).digest()[:16]
