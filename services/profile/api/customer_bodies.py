"""How customers look on the way in and out."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import Country, CustomerName, Day, Id, Label, Language, When, Zone
from services.profile.domain import customer_profiles as profiles
from services.profile.domain import customer_values
from services.profile.domain.customer_profiles import Told
from services.profile.domain.customer_values import ASSIGNED
from shared.auth.callers import Caller
from shared.errors import Forbidden
from shared.http.versions import etag

Kind = Literal["person", "organisation"]
Gender = Literal["female", "male", "diverse", "undisclosed"]
Education = Literal["none", "primary", "secondary", "vocational", "bachelor", "master", "doctorate", "other"]
OrganisationSize = Literal["1-9", "10-49", "50-249", "250-999", "1000-4999", "5000+"]
AttributeName = Annotated[
    StrictStr, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$"), Field(examples=["favourite_colour"])
]
AttributeValue = StrictStr | StrictBool | StrictInt | StrictFloat | list[StrictStr] | None


class ToldIn(BaseModel):
    """Where what is told comes from, and when it was true; now and the caller unless said."""

    source: Id | None = Field(default=None, examples=["crm"])
    at: When | None = None


class CustomerIn(BaseModel):
    """What is known about a customer. A field that is absent stays as it is, null removes it."""

    kind: Kind = "person"
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, examples=["王芳"])
    email: Annotated[str, Field(max_length=254)] | None = Field(
        default=None, examples=["wang.fang@example.com"]
    )
    phone: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="kept as E.164; without + it is a number of `country`",
        examples=["+8613812345678"],
    )
    birth_date: Day | None = None
    country: Country | None = None
    region: Label | None = Field(default=None, examples=["Shanghai"])
    city: Label | None = Field(default=None, examples=["Shanghai"])
    postcode: Annotated[str, Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="personal, as the name is", examples=["200040"]
    )
    gender: Gender | None = None
    education: Education | None = None
    income_band: Label | None = Field(default=None, examples=["50-75K"])
    industry: Label | None = Field(default=None, description="of an organisation", examples=["retail"])
    organisation_size: OrganisationSize | None = Field(default=None, description="employees")
    interests: list[Label] = Field(default=[], max_length=50, examples=[["hiking", "tea"]])
    lifestyle: Label | None = Field(default=None, examples=["family"])
    personal_values: list[Label] = Field(default=[], max_length=50, examples=[["sustainability"]])
    language: Language | None = None
    time_zone: Zone | None = None
    acquisition_channel: Label | None = Field(default=None, examples=["web"])
    tags: list[Label] = Field(default=[], max_length=100)
    staff_ids: list[Label] = Field(
        default=[], max_length=20, description="whose customer it is: members of staff by their ids"
    )
    teams: list[Label] = Field(default=[], max_length=20)
    stores: list[Label] = Field(default=[], max_length=20)
    attributes: dict[AttributeName, AttributeValue] = Field(
        default={},
        max_length=100,
        description="defined attributes by name (see /v1/attributes); null removes one, absent ones stay",
        examples=[{"favourite_colour": "red"}],
    )
    registered_at: When = Field(
        default=None,  # type: ignore[assignment]
        validate_default=False,
        description="when the customer became one; now unless said",
    )
    told: ToldIn | None = Field(default=None, description="kept with every field that is told here")

    def given(self, caller: Caller) -> dict[str, Any]:
        """What was said. Raises Forbidden ``assignment_not_yours``: who reaches some customers only does not decide who
        reaches whom."""
        given = self.model_dump(exclude_unset=True, exclude={"external_ids", "told"})
        if (caller.reach is not None or caller.customer_id is not None) and given.keys() & set(ASSIGNED):
            raise Forbidden("assignment_not_yours", "whose customer it is is not yours to say")
        return given

    def told_by(self, source: str) -> Told:
        if self.told is None:
            return Told(source)
        return Told(self.told.source or source, self.told.at)


class NewCustomerIn(CustomerIn):
    external_ids: list[CustomerName] = Field(default=[], max_length=20)


class CustomerOut(BaseModel):
    """Name, e-mail, phone, birth date, postcode and personal attributes are shown to callers with the scope pii:read and to
    the customer."""

    id: UUID
    kind: str
    external_ids: list[CustomerName]
    personal_data: Literal["shown", "withheld"]
    name: str | None
    email: str | None
    phone: str | None
    birth_date: date | None
    postcode: str | None
    country: str | None
    region: str | None
    city: str | None
    gender: str | None
    education: str | None
    income_band: str | None
    industry: str | None
    organisation_size: str | None
    interests: list[str]
    lifestyle: str | None
    personal_values: list[str]
    language: str | None
    time_zone: str | None
    acquisition_channel: str | None
    tags: list[str]
    staff_ids: list[str]
    teams: list[str]
    stores: list[str]
    attributes: dict[str, AttributeValue]
    tier: str | None = Field(description="as scoring last said")
    registered_at: datetime
    created_at: datetime
    updated_at: datetime
    version: int


def shown(session: Session, row: Row[Any], caller: Caller, response: Response) -> CustomerOut:
    response.headers["ETag"] = etag(row.version)
    return all_shown(session, [row], caller)[0]


def all_shown(session: Session, rows: Sequence[Row[Any]], caller: Caller) -> list[CustomerOut]:
    names = profiles.names_of(session, [row.customer_id for row in rows])
    may_see = may_see_personal(caller)
    personal: Sequence[Mapping[str, Any]] = [dict.fromkeys(profiles.PERSONAL)] * len(rows)
    attributes: Sequence[Mapping[str, Any]] = [{}] * len(rows)
    if may_see:
        personal = profiles.personal_of(session, rows)
        attributes = customer_values.personal_attributes_of(session, rows)
    return [
        CustomerOut.model_validate(
            {
                **row._mapping,
                **clear,
                "attributes": row.attributes | more,
                "id": row.customer_id,
                "personal_data": "shown" if may_see else "withheld",
                "external_ids": [
                    CustomerName(source=source, external_id=name) for source, name in names[row.customer_id]
                ],
            }
        )
        for row, clear, more in zip(rows, personal, attributes, strict=True)
    ]


def may_see_personal(caller: Caller) -> bool:
    return caller.may("pii:read") or caller.customer_id is not None


def said_by(caller: Caller) -> str:
    """Whom provenance names for what this caller tells."""
    return "customer" if caller.customer_id is not None else caller.name
