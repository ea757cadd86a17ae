"""Which column holds a field, and how its text is made ready before it is read as what it is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(min_length=1, max_length=200)]
Bit = Annotated[str, Field(min_length=1, max_length=100)]


class UnlistedValue(ValueError):  # noqa: N818 - an answer
    """The value is none of those that the mapping lists."""


class Cell(BaseModel):
    """Where a field's text stands, and what is done to it: in this order, each step only if it is given.

    Several columns are joined; an empty cell of an order's further rows is that of the row above; blanks around it go,
    then ``remove``d bits, what stands up to ``after`` and from ``before`` on, a prefix and a suffix; what is left is
    looked up in ``values``; what is empty then is ``default``; and in the end a ``pseudonym`` takes its place. Without
    any column the field is ``default`` in every row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Name | None = None
    join: Annotated[tuple[Name, ...], Field(max_length=10)] = Field(
        default=(), description="several columns instead of one; empty ones are left out"
    )
    separator: Annotated[str, Field(max_length=10)] = Field(default=" ", description="between joined columns")
    fill_down: bool = Field(
        default=False,
        description="an empty cell has the value of the row above, if that is a row of the same order",
    )
    remove: Annotated[tuple[Bit, ...], Field(max_length=20)] = Field(
        default=(), description="e.g. ['¥', '=', '\"'] of ¥12.00 or =\"100023\""
    )
    after: Bit | None = Field(default=None, description="only what stands after the first of these, if any")
    before: Bit | None = Field(default=None, description="only what stands before the first of these, if any")
    remove_prefix: Bit | None = None
    remove_suffix: Bit | None = Field(default=None, description="e.g. .0 of 17850.0")
    values: Annotated[dict[str, str | None], Field(max_length=1000)] = Field(
        default={}, description="what a text of the file means; null: nothing"
    )
    unlisted: Literal["keep", "empty", "refuse"] = Field(
        default="keep", description="what becomes of a text that `values` does not list"
    )
    pseudonym: bool = Field(
        default=False,
        description="a keyed hash takes its place: for ids that are personal, such as an e-mail address",
    )
    default: Annotated[str, Field(max_length=1000)] | None = None
    required: bool = Field(default=False, description="a row without it is refused")
    date_format: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="of this column, where it differs from the file's"
    )
    list_separator: Annotated[str, Field(min_length=1, max_length=5)] | None = Field(
        default=None, description="of fields that are lists; a comma unless said"
    )

    @model_validator(mode="after")
    def _stands_somewhere(self) -> Self:
        if self.column is not None and self.join:
            raise PydanticCustomError("column_and_join", "name one column or several to join, not both")
        if self.column is None and not self.join and self.default is None:
            raise PydanticCustomError("column_missing", "name a column, several to join, or a default")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of the file that it needs."""
        return self.join or ((self.column,) if self.column is not None else ())

    @property
    def shown(self) -> str | None:
        """What the file calls it."""
        return " + ".join(self.sources) or None

    def cleaner(self) -> Callable[[str], str] | None:
        """The steps as one function of the cell's text; None if there is nothing to do. It raises UnlistedValue."""
        steps = list(self._steps())
        if not steps:
            return None

        def clean(text: str) -> str:
            text = text.strip()
            for step in steps:
                text = step(text)
            return text

        return clean

    def _steps(self) -> list[Callable[[str], str]]:
        steps: list[Callable[[str], str]] = []
        steps += [lambda text, bit=bit: text.replace(bit, "") for bit in self.remove]  # type: ignore[misc]
        if (after := self.after) is not None:
            steps.append(lambda text: text.partition(after)[2] if after in text else text)
        if (before := self.before) is not None:
            steps.append(lambda text: text.partition(before)[0])
        if (prefix := self.remove_prefix) is not None:
            steps.append(lambda text: text.removeprefix(prefix) or text)
        if (suffix := self.remove_suffix) is not None:
            steps.append(lambda text: text.removesuffix(suffix) or text)
        if self.values:
            steps.append(self._looked_up)
        if (default := self.default) is not None:
            steps.append(lambda text: text.strip() or default)
        return steps

    def _looked_up(self, text: str) -> str:
        if (text := text.strip()) in self.values:
            return self.values[text] or ""
        if not text or self.unlisted == "keep":
            return text
        if self.unlisted == "empty":
            return ""
        raise UnlistedValue


class SkipRule(BaseModel):
    """Rows that are none of this import's business, e.g. orders that were never paid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Name
    values: Annotated[
        tuple[Annotated[str, Field(max_length=200)], ...], Field(min_length=1, max_length=100)
    ] = Field(description="rows whose cell is one of these are skipped (or, with `unless`, all others)")
    unless: bool = False
    fill_down: bool = Field(
        default=False, description="as that of a column: what the row above says of the same order"
    )
    reason: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")] = Field(
        description="what the report counts them as", examples=["not_paid"]
    )


class Layout:
    """The columns that a mapping needs, and where each field's text stands in a row composed of them.

    ``columns`` is what is asked of the file, in order. ``compose`` makes of such a row one in which every field of
    ``places`` has its text: what is joined stands behind the columns themselves.
    """

    def __init__(
        self, cells: Mapping[str, Cell], skips: tuple[SkipRule, ...] = (), key: str | None = None
    ) -> None:
        self.columns = tuple(
            dict.fromkeys(
                [column for cell in cells.values() for column in cell.sources]
                + [rule.column for rule in skips]
            )
        )
        self.places: dict[str, int] = {}
        self._joined: list[tuple[tuple[int, ...], str]] = []
        self._fills: list[int] = []
        self.skips = [
            (self.columns.index(rule.column), frozenset(rule.values), rule.unless, rule.reason)
            for rule in skips
        ]
        for field, cell in cells.items():
            if cell.column is not None:
                self.places[field] = self.columns.index(cell.column)
            else:
                self.places[field] = len(self.columns) + len(self._joined)
                self._joined.append((tuple(map(self.columns.index, cell.join)), cell.separator))
            if cell.fill_down:
                self._fills.append(self.places[field])
        self._fills += [self.columns.index(rule.column) for rule in skips if rule.fill_down]
        self._key = self.places[key] if key is not None else None
        self._above: list[str] | None = None
        self.plain = not (self._joined or self._fills)
        """Whether rows are what they must be already."""

    def skipped(self, row: Sequence[str]) -> str | None:
        """Why the mapping leaves this row out, if it does."""
        for place, values, unless, reason in self.skips:
            if (row[place].strip() in values) != unless:
                return reason
        return None

    def compose(self, row: Sequence[str]) -> list[str]:
        """Rows must come in the order of the file: what is filled down comes from the row above."""
        composed = list(row)
        for places, separator in self._joined:
            composed.append(separator.join(text for place in places if (text := row[place].strip())))
        if self._fills:
            above = self._above
            if above is not None and (self._key is None or above[self._key] == composed[self._key]):
                for place in self._fills:
                    if not composed[place].strip():
                        composed[place] = above[place]
            self._above = composed
        return composed
