"""One request and what became known about it on its way in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.responses import Response

from shared.auth.callers import Caller

KEY = "regulars"


@dataclass(slots=True)
class Exchange:
    """Lives in the ASGI scope; ``template`` is the route's path with its parameters' names."""

    request_id: str
    template: str | None = None
    handler: Any = None
    caller: Caller | None = None
    status: int = 0
    body_read: bool = False
    may_hold_nul: bool = False
    session: Session | None = None
    keep: Callable[[Response], None] | None = None


def exchange_of(connection: HTTPConnection) -> Exchange:
    exchange = connection.scope[KEY]
    assert isinstance(exchange, Exchange)
    return exchange
