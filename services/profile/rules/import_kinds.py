"""What can be imported beside purchases, and what is told of each: the fields that a mapping may fill."""

from typing import Literal, NamedTuple

Type = Literal[
    "id",
    "text",
    "note",
    "code",
    "choice",
    "day",
    "time",
    "country",
    "currency",
    "language",
    "zone",
    "list",
    "whole",
    "decimal",
    "truth",
]


class Field(NamedTuple):
    """What a field's text must be. ``note`` is free text with line breaks, ``code`` a lower_snake word, one of
    ``choices`` where there are any, ``choice`` one of them as it stands, ``truth`` yes or no."""

    type: Type
    required: bool = False
    choices: tuple[str, ...] = ()
    longest: int = 200


_CUSTOMER = Field("id", required=True)

KINDS: dict[str, dict[str, Field]] = {
    # And attributes.<name> for every attribute that the company has defined.
    "customers": {
        "external_id": Field("id", required=True),
        "kind": Field("code", choices=("person", "organisation")),
        "name": Field("text"),
        "email": Field("text", longest=254),
        "phone": Field("text", longest=40),
        "birth_date": Field("day"),
        "country": Field("country"),
        "region": Field("text", longest=100),
        "city": Field("text", longest=100),
        "postcode": Field("text", longest=20),
        "gender": Field("code", choices=("female", "male", "diverse", "undisclosed")),
        "education": Field(
            "code",
            choices=(
                "none",
                "primary",
                "secondary",
                "vocational",
                "bachelor",
                "master",
                "doctorate",
                "other",
            ),
        ),
        "income_band": Field("text", longest=100),
        "industry": Field("text", longest=100),
        "organisation_size": Field(
            "choice", choices=("1-9", "10-49", "50-249", "250-999", "1000-4999", "5000+")
        ),
        "interests": Field("list"),
        "lifestyle": Field("text", longest=100),
        "personal_values": Field("list"),
        "language": Field("language"),
        "time_zone": Field("zone"),
        "acquisition_channel": Field("text", longest=100),
        "tags": Field("list"),
        "staff_ids": Field("list"),
        "teams": Field("list"),
        "stores": Field("list"),
        "registered_at": Field("time"),
    },
    "products": {
        "sku": Field("id", required=True),
        "name_zh": Field("text"),
        "name_en": Field("text"),
        "brand": Field("text"),
        "category": Field("text", longest=200),
        "price": Field("decimal"),
        "currency": Field("currency"),
        "stock": Field("whole"),
        "replenishable": Field("truth"),
        "accessory_of": Field("id"),
        "active": Field("truth"),
    },
    # Without an id of its own a row is known by all that it says.
    "activities": {
        "external_id": Field("id"),
        "type": Field("code", required=True),
        "occurred_at": Field("time", required=True),
        "customer": Field("id"),
        "device_id": Field("id"),
        "channel": Field("text", longest=100),
        "sku": Field("id"),
        "category": Field("text"),
        "page": Field("text", longest=1000),
        "query": Field("text", longest=1000),
        "result_count": Field("whole"),
        "quantity": Field("whole"),
        "campaign_id": Field("text", longest=100),
    },
    "interactions": {
        "external_id": Field("id"),
        "customer": _CUSTOMER,
        "kind": Field("code", required=True, choices=("call", "email", "visit", "chat", "letter", "other")),
        "direction": Field("code", required=True, choices=("inbound", "outbound")),
        "occurred_at": Field("time", required=True),
        "channel": Field("text", longest=100),
        "store": Field("text", longest=100),
        "staff_id": Field("text", longest=100),
        "outcome": Field("code"),
        "notes": Field("note", longest=8000),
        "next_step": Field("note", longest=8000),
        "next_step_due_at": Field("time"),
    },
    "consents": {
        "customer": _CUSTOMER,
        "purpose": Field(
            "code",
            required=True,
            choices=("marketing", "profiling", "personalisation", "survey", "sharing"),
        ),
        "channel": Field(
            "code", required=True, choices=("email", "sms", "phone", "wechat", "push", "in_app")
        ),
        "state": Field("code", required=True, choices=("granted", "denied", "withdrawn")),
        "collected_at": Field("time"),
        "collected_where": Field("text", longest=100),
        "collected_by": Field("text", longest=100),
        "text_version": Field("text", longest=100),
        "evidence": Field("note", longest=2000),
    },
    "tags": {
        "customer": _CUSTOMER,
        "tag": Field("text", required=True, longest=100),
        "expires_at": Field("time"),
    },
}

ATTRIBUTE = "attributes."
_ATTRIBUTE = Field("text", longest=1000)


def fields_of(kind: str) -> dict[str, Field]:
    return KINDS.get(kind, {})


def field_of(kind: str, name: str) -> Field:
    """Of a field that the kind has, or of a defined attribute, whose value is read as its definition says."""
    return _ATTRIBUTE if kind == "customers" and name.startswith(ATTRIBUTE) else KINDS[kind][name]
