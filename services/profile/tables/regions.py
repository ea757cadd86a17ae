"""Places grouped by sales area, climate zone, income level or whatever else a company divides the world by."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, Text, func, text

from services.profile.tables.schema import metadata
from shared.database import Timestamptz

region_set = Table(
    "region_set",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_by", Text, nullable=False),
    CheckConstraint("kind in ('sales_area', 'climate_zone', 'income_level', 'other')", name="kind"),
)

# A place is a country, a region of it or a city, in lower case; '' = all of them. Within a set it lies in one area, and
# of two that fit a customer the narrower one decides.
region_place = Table(
    "region_place",
    metadata,
    Column("region_set", Text, ForeignKey("region_set.name", ondelete="CASCADE"), primary_key=True),
    Column("country", Text, primary_key=True),
    Column("region", Text, primary_key=True, server_default=text("''")),
    Column("city", Text, primary_key=True, server_default=text("''")),
    Column("area", Text, nullable=False),
)
