"""Everything that a service holds about one person, for the company's answer to an access request.

Complete by construction: every table that names a customer is a section, with every column; what is sealed is opened. A
table whose rows hang on those of such a one says so: ``Table(…, info={"hangs_on": purchase})``.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, LargeBinary, MetaData, Row, Table, or_, select
from sqlalchemy.orm import Session

from shared import sealing

Sections = Mapping[str, Sequence[Mapping[str, Any]]]

_NAMES = ("customer_id", "recorded_customer_id")


class PersonalData(BaseModel):
    """``sections``: the rows about the person by table, times in UTC, amounts in minor units, texts in clear. A person who
    was merged is one with the winner and everybody else who was."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b",
                    "sections": {"customer": [{"customer_id": "019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b"}]},
                }
            ]
        }
    )

    customer_id: UUID
    sections: Mapping[str, Sequence[Mapping[str, Any]]]


def tables_about_customers(metadata: MetaData) -> list[Table]:
    """The tables with a column that names a customer, and those whose rows hang on one of them."""
    return [
        table
        for table in metadata.sorted_tables
        if "hangs_on" in table.info or any(name in table.c for name in _NAMES)
    ]


def of_person(session: Session, metadata: MetaData, customer_ids: Sequence[UUID]) -> Sections:
    """The rows about these customers, who are one person, by table and in the order of their keys.

    Sealed columns are those of bytes, sealed for ``recorded_customer_id`` in the place ``table.column:key``.
    """
    found = {}
    for table in tables_about_customers(metadata):
        rows = session.execute(
            select(table).where(_of(table, customer_ids)).order_by(*table.primary_key)
        ).all()
        found[table.name] = _opened(session, table, rows)
    return found


def _of(table: Table, customer_ids: Sequence[UUID]) -> ColumnElement[bool]:
    owner: Table | None = table.info.get("hangs_on")
    if owner is None:
        return or_(*(table.c[name].in_(customer_ids) for name in _NAMES if name in table.c))
    (key,) = owner.primary_key
    return table.c[key.name].in_(select(key).where(_of(owner, customer_ids)))


def _opened(session: Session, table: Table, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    opened = [dict(row._mapping) for row in rows]
    for column in table.c:
        if isinstance(column.type, LargeBinary):
            (key,) = table.primary_key
            texts = sealing.unseal_many(
                session,
                [
                    (
                        str(row["recorded_customer_id"]),
                        f"{table.name}.{column.name}:{row[key.name]}",
                        row[column.name],
                    )
                    for row in opened
                ],
            )
            for row, text in zip(opened, texts, strict=True):
                row[column.name] = text
    return opened
