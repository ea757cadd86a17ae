"""The feedback database on one page.

``customer_id`` is the owner now, ``recorded_customer_id`` the one under whom a fact was recorded: it never changes, so a
merge can be undone, and what is sealed is sealed for it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.customers import customer_columns
from shared.database import Timestamptz, Uuid, new_metadata

metadata = new_metadata()

customer = Table("customer", metadata, *customer_columns())

# The last tier that was announced for each; while merged the owner's counts.
customer_tier = Table(
    "customer_tier",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("effective_at", Timestamptz, nullable=False),
)

survey = Table(
    "survey",
    metadata,
    Column("survey_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    # What the customer is asked, by language; a language that is missing here has a question of its own in the page.
    Column("titles", JSONB, nullable=False),
    Column("throttle_days", Integer, nullable=False),
    Column("delay_minutes", Integer, nullable=False),
    Column("answer_days", Integer, nullable=False),
    Column("state", Text, nullable=False),
    # Facts recorded before this moment start nothing, however late they arrive here.
    Column("active_since", Timestamptz, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    CheckConstraint("measure in ('nps')", name="measure"),
    CheckConstraint("state in ('active', 'paused')", name="state"),
    CheckConstraint("throttle_days >= 0 and delay_minutes >= 0 and answer_days > 0", name="durations"),
    Index("ix_survey_created_at", "created_at", "survey_id"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("invitation_id", Uuid, primary_key=True),
    Column("survey_id", Uuid, ForeignKey("survey.survey_id"), nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("purchase_id", Uuid, nullable=False),
    Column("channel", Text, nullable=False),
    Column("invited_at", Timestamptz, nullable=False),  # the recorded_at of the purchase
    Column("due_at", Timestamptz, nullable=False),
    Column("expires_at", Timestamptz, nullable=False),
    Column("announced", Boolean, nullable=False),
    UniqueConstraint("survey_id", "purchase_id"),
    Index("ix_invitation_customer_id", "customer_id", "invited_at", "invitation_id"),
    Index("ix_invitation_survey_id", "survey_id", postgresql_where=text("announced")),
    Index("ix_invitation_due_at", "due_at", postgresql_where=text("not announced")),
)

answer = Table(
    "answer",
    metadata,
    Column("answer_id", Uuid, primary_key=True),
    Column("invitation_id", Uuid, ForeignKey("invitation.invitation_id"), nullable=False, unique=True),
    Column("survey_id", Uuid, ForeignKey("survey.survey_id"), nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("score", SmallInteger, nullable=False),
    Column("comment", LargeBinary),  # sealed
    Column("language", Text, nullable=False),
    Column("answered_at", Timestamptz, nullable=False),
    CheckConstraint("score between 0 and 10", name="score"),
    Index("ix_answer_survey_id", "survey_id", "answered_at", "answer_id"),
    Index("ix_answer_customer_id", "customer_id", "answered_at", "answer_id"),
)

# What each said last itself; of those of one owner the latest change counts.
satisfaction = Table(
    "satisfaction",
    metadata,
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("measure", Text, nullable=False),
    Column("satisfaction", Text, nullable=False),
    Column("score", SmallInteger),
    Column("previous", Text, nullable=False),
    # Since when the customer is in this group; answers that confirm it leave it.
    Column("since", Timestamptz, nullable=False),
    CheckConstraint("satisfaction in ('promoter', 'passive', 'detractor', 'unknown')", name="satisfaction"),
    Index("ix_satisfaction_customer_id", "customer_id"),
)

response_promise = Table(
    "response_promise",
    metadata,
    Column("tier", Text, primary_key=True),  # 'none' = no tier, or one without a promise of its own
    Column("hours", Integer, nullable=False),
    CheckConstraint("hours > 0", name="hours"),
)

case_number = Sequence("case_number", start=1001, metadata=metadata)

customer_case = Table(
    "customer_case",
    metadata,
    Column("case_id", Uuid, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("category", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("subject", LargeBinary, nullable=False),  # sealed
    Column("purchase_id", Uuid),
    Column("answer_id", Uuid, ForeignKey("answer.answer_id"), unique=True),
    Column("tier", Text),  # at the time of opening: what was promised then holds
    Column("opened_at", Timestamptz, nullable=False),
    Column("opened_by", Text),
    # Of the current opening: reopening starts the clock again.
    Column("first_response_due_at", Timestamptz, nullable=False),
    Column("first_responded_at", Timestamptz),
    Column("resolved_at", Timestamptz),
    Column("reopened_count", Integer, nullable=False, server_default=text("0")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("updated_at", Timestamptz, nullable=False),
    CheckConstraint("state in ('open', 'resolved')", name="state"),
    CheckConstraint("(state = 'resolved') = (resolved_at is not null)", name="resolved_at"),
    Index("ix_customer_case_opened_at", "opened_at", "case_id"),
    Index("ix_customer_case_customer_id", "customer_id", "opened_at", "case_id"),
    Index("ix_customer_case_state", "state", "opened_at", "case_id"),
    Index(
        "ix_customer_case_first_response_due_at",
        "first_response_due_at",
        postgresql_where=text("state = 'open' and first_responded_at is null"),
    ),
)

case_message = Table(
    "case_message",
    metadata,
    Column("message_id", Uuid, primary_key=True),
    Column("case_id", Uuid, ForeignKey("customer_case.case_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),  # the subject for whom the body is sealed
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed
    Column("author", Text),
    Column("written_at", Timestamptz, nullable=False),
    CheckConstraint("kind in ('customer', 'reply', 'note')", name="kind"),
    Index("ix_case_message_case_id", "case_id", "written_at", "message_id"),
)

# What did not reach a person, by what would have started it and why it did not.
held_back = Table(
    "held_back",
    metadata,
    Column("trigger", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
