"""Canaries: values that must be found nowhere in clear, and the places where somebody would look for them."""

import base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

# Unlike anything else that anybody writes. Every canary's name, address and text holds it.
SONG = "zq7canary"


def song_in(content: bytes) -> bool:
    """Whether a canary sings in there: as text, in hexadecimal or in base64."""
    wanted = SONG.encode()
    forms = [wanted, wanted.upper(), wanted.hex().encode(), wanted.hex().upper().encode()]
    # Base64 of the middle of a text depends on where it stands: three shifts, without the ends that hold neighbours.
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + wanted)
        forms.append(coded[(shift * 8 + 5) // 6 : -4])
    return any(form in content for form in forms)


def phones_in(content: bytes, phones: Iterable[str]) -> list[str]:
    """Which of these numbers (E.164) stand there."""
    return [phone for phone in phones if phone.lstrip("+").encode() in content]


def dump(url: str) -> dict[str, bytes]:
    """Every table of a database as ``COPY (FORMAT binary)`` gives it: text in UTF-8, bytes as they are."""
    tables = {}
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') order by 1"
        ).fetchall()
        for (table,) in found:
            with connection.cursor().copy(f"copy {table} to stdout (format binary)") as copy:
                tables[table] = b"".join(bytes(part) for part in copy)
    return tables


Tell = Callable[[str, str, Any], Any]
"""Method, path below ``/profile/v1``, body → the decoded answer of a request that succeeded."""


def phone_of(number: int) -> str:
    return f"+86139{77_000_000 + number}"


def tell(request: Tell, number: int) -> str:
    """Everything that can be told about a person, with a canary in every personal part; the customer's id."""
    organisation = number % 10 == 9
    own = f"{SONG}-{number}"
    customer = request(
        "PUT",
        f"/customers/by-external-id/shop/c{number}",
        {
            "kind": "organisation" if organisation else "person",
            "name": f"金丝雀 {own}",
            "email": f"{own}@example.com",
            "phone": phone_of(number),
            "birth_date": "1990-05-01",
            "country": "CN",
            "language": "zh",
            "tags": ["vip"],
        },
    )["id"]
    here = f"/customers/{customer}"
    address = {"kind": "shipping", "country": "CN", "phone": phone_of(number)} | dict.fromkeys(
        ("recipient", "street", "district", "city"), f"路 {own}"
    )
    request("POST", f"{here}/addresses", address)
    if organisation:
        request("POST", f"{here}/contacts", {"name": f"李 {own}", "email": f"contact-{own}@example.com"})
    called = {"customer": {"id": customer}, "kind": "call", "direction": "inbound"}
    next_step = {"text": f"call {own} back", "due_at": "2027-01-01T10:00:00Z"}
    request("POST", "/interactions", called | {"notes": f"说 {own}", "next_step": next_step})
    request("POST", f"{here}/identities", {"namespace": "email", "value": f"second-{own}@example.com"})
    request("POST", f"{here}/identities", {"namespace": "device", "value": f"device-{own}"})
    request("POST", f"{here}/owned-products", {"sku": "CUP", "serial_number": f"SN-{own}"})
    consent = {"state": "granted", "evidence": f"said {own}"}
    request("PUT", f"{here}/consents/marketing/email", consent)
    bought = {"sku": "CUP", "quantity": 1, "unit_price": "10.00"}
    order = f"/purchases/shop/c{number}"
    request(
        "PUT",
        order,
        {"customer": {"id": customer}, "occurred_at": _yesterday(), "currency": "CNY", "lines": [bought]},
    )
    request("PUT", f"{order}/fulfilment", {"carrier": "SF Express", "tracking_number": f"SF{own}"})
    seen = {"type": "search", "occurred_at": _yesterday(), "customer": {"id": customer}, "query": f"找 {own}"}
    request(
        "POST",
        "/activities/batch",
        {"items": [seen | {"source": "web", "external_id": f"c{number}", "device_id": f"phone-{own}"}]},
    )
    asked = {"customer_ids": [customer], "purpose": "marketing", "channel": "email"}
    [point] = request("POST", "/contact-points/lookup", asked)["items"]
    assert point["address"] == f"{own}@example.com"
    return str(customer)


def _yesterday() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()
