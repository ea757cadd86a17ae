"""One row of a file → one record: a customer, a product, an activity, an interaction, a consent or a tag."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from services.profile.rules.import_kinds import Field, field_of
from services.profile.rules.mapping import RecordMapping
from services.profile.rules.mapping_cells import Cell, Layout
from services.profile.rules.mapping_values import UNKNOWN_COUNTRY, Refused, Remembered, Values, no_pseudonym

# What makes a record the one that it is: the same again in one file is a repetition.
_KEYS = {
    "customers": ("external_id",),
    "products": ("sku",),
    "activities": ("external_id",),
    "interactions": ("external_id",),
    "consents": ("customer", "purpose", "channel", "collected_at", "state"),
    "tags": ("customer", "tag"),
}
_CODE_LONGEST = 64
# Texts of which hardly two are the same are not worth remembering.
_UNREMEMBERED = frozenset({"note", "text"})


class Record(NamedTuple):
    """A row as it is written: the fields that it fills, and the hash of what makes it the one that it is."""

    fields: dict[str, Any]
    key: bytes


class RecordParser:
    """Parses the rows of one mapping and counts what is worth a remark; see RowParser for the rest."""

    def __init__(self, mapping: RecordMapping, pseudonym: Callable[[str], str] = no_pseudonym) -> None:
        cells = mapping.cells()
        self.layout = Layout(cells, mapping.skip_rows)
        self.columns = self.layout.columns
        self.seen: Counter[str] = Counter()
        self.unknown_countries: Counter[str] = Counter()
        self._kind = mapping.kind
        self._cells = cells
        self._read = Values(mapping, pseudonym)
        self._fields: list[tuple[str, int, Any]] = []
        for name, cell in cells.items():
            field = field_of(mapping.kind, name)
            read = self._read.of_cell(name, cell, self._reader(name, field, cell))
            once = read if field.type in _UNREMEMBERED else Remembered(read).__getitem__
            self._fields.append((name, self.layout.places[name], once))

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self._cells)

    def column(self, field: str | None) -> str | None:
        """What the file calls a field."""
        return None if field is None else (field in self._cells and self._cells[field].shown) or field

    def parse(self, row: Sequence[str]) -> Record:
        """The record of a composed row; empty cells are not spoken of. Raises Refused."""
        fields: dict[str, Any] = {}
        for name, place, read in self._fields:
            raw = row[place]
            value = read(raw)
            if self._read.odd_times and raw in self._read.odd_times:
                self.seen[self._read.odd_times[raw]] += 1
            if value is None or value == ():
                continue
            if (
                isinstance(value, str)
                and value[0] == UNKNOWN_COUNTRY
                and field_of(self._kind, name).type == "country"
            ):
                self.unknown_countries[value[1:]] += 1
                continue
            fields[name] = value
        if self._kind in ("activities", "interactions") and "external_id" not in fields:
            fields["external_id"] = f"row-{_digest(fields.items()).hex()[:32]}"
        return Record(fields, _digest((name, fields.get(name)) for name in _KEYS[self._kind]))

    def _reader(self, name: str, field: Field, cell: Cell) -> Callable[[str], Any]:
        read, required = self._read, field.required
        readers: dict[str, Callable[[str], Any]] = {
            "id": lambda text: read.identifier(name, text, required=required),
            "text": lambda text: read.text(name, text, field.longest, required=required),
            "note": lambda text: read.text(name, text, field.longest, required=required),
            "code": lambda text: _code(name, read.code(name, text, field.choices)),
            "choice": lambda text: _choice(name, read.text(name, text, field.longest), field.choices),
            "day": lambda text: read.day(name, text, cell.date_format),
            "time": lambda text: read.time(name, text, cell.date_format, required=required),
            "country": lambda text: read.country(name, text),
            "currency": lambda text: read.currency(name, text),
            "language": lambda text: read.language(name, text),
            "zone": lambda text: read.zone(name, text),
            "list": lambda text: read.several(name, text, cell.list_separator),
            "whole": lambda text: read.whole(name, text, required=required),
            "decimal": lambda text: read.decimal(name, text, required=required),
            "truth": lambda text: read.truth(name, text),
        }
        reader = readers[field.type]
        if not required:
            return reader

        def demand(text: str) -> Any:
            value = reader(text)
            if value is None:
                raise Refused(name, f"missing_{name}", "the value is missing")
            return value

        return demand


def _code(name: str, value: str | None) -> str | None:
    if value is not None and (len(value) > _CODE_LONGEST or not value.isidentifier() or not value.isascii()):
        raise Refused(name, f"invalid_{name}", "not a code of letters, digits and underscores")
    return value


def _choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise Refused(name, f"invalid_{name}", f"none of {', '.join(choices)}")
    return value


def _digest(said: Any) -> bytes:
    return sha256("\x1e".join(f"{name}\x1f{value}" for name, value in said).encode()).digest()[:16]
