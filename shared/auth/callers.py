"""Who is calling, and what each caller may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

# What the keys of the environment may do: an operator, and the services among themselves.
# Whom each service may call is this table and nothing more.
ENVIRONMENT_SCOPES: Mapping[str, frozenset[str]] = {
    "admin": frozenset({"*"}),
    "profile": frozenset({"keys:read", "rights:read"}),
    "scoring": frozenset({"keys:read"}),
    "campaigns": frozenset({"keys:read", "contact:read", "links:read", "scores:read", "suppressions:write"}),
    "feedback": frozenset({"keys:read", "compensation:write", "interactions:write"}),
}


@dataclass(frozen=True, slots=True)
class Reach:
    """Which customers a member of staff is there for: those of any of these. ``staff_ids`` is the own portfolio."""

    staff_ids: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid credential.

    ``credential_id`` tells credentials apart and holds no secret and no personal data; ``name`` is what people
    called it. ``customer_id`` is set for a customer's own token, which reaches that customer's resources only;
    ``reach`` for a member of staff's who reaches some customers only.
    """

    name: str
    credential_id: str
    scopes: frozenset[str]
    customer_id: UUID | None = None
    reach: Reach | None = None

    def may(self, scope: str) -> bool:
        """True for the scope itself, ``area:*`` and ``*``."""
        scopes = self.scopes
        return scope in scopes or "*" in scopes or f"{scope.partition(':')[0]}:*" in scopes
