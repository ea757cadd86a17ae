"""Whether the audit log is what was recorded: the chain, the rows it covers, and the heads told outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from shared.audit import anchors
from shared.audit.chain import BEGINNING, Act, canonical, entry_hash
from shared.settings import Settings

# More is no news.
MOST_FINDINGS = 100

Covered = Mapping[str, LiteralString]
"""Action → SQL with the columns ``subject, digest``: rows that an entry of this action stands for. The entry's fact
``rows`` is the digest as it was when they were written. ``{of}`` in it is replaced by a condition on the subject."""


@dataclass(frozen=True)
class Finding:
    """Something that the log's writers never make.

    Codes: ``entry_changed``, ``entry_missing``, ``entry_unexpected``, ``head_changed`` (the head in the database is not
    the last entry), ``cut_off`` (an anchor knows of later entries), ``anchor_differs`` (another entry stood here),
    ``anchor_forged``, ``rows_changed`` (rows that an entry covers), ``rows_unrecorded`` (rows that none covers).
    """

    code: str
    number: int | None
    message: str


@dataclass
class Verification:
    """``first`` to ``last`` were looked at; ``anchors`` is how many heads told outside were compared with them."""

    first: int
    last: int = 0
    entries: int = 0
    anchors: int = 0
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        return not self.findings

    def add(self, code: str, number: int | None, message: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(code, number, message))


# One snapshot: the entries that are walked afterwards are those up to here, whatever is added meanwhile.
_HEAD = text(
    """
    select coalesce(h.number, 0) as number, h.hash, coalesce(e.number, 0) as last,
        coalesce(e.least, 1) as least
    from (select max(number) as number, min(number) as least from shared.audit_entry) e left join shared.audit_head h on true
    """
)
_ENTRIES = text(
    "select number, at, action, actor, subject, facts, hash from shared.audit_entry"
    " where number >= :first and number <= :last order by number, hash limit :most"
)
_RECORDED = text("select subject from shared.audit_entry where action = :action and subject = any(:subjects)")


def verify(
    session: Session, covered: Covered, *, first: int = 1, most: int | None = None, file: str | None = None
) -> Verification:
    """Compare up to ``most`` entries from ``first`` on with their hashes, with the rows they cover and with the anchors
    in ``file`` (else ``REGULARS_AUDIT_ANCHORS``). Memory stays flat but for the anchors; entries may be added meanwhile."""
    settings: Settings = session.info["settings"]
    told = Verification(first)
    known = _anchors(settings, file, told)
    head = session.execute(_HEAD).all()[0]
    before = _hash_before(session, first)
    subjects: dict[str, dict[str, tuple[int, str]]] = {action: {} for action in covered}
    streamed = session.execute(
        _ENTRIES,
        {"first": first, "last": max(head.last, head.number), "most": most},
        execution_options={"yield_per": 1000},
    )
    expected = first
    if head.least < 1:
        told.add("entry_unexpected", head.least, "an entry stands before the first one")
    for row in streamed:
        _check_entry(settings, told, row, expected, before)
        _check_anchors(told, row, known.pop(row.number, ()))
        if row.action in subjects:
            subjects[row.action][row.subject or ""] = (row.number, str(row.facts.get("rows")))
        expected, before = max(expected, row.number) + 1, bytes(row.hash)
        told.entries, told.last = told.entries + 1, row.number
    told.complete = most is None or told.entries < most
    if told.complete:
        _check_end(told, head, before, known)
    for action, statement in covered.items():
        _check_rows(session, told, action, statement, subjects[action], whole=told.complete and first == 1)
    return told


def _check_entry(
    settings: Settings, told: Verification, row: Row[Any], expected: int, before: bytes | None
) -> None:
    if row.number > expected:
        gone = f"{expected}" if row.number == expected + 1 else f"{expected} to {row.number - 1}"
        told.add("entry_missing", expected, f"entries are missing before this one: {gone}")
        return  # what stood before it is not known, so its own hash says nothing
    if row.number < expected:
        told.add("entry_unexpected", row.number, "an entry stands where none can be")
        return
    if before is None:
        return
    act = Act(row.action, row.actor, row.subject, canonical(row.facts))
    hashes = (
        entry_hash(key, settings.service, row.number, row.at, act, before) for key in settings.audit_secrets
    )
    if bytes(row.hash) not in hashes:
        told.add("entry_changed", row.number, "the entry, its place or the one before it was changed")


def _check_anchors(told: Verification, row: Row[Any], known: Any) -> None:
    told.anchors += len(known)
    if any(one != bytes(row.hash) for one in known):
        told.add(
            "anchor_differs", row.number, "outside of the database another entry is known for this place"
        )


def _check_end(
    told: Verification, head: Row[Any], before: bytes | None, known: Mapping[int, set[bytes]]
) -> None:
    last = max(told.last, told.first - 1)
    if head.hash is None or head.number != last or (before is not None and bytes(head.hash) != before):
        told.add("head_changed", last, "the head in the database is not the last entry")
    later = [number for number in known if number > last]
    if later:
        told.add("cut_off", last, f"outside of the database entries up to {max(later)} are known")


def _check_rows(
    session: Session,
    told: Verification,
    action: str,
    statement: LiteralString,
    expected: dict[str, tuple[int, str]],
    *,
    whole: bool,
) -> None:
    if not whole and not expected:
        return
    of = "true" if whole else "subject = any(:subjects)"
    found = session.execute(
        text(f"select subject, digest from ({statement}) as covered where {of}"),
        {} if whole else {"subjects": list(expected)},
        execution_options={"yield_per": 1000},
    )
    strange = []
    for subject, digest in found:
        number, recorded = expected.pop(subject, (None, None))
        if recorded is None:
            strange.append(subject)
        elif recorded != digest:
            told.add("rows_changed", number, f"the rows of {subject} are not those that were recorded")
    # Those that came while we looked are recorded by now.
    recent = set(session.scalars(_RECORDED, {"action": action, "subjects": strange})) if strange else set()
    for subject in strange:
        if subject not in recent:
            told.add("rows_unrecorded", None, f"rows of {subject} that no entry covers")
    for subject, (number, _) in expected.items():
        told.add("rows_changed", number, f"the rows of {subject} are gone")


def _anchors(settings: Settings, file: str | None, told: Verification) -> dict[int, set[bytes]]:
    known: dict[int, set[bytes]] = {}
    for service, anchor, genuine in anchors.read(settings, file):
        if service != settings.service or anchor.number < told.first:
            continue
        if not genuine:
            told.add("anchor_forged", anchor.number, "an anchor that this log did not write")
            continue
        known.setdefault(anchor.number, set()).add(anchor.hash)
    return known


def _hash_before(session: Session, first: int) -> bytes | None:
    """None where the entry before is not there: then the first one cannot be checked."""
    if first == 1:
        return BEGINNING
    found: bytes | None = session.scalar(
        text("select hash from shared.audit_entry where number = :number"), {"number": first - 1}
    )
    return found
