"""What became of a purchase after it was made: sent, delivered, called off."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

_MAY_BE_LATE = "promised_on is not null and (delivered_on is null or delivered_on > promised_on)"

# With the carrier, a tracking number leads to somebody's door: it is sealed under the customer for whom the purchase was
# recorded (under the purchase itself where there is none). `delivered_on` is the deployment's day of `delivered_at`.
fulfilment = Table(
    "fulfilment",
    metadata,
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), primary_key=True),
    Column("shipped_at", Timestamptz),
    Column("delivered_at", Timestamptz),
    Column("delivered_on", Date),
    Column("promised_on", Date),
    Column("carrier", Text),
    Column("tracking_number_sealed", LargeBinary),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("updated_at", Timestamptz, nullable=False),
    CheckConstraint("(delivered_at is null) = (delivered_on is null)", name="delivered_on_a_day"),
    Index("ix_fulfilment_may_be_late", "promised_on", "purchase_id", postgresql_where=text(_MAY_BE_LATE)),
    Index("ix_fulfilment_promised_on_purchase_id", "promised_on", "purchase_id"),
)

# At most one for a purchase: all of what had not come back by then. The amounts stand in the purchase's returned_minor, too.
purchase_cancellation = Table(
    "purchase_cancellation",
    metadata,
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), primary_key=True),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("reason", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("accounting_amount_minor", BigInteger, nullable=False),
)
