"""What is given about a customer, in the forms that are stored; and the personal part of it, sealed and opened.

Personal, and so sealed: name, e-mail, phone, birth date, postcode (with a birthday and a gender it names a person) and
the defined attributes that say so. Everything else is coarse: it may be filtered by, and much of it be announced.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.rules.contacts import normal_email, normal_phone
from shared import sealing
from shared.errors import Fault, Invalid

# Field of the API → column under seal. The subject is the customer, the place the column and row.
PERSONAL = {
    "name": "name_sealed",
    "email": "email_sealed",
    "phone": "phone_sealed",
    "birth_date": "birth_date_sealed",
    "postcode": "postcode_sealed",
}
# What events carry of a customer (shared/events/profile).
ANNOUNCED = (
    "kind",
    "country",
    "region",
    "language",
    "time_zone",
    "acquisition_channel",
    "tags",
    "registered_at",
    "birth_month_day",
)
# Whose customer it is, and so which members of staff reach it.
ASSIGNED = ("staff_ids", "teams", "stores")
LISTS = ("interests", "personal_values", "tags", *ASSIGNED)
COARSE = (
    *ANNOUNCED,
    "city",
    "gender",
    "education",
    "income_band",
    "industry",
    "organisation_size",
    "interests",
    "lifestyle",
    "personal_values",
    *ASSIGNED,
)
# Told with the customer, but no attributes that could become stale; tags have a history of their own.
WITHOUT_PROVENANCE = frozenset({"kind", "registered_at", "tags", "attributes", "birth_month_day", *ASSIGNED})

Given = Mapping[str, Any]
"""Fields as the API names them; absent = not spoken of, None = removed."""


def normalised(given: Given, country: str | None) -> dict[str, Any]:
    """``given`` in the forms that are stored; a phone number without + is one of the customer's country.

    Raises Invalid ``email_invalid``, ``phone_invalid``, ``not_removable``.
    """
    values = dict(given)
    if values.get("email") is not None:
        values["email"] = normal_email(values["email"])
        if values["email"] is None:
            raise _unusable("email", "email_invalid", "this is no e-mail address")
    if values.get("phone") is not None:
        values["phone"] = normal_phone(values["phone"], values.get("country", country))
        if values["phone"] is None:
            raise _unusable(
                "phone", "phone_invalid", "this is no phone number; write it as +86…, or give the country"
            )
    if isinstance(values.get("birth_date"), date):
        values["birth_date"] = values["birth_date"].isoformat()
    if values.get("name") is not None:
        values["name"] = values["name"].strip() or None
    if values.get("postcode") is not None:
        values["postcode"] = normal_postcode(values["postcode"])
    for field in LISTS:
        if field in values:
            values[field] = sorted(set(values[field] or ()))
    for field in ("kind", "registered_at"):
        if values.get(field, "") is None:
            raise _unusable(field, "not_removable", f"{field} cannot be removed")
    return values


def normal_postcode(text: str) -> str | None:
    """In capitals, with single blanks."""
    return " ".join(text.upper().split()) or None


def personal_of(
    session: Session, rows: Sequence[Any], fields: Iterable[str] = PERSONAL
) -> list[dict[str, str | None]]:
    """The personal ``fields`` of each row in clear: for callers who may see them, and for nobody's log."""
    wanted = tuple(fields)
    places = [
        (subject, place(column, subject), getattr(row, column))
        for row in rows
        for subject in (str(row.customer_id),)
        for column in map(PERSONAL.__getitem__, wanted)
    ]
    clear = iter(sealing.unseal_many(session, places))
    return [{field: next(clear) for field in wanted} for _ in rows]


def personal_attributes_of(session: Session, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The personal ones among the defined attributes of each row, in clear."""
    places = [
        (str(row.customer_id), place("attributes_sealed", row.customer_id), row.attributes_sealed)
        for row in rows
    ]
    return [{} if clear is None else json.loads(clear) for clear in sealing.unseal_many(session, places)]


def sealed(
    session: Session, customer_id: UUID, personal: Mapping[str, str | None]
) -> dict[str, bytes | None]:
    """Columns of the given personal fields; an empty value empties its column."""
    return _seal(session, customer_id, {PERSONAL[name]: value for name, value in personal.items()})


def sealed_attributes(
    session: Session, customer_id: UUID, personal: Mapping[str, Any]
) -> dict[str, bytes | None]:
    text = json.dumps(personal, ensure_ascii=False, sort_keys=True) if personal else None
    return _seal(session, customer_id, {"attributes_sealed": text})


def place(column: str, customer_id: UUID | str) -> str:
    return f"customer.{column}:{customer_id}"


def month_day(birth_date: str | None) -> str | None:
    return None if birth_date is None else birth_date[5:]


def _seal(session: Session, customer_id: UUID, columns: Mapping[str, str | None]) -> dict[str, bytes | None]:
    texts = {column: value for column, value in columns.items() if value is not None}
    values = sealing.seal_many(
        session, [(str(customer_id), place(column, customer_id), value) for column, value in texts.items()]
    )
    return dict.fromkeys(columns) | dict(zip(texts, values, strict=True))


def _unusable(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
