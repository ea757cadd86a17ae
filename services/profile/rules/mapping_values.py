"""From a cell's text to a value: ids, texts, numbers, times and countries as the mapping's file writes them."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from services.profile.rules.mapping_cells import Cell, UnlistedValue
from services.profile.rules.mapping_countries import code_of, is_code
from services.profile.rules.mapping_shape import FileShape

# Stands before a country's name that is not known, so that it is never taken for a code.
UNKNOWN_COUNTRY = "?"

_REMEMBERED = 50_000
_LONGEST_ID = 200

_UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\t\n\r]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]{1,13}(\.[0-9]{0,9})?|\.[0-9]{1,9})", re.ASCII)
_CURRENCY = re.compile("[A-Z]{3}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_FORM = "%Y-%m-%d %H:%M:%S"
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z")
_TRUE = frozenset({"1", "true", "yes", "y", "t", "on", "是", "真", "x"})
_FALSE = frozenset({"0", "false", "no", "n", "f", "off", "否", "假"})
LARGEST_WHOLE = 2**31 - 1


class Refused(Exception):  # noqa: N818 - an answer
    """A row that is not accepted; the message never repeats the value, which may be personal."""

    def __init__(self, field: str | None, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


class Remembered(dict[str, Any]):
    """What ``parse`` made of a text; forgotten all at once when there are too many."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[text] = self._parse(text)
        return value


def no_pseudonym(text: str) -> str:
    """For those who only read how a mapping reads."""
    raise Refused(None, "no_pseudonym", "there is no key to make a pseudonym with")


