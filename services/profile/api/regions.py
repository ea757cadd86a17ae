"""/region-sets: places grouped by sales area, climate zone or income level."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.profile.api.fields import Country, Label
from services.profile.domain import customer_profiles, regions
from services.profile.domain.regions import Place
from shared.http.dependencies import Caller_, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1", tags=["regions"])

SetName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["sales"])]
Kind = Literal["sales_area", "climate_zone", "income_level", "other"]


class PlaceIn(BaseModel):
    """A country, a region of it or a city, written as customers' are."""

    country: Country
    region: Label | None = Field(default=None, examples=["Zhejiang"])
    city: Label | None = Field(default=None, examples=[None])


class AreaIn(BaseModel):
    name: Label = Field(examples=["east"])
    places: list[PlaceIn] = Field(default=[], max_length=2000)


class RegionSetIn(BaseModel):
    """Within a set a place lies in one area; of two that fit a customer the narrower decides."""

    kind: Kind
    title: Label | None = Field(default=None, examples=["Sales areas"])
    areas: list[AreaIn] = Field(default=[], max_length=500)


class RegionSetOut(RegionSetIn):
    name: str
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str


class RegionSetHead(BaseModel):
    name: str
    kind: str
    title: str | None
    version: int
    updated_at: datetime
    updated_by: str


class InAreaOut(BaseModel):
    region_set: str
    kind: str
    area: str


class CustomerRegionsOut(BaseModel):
    items: list[InAreaOut]


class AreaCountOut(BaseModel):
    area: str | None = Field(description="null = in none of the set's areas")
    customers: int


class AreaCountsOut(BaseModel):
    items: list[AreaCountOut]


@router.put(
    "/region-sets/{name}",
    scopes=["regions:write"],
    response_model=RegionSetOut,
    responses={201: {"model": RegionSetOut, "description": "It is new."}},
)
def save_region_set(
    name: SetName,
    body: RegionSetIn,
    session: Transaction,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Say how a set divides the world; replaces it whole.

    With If-Match only the version named is replaced; without it the set is made or replaced. The version moves only if
    something is different.
    """
    if if_match is not None:
        check_version(if_match, regions.find(session, name, lock=True).version)
    areas: dict[str, list[Place]] = {}
    for area in body.areas:
        places = [Place(place.country, place.region or "", place.city or "") for place in area.places]
        areas.setdefault(area.name, []).extend(places)
    row, new = regions.save(session, name, body.kind, body.title, areas, caller.name)
    response.status_code = 201 if new else 200
    return _shown(session, row, response)


@router.get("/region-sets", scopes=["regions:read"], reach="anyone")
def list_region_sets(session: Transaction, page: Page) -> PageOf[RegionSetHead]:
    """Region sets by name."""
    after = page.after(("name",))
    rows = regions.listed(session, after[0] if after else None, page.limit + 1)
    return page_of(RegionSetHead, rows, page, key=lambda row: (row.name,))  # type: ignore[return-value]


@router.get("/region-sets/{name}", scopes=["regions:read"], response_model=RegionSetOut, reach="anyone")
def get_region_set(name: SetName, session: Transaction, response: Response) -> Any:
    """A region set with its areas and places. An area without places is not kept."""
    return _shown(session, regions.find(session, name), response)


@router.delete("/region-sets/{name}", scopes=["regions:write"], status_code=204)
def delete_region_set(name: SetName, session: Transaction) -> None:
    """Do away with a region set."""
    regions.forget(session, name)


@router.get("/region-sets/{name}/customers", scopes=["regions:read"])
def count_customers_by_area(name: SetName, session: Transaction) -> AreaCountsOut:
    """How many customers are in which area of a set."""
    rows = regions.customers_by_area(session, name)
    return AreaCountsOut(items=[AreaCountOut.model_validate(row._mapping) for row in rows])


@router.get("/customers/{customer_id}/regions", scopes=["regions:read"])
def list_customer_regions(customer_id: UUID, session: Transaction) -> CustomerRegionsOut:
    """In which area of which set a customer is."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = regions.areas_of(session, owner)
    return CustomerRegionsOut(items=[InAreaOut.model_validate(row._mapping) for row in rows])


def _shown(session: Transaction, row: Row[Any], response: Response) -> RegionSetOut:
    response.headers["ETag"] = etag(row.version)
    areas: dict[str, list[PlaceIn]] = {}
    for place, area in regions.places_of(session, row.name).items():
        shown = PlaceIn(country=place.country, region=place.region or None, city=place.city or None)
        areas.setdefault(area, []).append(shown)
    return RegionSetOut.model_validate(
        dict(row._mapping) | {"areas": [AreaIn(name=area, places=places) for area, places in areas.items()]}
    )
