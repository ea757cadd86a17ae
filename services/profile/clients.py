"""What profile asks the other services: the data of one person, for an access request; nothing of it is kept in clear."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from shared.auth.client import CallRefused, ServiceClient
from shared.settings import Settings

Sections = dict[str, list[dict[str, Any]]]


class Neighbours:
    """The services that may hold data of a person."""

    def __init__(self, clients: dict[str, ServiceClient]) -> None:
        self._clients = clients

    def personal_data(self, service: str, customer_id: UUID) -> Sections:
        """What ``service`` holds, by section; nothing where it never heard of the customer. Raises Unavailable,
        CallRefused."""
        try:
            reply = self._clients[service].get(f"/v1/customers/{customer_id}/personal-data")
        except CallRefused as refused:
            if refused.code in ("customer_not_found", "customer_erased"):
                return {}
            raise
        return dict(reply["sections"])


@contextmanager
def neighbours(settings: Settings, services: Sequence[str]) -> Iterator[Neighbours]:
    """Connections for one job."""
    with ExitStack() as open_things:
        yield Neighbours(
            {
                name: open_things.enter_context(ServiceClient(settings, name))  # type: ignore[arg-type]
                for name in services
            }
        )