class Values:
    """Reads texts as one file writes them. Every reader raises Refused with the field at fault.

    ``odd_times`` are the texts of local times that the clocks pass twice or leap over. ``pseudonym`` makes of an id that
    is personal one that is not.
    """

    def __init__(self, shape: FileShape, pseudonym: Callable[[str], str] = no_pseudonym) -> None:
        self.odd_times: dict[str, str] = {}
        self._pseudonym = pseudonym
        self._shape = shape
        self._zone = ZoneInfo(shape.time_zone)

    def of_cell(self, field: str, cell: Cell, read: Callable[[str], Any]) -> Callable[[str], Any]:
        """``read`` after the steps of the cell."""
        clean, required = cell.cleaner(), cell.required

        def value(text: str) -> Any:
            if clean is not None:
                try:
                    text = clean(text)
                except UnlistedValue:
                    raise Refused(
                        field, f"unlisted_{field}", "the mapping does not list this value"
                    ) from None
            if cell.pseudonym and (text := text.strip()):
                text = self._pseudonym(text.casefold())
            found = read(text)
            if required and (found is None or found == ()):
                raise Refused(field, f"missing_{field}", "the value is missing")
            return found

        return value

    def text(self, field: str, text: str, longest: int, *, required: bool = False) -> str | None:
        text = _BREAKS.sub(" ", text).strip()
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        if unreadable := _UNREADABLE.search(text):
            if _SURROGATES.match(unreadable[0]):
                raise Refused(field, "invalid_encoding", f"bytes that are not {self._shape.encoding}")
            raise Refused(field, "invalid_character", "a control character")
        if len(text) > longest:
            raise Refused(field, "too_long", f"longer than {longest} characters")
        return text

    def identifier(self, field: str, text: str, *, required: bool = False) -> str | None:
        value = self.text(field, text, _LONGEST_ID, required=required)
        suffix = self._shape.strip_id_suffix
        return (value.removesuffix(suffix) or value) if value and suffix else value

    def whole(self, field: str, text: str, *, required: bool = True) -> int | None:
        text = self._plain(text)
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        if not _WHOLE.fullmatch(text):
            raise Refused(field, f"invalid_{field}", "not a whole number")
        value = int(text.partition(".")[0])
        if abs(value) > LARGEST_WHOLE:
            raise Refused(field, f"{field}_too_large", f"goes up to {LARGEST_WHOLE}")
        return value

    def decimal(self, field: str, text: str, *, required: bool = True) -> Decimal | None:
        text = self._plain(text)
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        if not _DECIMAL.fullmatch(text):
            raise Refused(field, f"invalid_{field}", "not a decimal number of at most 13 and 9 digits")
        return Decimal(text)

    def _plain(self, text: str) -> str:
        """A number without thousands separators, with a point."""
        text = text.strip()
        if self._shape.thousands_separator:
            text = text.replace(self._shape.thousands_separator, "")
        if self._shape.decimal_separator == ",":
            # A cell of a spreadsheet is a number, whatever country its reader is of.
            text = "," if "." in text and self._shape.format != "xlsx" else text.replace(",", ".")
        return text

    def time(
        self, field: str, raw: str, form: str | None = None, *, required: bool = True
    ) -> datetime | None:
        """UTC. Of a local time that the clocks pass twice, the first; one that they leap over, as much later as they
        leap: both are remembered in ``odd_times``."""
        text = raw.strip()
        form = form or self._shape.date_format
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        try:
            local = self._local(text, form)
            if local.tzinfo is None:
                local = local.replace(tzinfo=self._zone)
                later = local.replace(fold=1)
                if local.utcoffset() != later.utcoffset():
                    leap = (local.utcoffset() or timedelta()) < (later.utcoffset() or timedelta())
                    if len(self.odd_times) >= _REMEMBERED:
                        self.odd_times.clear()
                    self.odd_times[raw] = "nonexistent_time" if leap else "ambiguous_time"
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Refused(field, f"invalid_{field}", f"not a time as {form}") from None

    def day(self, field: str, text: str, form: str | None = None) -> date | None:
        text = text.strip()
        form = form or self._shape.date_format
        if not text:
            return None
        try:
            day = self._local(text, form).date()
        except (ValueError, OverflowError):
            raise Refused(field, f"invalid_{field}", f"not a date as {form}") from None
        if not 1900 <= day.year <= 9998:
            raise Refused(field, f"invalid_{field}", "a date between 1900 and 9998 is needed")
        return day

    def _local(self, text: str, form: str) -> datetime:
        # A cell of a spreadsheet that holds a date has no format: it comes as ISO.
        if form == "iso" or (self._shape.format == "xlsx" and _ISO_DAY.match(text)):
            return datetime.fromisoformat(text)
        if form == _ISO_FORM and _ISO_TIME.match(text):
            return datetime.fromisoformat(text)  # the same, in a tenth of the time
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows

    def currency(self, field: str, text: str) -> str | None:
        value = self.text(field, text, _LONGEST_ID)
        if value is not None and not _CURRENCY.fullmatch(value):
            raise Refused(field, f"invalid_{field}", "not a code of ISO 4217")
        return value

    def country(self, field: str, text: str) -> str | None:
        """The code, or the name marked as unknown."""
        name = self.text(field, text, _LONGEST_ID)
        if name is None:
            return None
        chosen = self._shape.countries
        if name.casefold() in chosen:
            return chosen[name.casefold()]
        code = code_of(name) if self._shape.country_names else (name if is_code(name) else None)
        return code or UNKNOWN_COUNTRY + name

    def language(self, field: str, text: str) -> str | None:
        value = self.text(field, text, _LONGEST_ID)
        if value is not None and not _LANGUAGE.fullmatch(value := value.replace("_", "-")):
            raise Refused(field, f"invalid_{field}", "not a language of BCP 47")
        return value

    def zone(self, field: str, text: str) -> str | None:
        value = self.text(field, text, _LONGEST_ID)
        if value is not None and value not in available_timezones():
            raise Refused(field, f"invalid_{field}", "not an IANA time zone")
        return value

    def code(self, field: str, text: str, choices: tuple[str, ...]) -> str | None:
        value = self.text(field, text, _LONGEST_ID)
        if value is None:
            return None
        value = value.lower().replace(" ", "_").replace("-", "_")
        if choices and value not in choices:
            raise Refused(field, f"invalid_{field}", f"none of {', '.join(choices)}")
        return value

    def several(self, field: str, text: str, separator: str | None) -> tuple[str, ...]:
        parts = (self.text(field, part, 100) for part in text.split(separator or ","))
        return tuple(dict.fromkeys(part for part in parts if part))

    def truth(self, field: str, text: str) -> bool | None:
        value = self.text(field, text, _LONGEST_ID)
        if value is None:
            return None
        if value.casefold() in _TRUE:
            return True
        if value.casefold() in _FALSE:
            return False
        raise Refused(field, f"invalid_{field}", "neither yes nor no")
