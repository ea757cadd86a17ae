"""Lists in pages: keyset, with an opaque cursor that belongs to one route, filter and sort order."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from shared.errors import BadRequest, NotFound

T = TypeVar("T")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_SIGNATURE = 9


class PageOf(BaseModel, Generic[T]):
    """One page; ``next_cursor`` is null on the last one."""

    items: list[T]
    next_cursor: str | None = Field(default=None, description="give it as `cursor` to get the next page")


@dataclass
class PageRequest:
    """How much of a list is asked for, and after what.

    Select ``page.limit + 1`` rows in a total order, after ``page.after(order)``; hand the rows to ``page_of``.
    """

    limit: int
    _cursor: str | None
    _list: str
    _secret: bytes = field(repr=False)
    _order: tuple[str, ...] = ()

    def after(self, order: Sequence[str]) -> tuple[Any, ...] | None:
        """The key of the last row of the page before, one value per name in ``order``; None for the first page.

        Values come back as they were given: str, int, bool, None, UUID, aware datetime, date, Decimal. Raises NotFound
        (``unknown_cursor``, not made here) or BadRequest (``cursor_mismatch``, of another list, filter or order).
        """
        self._order = tuple(order)
        if self._cursor is None:
            return None
        try:
            padding = "=" * (-len(self._cursor) % 4)
            signed = base64.b64decode((self._cursor + padding).encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _unknown() from None
        signature, content = signed[:_SIGNATURE], signed[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(content)):
            raise _unknown()
        bound_to, values = json.loads(content)
        if bound_to != self._bound_to() or len(values) != len(self._order):
            raise BadRequest("cursor_mismatch", "the cursor belongs to another list, filter or order")
        return tuple(_decoded(value) for value in values)

    def cursor_after(self, values: Sequence[Any]) -> str:
        content = json.dumps(
            [self._bound_to(), [_encoded(value) for value in values]], separators=(",", ":")
        ).encode()
        return base64.urlsafe_b64encode(self._sign(content) + content).rstrip(b"=").decode()

    def _bound_to(self) -> str:
        return hashlib.sha256(f"{self._list}\n{','.join(self._order)}".encode()).hexdigest()[:12]

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, b"cursor:" + content, "sha256")[:_SIGNATURE]


async def page_request(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="items per page")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None,
        Query(max_length=2000, description="`next_cursor` of the page before; belongs to this filter"),
    ] = None,
) -> PageRequest:
    filters = sorted(
        (name, value) for name, value in request.query_params.multi_items() if name not in ("limit", "cursor")
    )
    return PageRequest(limit, cursor or None, _named(request.url.path, filters), _secret(request))


Page = Annotated[PageRequest, Depends(page_request)]


def first_page(request: Request, path: str, limit: int) -> PageRequest:
    """The beginning of another route's list, shown in passing: its cursor is for ``path``, without filters."""
    return PageRequest(limit, None, _named(path, []), _secret(request))


def _named(path: str, filters: list[tuple[str, str]]) -> str:
    return f"{path}\n{json.dumps(filters)}"


def _secret(request: Request) -> bytes:
    pepper: str = request.app.state.settings.key_pepper
    return pepper.encode()


def page_of(
    item: type[Any], rows: Iterable[Any], page: PageRequest, key: Callable[[Any], Sequence[Any]]
) -> dict[str, Any]:
    """The page of ``rows`` (up to ``page.limit + 1`` of them) as ``{"items", "next_cursor"}``.

    ``item`` is the model of one row, ``key`` gives a row's values in the order named to ``page.after``. Annotate the
    route with ``-> PageOf[ItemOut]`` or ``response_model=PageOf[ItemOut]``.
    """
    found = list(rows)
    shown = found[: page.limit]
    return {
        "items": [_item(item, row) for row in shown],
        "next_cursor": page.cursor_after(key(shown[-1])) if len(found) > page.limit else None,
    }


def _item(model: type[Any], row: Any) -> Any:
    if isinstance(row, model) or not issubclass(model, BaseModel):
        return row
    return model.model_validate(row._mapping if hasattr(row, "_mapping") else row, from_attributes=True)


def _encoded(value: Any) -> Any:
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, UUID):
        return {"u": value.hex}
    if isinstance(value, datetime):
        return {"t": value.astimezone(UTC).isoformat()}
    if isinstance(value, date):
        return {"d": value.isoformat()}
    if isinstance(value, Decimal):
        return {"n": str(value)}
    raise TypeError(f"a cursor cannot hold {type(value).__name__}")


_DECODE: dict[str, Callable[[str], Any]] = {
    "u": UUID, "t": datetime.fromisoformat, "d": date.fromisoformat, "n": Decimal
}  # fmt: skip


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return _DECODE[kind](text)
    return value


def _unknown() -> NotFound:
    return NotFound("unknown_cursor", "no page is known under this cursor; start again without one")
