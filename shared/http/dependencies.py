"""What a route asks for by naming it: the transaction, its time, the caller, the settings."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.auth.callers import Caller
from shared.errors import Unauthenticated
from shared.http.exchange import Exchange, exchange_of
from shared.settings import Settings


async def transaction(request: Request) -> Session:
    """One request, one transaction. It begins with the first statement; the route's end is its end: committed when the
    reply was made and before it leaves, rolled back on any error (see routing.py)."""
    exchange = exchange_of(request)
    session: Session = request.app.state.sessions()
    exchange.session = session
    return session


def close(exchange: Exchange, *, commit: bool) -> None:
    """End the request's transaction, if there is one."""
    session, exchange.session = exchange.session, None
    if session is None:
        return
    try:
        if commit and session.in_transaction():
            session.commit()
    finally:
        session.close()


async def now(session: Annotated[Session, Depends(transaction)]) -> Any:
    """The database's time of the transaction. A plain ``def`` route gets it in its own thread (see routing.py)."""
    return AskLater


class AskLater:
    """Stands for the time until the route's own thread asks the database for it."""


def time_of(session: Session) -> datetime:
    """When the transaction began, by the database's clock."""
    time = session.scalar(select(func.now()))
    assert isinstance(time, datetime)
    return time


async def caller(request: Request) -> Caller:
    found = exchange_of(request).caller
    if found is None:
        raise Unauthenticated("credential_required", "this needs a credential")
    return found


async def request_settings(request: Request) -> Settings:
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


# Not a dependency with ``yield``: those end after the reply left, or change threads to end before it.
Transaction = Annotated[Session, Depends(transaction)]
Now = Annotated[datetime, Depends(now)]
Caller_ = Annotated[Caller, Depends(caller)]
RequestSettings = Annotated[Settings, Depends(request_settings)]
