"""Finding customers by what lies sealed: names, e-mail addresses, phone numbers, postcodes.

Each searchable field is kept beside its seal as tokens (shared/blind_indexes): one for an address, a number or a
postcode, one for each word of a name or, in Chinese, Japanese and Korean, for each pair of neighbouring characters
(rules/names). What that gives up: whoever has a copy of the database and not the key sees which customers share a
token and how often each occurs, and may guess the most frequent ones (a common given name) from statistics; with the
key as well, guesses can be tried. What is not possible: parts of words, ranges, likeness, a Chinese surname alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from services.profile.domain.reach import facets_within
from services.profile.rules import names
from shared.auth.callers import Reach
from shared.blind_indexes import blind_many
from shared.database import execute_hot

SEARCHED = ("name", "email", "phone", "postcode")


class Terms(NamedTuple):
    """The searchable fields of one holder – a customer or one of its contacts – as they are now; None = removed,
    absent = unchanged."""

    customer_id: UUID
    holder_id: UUID
    fields: Mapping[str, str | None]


class Match(NamedTuple):
    """``found_id`` is under whom the term was written, and what pages go by; ``customer_id`` is whom it means now."""

    found_id: UUID
    customer_id: UUID


_FORGET = """
    with f as (
        select * from unnest(%(customers)s::uuid[], %(holders)s::uuid[], %(fields)s::text[])
            as f (customer_id, holder_id, field)
    ), n as (
        select * from unnest(%(new_holders)s::uuid[], %(tokens)s::bytea[]) as n (holder_id, token)
    )
    delete from customer_token t using f
    where t.customer_id = f.customer_id and t.holder_id = f.holder_id and t.field = f.field
        and not exists (select from n where n.holder_id = t.holder_id and n.token = t.token)
"""
_REMEMBER = """
    insert into customer_token (token, customer_id, holder_id, field)
    select * from unnest(%(tokens)s::bytea[], %(customers)s::uuid[], %(holders)s::uuid[], %(fields)s::text[])
    order by 1, 2, 3
    on conflict do nothing
"""

# The rarest of the tokens leads, and is walked in the order of the answer only as far as the page needs (`distinct on`
# what the index is sorted by: `distinct` on both would read and sort all that have it); the others are looked up for each
# row that it gives. Counting stops where it no longer matters which leads, and one alone need not be counted.
_FIND = """
    with asked as materialized (
        select a.token, (
            select count(*) from (select from customer_token c where c.token = a.token limit %(counted)s) counted
        ) as frequency
        from unnest(%(tokens)s::bytea[]) as a (token)
    ), rarest as materialized (select token from asked order by frequency, token limit 1)
    select distinct on (d.customer_id) d.customer_id, coalesce(c.merged_into, c.customer_id) as means
    from customer_token d join customer c on c.customer_id = d.customer_id
    where d.token = (select token from rarest)
        and (%(after)s::uuid is null or d.customer_id > %(after)s)
        and (%(among)s::uuid[] is null or d.customer_id = any(%(among)s))
        and c.state <> 'erased'
        and not exists (
            select from asked a where a.token <> d.token and not exists (
                select from customer_token o
                where o.token = a.token and o.customer_id = d.customer_id and o.holder_id = d.holder_id
            )
        )
        and not (c.merged_into is not null and exists (
            select from customer_token w where w.token = d.token and w.customer_id = c.merged_into
        ))
        and (%(reach)s::text[] is null or exists (
            select from customer m
            where m.customer_id = coalesce(c.merged_into, c.customer_id) and m.facets && %(reach)s
        ))
    order by d.customer_id
    limit %(limit)s
"""
_NAMED = """
    select distinct x.customer_id, coalesce(c.merged_into, c.customer_id) as means
    from customer_external_id x join customer c on c.customer_id = x.customer_id
    where x.external_id = %(external_id)s and (%(source)s::text is null or x.source = %(source)s)
        and c.state <> 'erased' and (%(after)s::uuid is null or x.customer_id > %(after)s)
        and (%(reach)s::text[] is null or exists (
            select from customer m
            where m.customer_id = coalesce(c.merged_into, c.customer_id) and m.facets && %(reach)s
        ))
    order by x.customer_id
    limit %(limit)s
"""
_COUNTED = 5_000
# More customers than systems give one external id: beyond it a search by external id and name looks at the first ones.
_MOST_NAMESAKES = 1_000


def remember(session: Session, changed: Sequence[Terms], *, new: bool = False) -> None:
    """Keep the tokens of written fields: whoever writes a searchable field of a customer or contact calls this in the
    same transaction. ``new``: nothing was known of these holders before. Values are in their normal form."""
    tokens: list[tuple[bytes, UUID, UUID, str]] = []
    for customer_id, holder_id, fields in changed:
        for field, value in fields.items():
            if field in SEARCHED and value is not None:
                found = blind_many(session, field, _terms(field, value))
                tokens += [(token, customer_id, holder_id, field) for token in found]
    if not new:
        written = [
            (each.customer_id, each.holder_id, field)
            for each in changed
            for field in each.fields
            if field in SEARCHED
        ]
        if not written:
            return
        forgotten = {
            "customers": [customer_id for customer_id, _, _ in written],
            "holders": [holder_id for _, holder_id, _ in written],
            "fields": [field for _, _, field in written],
            "new_holders": [holder_id for _, _, holder_id, _ in tokens],
            "tokens": [token for token, _, _, _ in tokens],
        }
        execute_hot(session, _FORGET, forgotten)
    if tokens:
        execute_hot(
            session,
            _REMEMBER,
            {
                "tokens": [token for token, _, _, _ in tokens],
                "customers": [customer_id for _, customer_id, _, _ in tokens],
                "holders": [holder_id for _, _, holder_id, _ in tokens],
                "fields": [field for _, _, _, field in tokens],
            },
        )


def find(
    session: Session,
    wanted: Mapping[str, str],
    after: UUID | None,
    limit: int,
    *,
    external_id: str | None = None,
    source: str | None = None,
    reach: Reach | None = None,
) -> list[Match]:
    """Customers of whom all of ``wanted`` is true (field → value in normal form), in the order of ``found_id``; within
    ``reach`` only, if there is one.

    What was written for a merged customer finds its winner; the winner comes once where both have it.
    """
    among = None
    reached = None if reach is None else list(facets_within(reach))
    if external_id is not None:
        named = {"external_id": external_id, "source": source, "reach": reached}
        if not wanted:
            found = execute_hot(session, _NAMED, named | {"after": after, "limit": limit}).fetchall()
            return [Match(*row) for row in found]
        found = execute_hot(session, _NAMED, named | {"after": None, "limit": _MOST_NAMESAKES}).fetchall()
        among = [row[0] for row in found]
    tokens: set[bytes] = set()
    for field, value in wanted.items():
        terms = _terms(field, value)
        if not terms:
            return []
        tokens.update(blind_many(session, field, terms))
    asked = {
        "tokens": sorted(tokens),
        "counted": _COUNTED if len(tokens) > 1 else 0,
        "after": after,
        "among": among,
        "limit": limit,
        "reach": reached,
    }
    return [Match(*row) for row in execute_hot(session, _FIND, asked, prepare=False).fetchall()]


def is_searchable(name: str) -> bool:
    """Whether a name holds anything to look for."""
    return bool(names.terms(name))


def _terms(field: str, value: str) -> Iterable[str]:
    return names.terms(value) if field == "name" else [value]
