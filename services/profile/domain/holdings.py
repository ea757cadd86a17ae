"""What profile holds about a person, table by table: what an access request shows of it, and what an erasure leaves.

A table that is bound to customers and stands in neither list is a defect, and tests/profile/test_holdings.py says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from services.profile.tables import metadata

DELETE = "delete"
KEEP = "keep"


@dataclass(frozen=True)
class Holding:
    """Rows of ``table`` that belong to a customer, shown as ``section``.

    They are those whose ``owners`` are all among the ids of the person, in the table itself or in ``parent`` (table,
    column of this table that points at its key). Sealed columns are sealed for ``subject``, at the place
    ``table.column:key``. ``hidden`` columns are not shown, for the reason given. ``erasure`` is DELETE, KEEP, or what
    the columns become – ``sealed`` columns always become null.
    """

    section: str
    table_name: str
    erasure: str | Mapping[str, str]
    owners: Sequence[str] = ("customer_id",)
    subject: str = "recorded_customer_id"
    parent: tuple[str, str] | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        return metadata.tables[self.table_name]

    @property
    def bound_to(self) -> Table:
        """The table that has the owners."""
        return metadata.tables[self.parent[0]] if self.parent else self.table

    @property
    def key(self) -> list[Any]:
        return list(self.table.primary_key.columns)

    @property
    def sealed(self) -> list[str]:
        return [column.name for column in self.table.columns if column.name.endswith("_sealed")]

    @property
    def shown(self) -> list[str]:
        return [column.name for column in self.table.columns if column.name not in self.hidden]


_OURS = "how we store it, nothing about the person"
_BLIND = "a token of a value that is shown in clear"
_DEVICE = "a token: the device id itself was never kept"

_NOTHING_LEFT = {
    "birth_month_day": "null",
    "country": "null",
    "region": "null",
    "city": "null",
    "gender": "null",
    "education": "null",
    "income_band": "null",
    "industry": "null",
    "organisation_size": "null",
    "interests": "'{}'",
    "lifestyle": "null",
    "personal_values": "'{}'",
    "language": "null",
    "time_zone": "null",
    "acquisition_channel": "null",
    "tags": "'{}'",
    "staff_ids": "'{}'",
    "teams": "'{}'",
    "stores": "'{}'",
    "attributes": "'{}'",
    "provenance": "'{}'",
    "completeness": "0",
    "due_at": "null",
    "tier": "null",
    "state": "'erased'",
    "merged_into": "null",
    "version": "version + 1",
}

# In the order in which rows can be deleted.
HOLDINGS: tuple[Holding, ...] = (
    Holding(
        "customer",
        "customer",
        _NOTHING_LEFT,
        subject="customer_id",
        hidden={"facets": _OURS, "version": _OURS, "due_at": _OURS, "completeness": _OURS},
    ),
    Holding("external_ids", "customer_external_id", DELETE, subject="customer_id"),
    Holding("identities", "customer_identity", DELETE, subject="customer_id", hidden={"token": _BLIND}),
    Holding("devices", "device_session", DELETE, subject="customer_id", hidden={"device_token": _DEVICE}),
    Holding(
        "merges",
        "merge",
        {},
        owners=("winner_id", "loser_id"),
        subject="winner_id",
    ),
    Holding("contacts", "contact", DELETE, hidden={"version": _OURS}),
    Holding("addresses", "customer_address", DELETE, hidden={"version": _OURS}),
    Holding("measures", "customer_measure", DELETE, subject="customer_id"),
    Holding("tags", "customer_tag", DELETE),
    Holding("tag_history", "tag_change", DELETE),
    Holding("consents", "consent", {}, hidden={"number": _OURS}),
    Holding("consents_that_end", "consent_expiry", DELETE, parent=("consent", "consent_id")),
    Holding("sign_ups", "sign_up", {"confirmation_id": "null"}),
    Holding("confirmations", "confirmation", DELETE, hidden={"address_token": _BLIND}),
    Holding("suppressions", "suppression", DELETE, hidden={"address_token": _BLIND}),
    Holding("disclosures", "disclosure", KEEP, subject="customer_id"),
    Holding("purchases", "purchase", KEEP, hidden={"fingerprint": _OURS}),
    Holding(
        "purchase_lines",
        "purchase_line",
        KEEP,
        parent=("purchase", "purchase_id"),
        hidden={"unit_cost_minor": "what it cost the company says nothing about the person"},
    ),
    Holding("deliveries", "fulfilment", {}, parent=("purchase", "purchase_id")),
    Holding("cancellations", "purchase_cancellation", KEEP, parent=("purchase", "purchase_id")),
    Holding("returns", "purchase_return", KEEP, hidden={"fingerprint": _OURS}),
    Holding("return_lines", "purchase_return_line", KEEP, parent=("purchase_return", "return_id")),
    Holding(
        "warranty_extensions", "warranty_extension", DELETE, parent=("owned_product", "owned_product_id")
    ),
    Holding("owned_products", "owned_product", DELETE, hidden={"serial_number_token": _BLIND}),
    Holding(
        "activities",
        "activity",
        DELETE,
        hidden={"device_token": _DEVICE, "fingerprint": _OURS},
    ),
    Holding("interactions", "interaction", DELETE),
    Holding("referral_codes", "referral_code", {"revoked_at": "coalesce(revoked_at, now())"}),
    Holding("referral_sides", "referral_party", KEEP),
    Holding(
        "referrals",
        "referral",
        {"device_token": "null"},
        parent=("referral_party", "referral_id"),
        hidden={
            "code": "the other side's, on one side of it",
            "flags": "what was compared with the other side",
            "purchase_id": "the other side's, on one side of it",
            "device_token": _DEVICE,
        },
    ),
    Holding("access_requests", "access_request", KEEP, subject="customer_id"),
    Holding("erasures", "erasure", KEEP, subject="customer_id"),
)

# Bound to customers, and still in no section.
LEFT_OUT: Mapping[str, str] = {
    "customer_token": "tokens of what the sections show in clear; deleted by an erasure",
    "duplicate": "a suspicion about two people, of whom the other has rights, too; deleted by an erasure",
    "erasure_receipt": "about the services",
    "forgotten_name": "tokens of erased people only",
    "access_block": "the sealed copies themselves; destroyed by an erasure",
    "export_block": "sealed files about many people; those that are ready when one of them is erased expire at once",
}
