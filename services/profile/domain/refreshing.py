"""The customer's own data, brought up to date by the customer through a signed link."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.profile.domain import confirmations, customer_profiles
from services.profile.rules.contacts import normal_phone
from shared.errors import Fault, Invalid

FIELDS = ("name", "phone", "birth_date", "region", "language")
"""Not the e-mail address: whoever has another one confirms that by a link to it."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


def known(session: Session, customer_id: UUID) -> dict[str, str]:
    """What the form shows; empty where nothing is known. Raises NotFound, Gone."""
    row = customer_profiles.get(session, customer_id)
    [personal] = customer_profiles.personal_of(session, [row], ("name", "phone", "birth_date"))
    values = personal | {"region": row.region, "language": row.language}
    return {field: value or "" for field, value in values.items()}


def write(session: Session, confirmation_id: UUID, entered: Mapping[str, str], now: datetime) -> None:
    """Use the link up and write what was entered; an empty field removes what was known. Raises Invalid with the fields
    at fault, and as confirmations.take."""
    _, whose = confirmations.take(session, confirmation_id, now)
    wrong = [field for field in FIELDS if not _is_fine(field, entered[field], whose.country)]
    if wrong:
        faults = [Fault(f"/{field}", f"{field}_invalid", "cannot be taken") for field in wrong]
        raise Invalid("details_invalid", "the form cannot be taken", faults=faults)
    given: dict[str, Any] = {field: entered[field] or None for field in FIELDS}
    if given["birth_date"]:
        given["birth_date"] = date.fromisoformat(given["birth_date"])
    told = customer_profiles.Told("customer")
    customer_profiles.change(session, whose, given, now, told=told)


def _is_fine(field: str, value: str, country: str | None) -> bool:
    if not value:
        return True
    match field:
        case "phone":
            return normal_phone(value, country) is not None
        case "birth_date":
            try:
                return re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII) is not None and bool(
                    date.fromisoformat(value)
                )
            except ValueError:
                return False
        case "language":
            return _LANGUAGE.fullmatch(value) is not None
    return len(value) <= (200 if field == "name" else 100) and value.isprintable()
