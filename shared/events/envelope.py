"""The part every event has. Events are permanent: published fields are added, never renamed or removed."""

from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from shared.ids import uuid7

Timestamp = AwareDatetime


class Event(BaseModel):
    """A fact, in the past tense.

    ``type`` is its CloudEvents type (``regulars.profile.purchase_recorded.v1``), ``topic`` where it is published;
    events with one ``key`` arrive in the order in which they were announced. The fields are the event's ``data``;
    its id, cause and trace travel in the envelope.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    type: ClassVar[str]
    kept_days: ClassVar[int | None] = None
    """How long the topic is kept; None = without limit. Consumers of a topic that is not name it in ``lossy_topics``."""

    _id: UUID | None = PrivateAttr(
        default=None
    )  # made when it is asked for: one that was received has its own
    _cause: UUID | None = PrivateAttr(default=None)
    _traceparent: str | None = PrivateAttr(default=None)

    @property
    def key(self) -> str:
        raise NotImplementedError

    @property
    def id(self) -> UUID:
        if self._id is None:
            self._id = uuid7()
        return self._id

    def because(self, cause: "Event") -> Self:
        """This event follows from ``cause``: its causation id and trace go into the envelope."""
        self._cause = cause.id
        self._traceparent = cause._traceparent
        return self

    def caused_by(self, cause_id: UUID) -> Self:
        """As ``because``, where only the id of the cause was kept (a job that acts on an event of last night)."""
        self._cause = cause_id
        return self


class CustomerEvent(Event):
    """A fact about one customer.

    ``customer_id`` is its owner now; ``recorded_customer_id`` the one under whom it was recorded, where that
    differs (after a merge), and then the key.
    """

    customer_id: UUID
    recorded_customer_id: UUID | None = None

    @property
    def key(self) -> str:
        return str(self.recorded_customer_id or self.customer_id)


class ErasureCompleted(CustomerEvent):
    """The announcing service has forgotten an erased customer: its receipt. One subclass per service and topic."""

    erased_at: Timestamp
    completed_at: Timestamp


class OpenEnumeration:
    """Enumerations are open: a value that this version does not know is read as ``unknown``. The known ones stand in
    the schema as ``x-known-values``, for information."""

    def __init__(self, *known: str) -> None:
        self.known = frozenset(known)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        known = self.known
        return no_info_before_validator_function(
            lambda value: value if value is None or value in known else "unknown", handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "x-known-values": sorted(self.known)}


def open_enumeration(*known: str) -> OpenEnumeration:
    return OpenEnumeration(*known)


Reason = Annotated[
    str,
    open_enumeration(
        "purchase", "return", "redemption", "calibration", "policy", "review", "manual", "merge", "import"
    ),
]
