"""What can be imported beside purchases, and what is told of each: the fields that a mapping may fill."""

from typing import Literal, NamedTuple

Type = Literal[
    "id",
    "text",
    "note",
    "label",
    "code",
    "day",
    "time",
    "country",
    "language",
    "zone",
    "list",
    "whole",
    "amount",
    "decimal",
    "truth",
]


class Field(NamedTuple):
    """What a field's text must be. ``note`` is free text, ``code`` one of ``choices``, ``truth`` yes or no, ``amount``
    an amount in whole units of a currency."""

    type: Type
    required: bool = False
    choices: tuple[str, ...] = ()
    longest: int = 200


_CUSTOMER = Field("id", required=True)

KINDS: dict[str, dict[str, Field]] = {
    "customers": {
        "external_id": Field("id", required=True),
        "kind": Field("code", choices=("person", "organisation")),
        "name": Field("text"),
        "email": Field("text", longest=254),
        "phone": Field("text", longest=40),
        "birth_date": Field("day"),
        "country": Field("country"),
        "region": Field("label"),
        "language": Field("language"),
        "time_zone": Field("zone"),
        "acquisition_channel": Field("label"),
        "tags": Field("list"),
        "registered_at": Field("time"),
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
        "text_version": Field("label"),
        "evidence": Field("note", longest=2000),
    },
}


def fields_of(kind: str) -> dict[str, Field]:
    return KINDS.get(kind, {})
