"""Customers: every side of them, the names that outside systems have for them, and their contacts."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# `facets` is everything a list filters by equality, as `country=CN`, `tag=vip`, `attribute.colour=red`: the database
# makes it from the other columns (migration 0004), so that whoever writes them need not know of it.
customer = Table(
    "customer",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name_sealed", LargeBinary),
    Column("email_sealed", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("birth_date_sealed", LargeBinary),
    Column("postcode_sealed", LargeBinary),
    # MM-DD: what birthday wishes need, and all that may leave this service about a birth date.
    Column("birth_month_day", Text),
    Column("country", Text),
    Column("region", Text),
    Column("city", Text),
    Column("gender", Text),
    Column("education", Text),
    Column("income_band", Text),
    Column("industry", Text),
    Column("organisation_size", Text),
    Column("interests", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("lifestyle", Text),
    Column("personal_values", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("language", Text),
    Column("time_zone", Text),
    Column("acquisition_channel", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Defined attributes: those that are not personal by name, and all personal ones as one sealed JSON object.
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    Column("attributes_sealed", LargeBinary),
    # Of each field that is known: when it was told or last confirmed, and by whom. {"country": {"at": …, "source": …}}
    Column("provenance", JSONB, nullable=False, server_default=text("'{}'")),
    Column("completeness", SmallInteger, nullable=False, server_default=text("0")),
    Column("due_at", Timestamptz, server_default=func.now()),
    # Whose customer it is: what a member of staff's token reaches.
    Column("staff_ids", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("teams", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("stores", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Followed from scoring; not edited here, so it moves no version.
    Column("tier", Text),
    Column("registered_at", Timestamptz, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("merged_into", Uuid, ForeignKey("customer.customer_id")),
    Column(
        "facets",
        ARRAY(Text),
        Computed(
            "customer_facets(kind, birth_month_day, country, region, city, gender, education, income_band, industry,"
            " organisation_size, lifestyle, language, time_zone, acquisition_channel, tier, interests,"
            " personal_values, tags, staff_ids, teams, stores, attributes)",
            persisted=True,
        ),
    ),
    CheckConstraint("kind in ('person', 'organisation')", name="kind"),
    CheckConstraint("state in ('active', 'merged', 'erased')", name="state"),
    CheckConstraint("(state = 'merged') = (merged_into is not null)", name="merged_into"),
    Index("ix_customer_merged_into", "merged_into", postgresql_where=text("merged_into is not null")),
    Index("ix_customer_created_at_customer_id", "created_at", "customer_id"),
    Index("ix_customer_facets", "facets", postgresql_using="gin"),
    Index("ix_customer_due", "due_at", "customer_id", postgresql_where=text("state = 'active'")),
)

customer_external_id = Table(
    "customer_external_id",
    metadata,
    Column("source", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
    Index("ix_customer_external_id_external_id", "external_id"),
)

# The people of an organisation. Sealed for `recorded_customer_id`.
contact = Table(
    "contact",
    metadata,
    Column("contact_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("role", Text),
    Column("name_sealed", LargeBinary),
    Column("email_sealed", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("language", Text),
    Column("created_at", Timestamptz, nullable=False),
    Column("updated_at", Timestamptz, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Index("ix_contact_customer_id_created_at_contact_id", "customer_id", "created_at", "contact_id"),
)
