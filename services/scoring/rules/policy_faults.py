"""What is wrong with a policy that somebody writes, and where: every fault with its JSON pointer (RFC 6901)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.scoring.rules.policy import StagePolicy

BANDS = 5
LARGEST = 10**12
MOST_LEVELS = 20


@dataclass(frozen=True)
class PolicyFault:
    """One thing that is wrong at ``pointer``; the codes are ``missing``, ``unknown``, ``type``, ``range``, ``order``,
    ``duplicate``, ``sum``, ``length``."""

    pointer: str
    code: str
    message: str


Check = Callable[[Any, str], Iterator[PolicyFault]]


def faults(content: Any) -> list[PolicyFault]:
    """Everything that keeps ``content`` from being a policy (rules/policy.parse); empty where it is whole."""
    return list(_policy(content, ""))


def merged(content: Any, changes: Any) -> Any:
    """``content`` with ``changes`` applied as a JSON merge patch (RFC 7396): null takes a field away."""
    if not isinstance(changes, Mapping):
        return changes
    result = dict(content) if isinstance(content, Mapping) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _policy(content: Any, at: str) -> Iterator[PolicyFault]:
    if not isinstance(content, Mapping):
        yield PolicyFault(at, "type", "a policy is an object")
        return
    yield from _object(
        {
            "weights": _weights,
            "small_base": _whole(1, 1_000_000),
            "fixed_bands": _object(
                {
                    "recency_days": _bands(falling=True),
                    "frequency": _bands(),
                    "monetary": _bands(),
                }
            ),
            "segments": _segments,
            "tiers": _levels(_qualified_by(content)),
            "value_classes": _levels("score_percentile"),
            "grace_days": _whole(0, 3_650),
        },
        {
            "window_days": _or_null(_whole(1, 36_500)),
            "qualification": _qualification,
            "downgrade": _object({}, {"to": _one_of("deserved", "one_step"), "notice": _flag}),
            "stages": _stages,
            "forecast": _forecast,
        },
    )(content, at)


def _qualified_by(content: Mapping[str, Any]) -> Any:
    qualification = content.get("qualification")
    return qualification.get("by") if isinstance(qualification, Mapping) else "score_percentile"


def _qualification(value: Any, at: str) -> Iterator[PolicyFault]:
    by = value.get("by") if isinstance(value, Mapping) else None
    required: dict[str, Check] = {"by": _one_of("score_percentile", "score_threshold", "period")}
    if by == "period":
        required["period"] = _one_of("calendar_year", "rolling_days")
        required["measure"] = _one_of("net_revenue", "purchases", "occasions")
        if value.get("period") == "rolling_days":
            required["days"] = _whole(1, 36_500)
    yield from _object(required)(value, at)


def _weights(value: Any, at: str) -> Iterator[PolicyFault]:
    found = list(_object(dict.fromkeys(("recency", "frequency", "monetary"), _whole(0, 100)))(value, at))
    yield from found
    if not found and sum(value.values()) != 100:
        yield PolicyFault(at, "sum", "the weights add up to 100")


def _segments(value: Any, at: str) -> Iterator[PolicyFault]:
    row = _list(_text(50), BANDS, BANDS)
    yield from _list(row, BANDS, BANDS)(value, at)


def _bands(*, falling: bool = False) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        found = list(_list(_whole(0, LARGEST), BANDS - 1, BANDS - 1)(value, at))
        yield from found or _rising(
            [(-each if falling else each, f"{at}/{i}") for i, each in enumerate(value)]
        )

    return check


def _levels(by: Any) -> Check:
    """Levels rise from one that asks for nothing, by everything that a policy of this kind asks them for."""
    asked: dict[str, Check] = {}
    if by == "score_percentile":
        asked["percentile"] = _whole(1, 100)
    if by in ("score_percentile", "score_threshold"):
        asked["net_revenue"] = _whole(1, LARGEST)
    if by in ("score_threshold", "period"):
        asked["threshold"] = _whole(1, 100 if by == "score_threshold" else LARGEST)
    others = {
        name: _or_null(_whole(0, LARGEST))
        for name in ("percentile", "net_revenue", "threshold")
        if name not in asked
    }
    named: dict[str, Check] = {"code": _text(50)}
    optional: dict[str, Check] = {"names": _names, **others}
    lowest = _object(named, {**optional, **dict.fromkeys(asked, _nothing)})

    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        found = list(_list(_anything, 1, MOST_LEVELS)(value, at))
        yield from found
        if found:
            return
        for i, each in enumerate(value):
            yield from (_object({**named, **asked}, optional) if i else lowest)(each, f"{at}/{i}")
        objects = [(each, f"{at}/{i}") for i, each in enumerate(value) if isinstance(each, Mapping)]
        for name, whole in asked.items():
            yield from _rising(
                [
                    (each[name], f"{where}/{name}")
                    for each, where in objects[1:]
                    if name in each and not list(whole(each[name], ""))
                ]
            )
        seen: list[Any] = []
        for each, where in objects:
            if each.get("code") in seen:
                yield PolicyFault(f"{where}/code", "duplicate", "a level before has this code")
            seen.append(each.get("code"))

    return check


def _names(value: Any, at: str) -> Iterator[PolicyFault]:
    if not isinstance(value, Mapping):
        yield PolicyFault(at, "type", "names are an object: language → name")
        return
    for language, name in value.items():
        yield from _text(100)(name, f"{at}/{_escaped(language)}")


def _stages(value: Any, at: str) -> Iterator[PolicyFault]:
    silence = _number(0.1, 1000)
    limits = ("late", "dormant", "lost")
    found = list(
        _object(
            {},
            {
                **dict.fromkeys(limits, silence),
                "late_deviations": _number(0, 100),
                "mature_from": _whole(2, 1000),
                "own_gaps": _whole(1, 1000),
                "shortest_gap_days": _whole(1, 3_650),
            },
        )(value, at)
    )
    yield from found or _rising(
        [(value.get(name, getattr(StagePolicy, name)), f"{at}/{name}") for name in limits]
    )


def _forecast(value: Any, at: str) -> Iterator[PolicyFault]:
    def cuts(high: float) -> Check:
        def check(value: Any, at: str) -> Iterator[PolicyFault]:
            found = list(_list(_number(1e-6, high), 2, 2)(value, at))
            yield from found or _rising([(each, f"{at}/{i}") for i, each in enumerate(value)])

        return check

    yield from _object(
        {},
        {
            "horizon_days": _whole(1, 3_650),
            "annual_discount": _number(0, 10),
            "interval": _number(0.01, 0.99),
            "churn_probabilities": cuts(1 - 1e-6),
            "churn_silences": cuts(1000),
            "usual_gap_days": _number(1, 3_650),
            "trend_days": _whole(1, 3_650),
        },
    )(value, at)


# The parts that all of these are made of.


def _object(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    known = {**required, **(optional or {})}

    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if not isinstance(value, Mapping):
            yield PolicyFault(at, "type", "this is an object")
            return
        for name in required:
            if name not in value:
                yield PolicyFault(f"{at}/{name}", "missing", "this is needed")
        for name, each in value.items():
            where = f"{at}/{_escaped(name)}"
            if name in known:
                yield from known[name](each, where)
            else:
                yield PolicyFault(where, "unknown", "a policy says nothing of this name here")

    return check


def _list(item: Check, shortest: int, longest: int) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if not isinstance(value, list):
            yield PolicyFault(at, "type", "this is a list")
            return
        if not shortest <= len(value) <= longest:
            count = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
            yield PolicyFault(at, "length", f"there are {count} of these")
        for i, each in enumerate(value[:longest]):
            yield from item(each, f"{at}/{i}")

    return check


def _rising(values: Sequence[tuple[float, str]]) -> Iterator[PolicyFault]:
    for (before, _), (each, where) in pairwise(values):
        if each <= before:
            yield PolicyFault(where, "order", "each lies strictly beyond the one before")


def _whole(low: int, high: int) -> Check:
    return _bounded(lambda value: isinstance(value, int), low, high, "a whole number")


def _number(low: float, high: float) -> Check:
    return _bounded(lambda value: isinstance(value, int | float), low, high, "a number")


def _bounded(is_one: Callable[[Any], bool], low: float, high: float, kind: str) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if isinstance(value, bool) or not is_one(value):
            yield PolicyFault(at, "type", f"this is {kind}")
        elif not low <= value <= high:
            yield PolicyFault(at, "range", f"this lies between {low:,} and {high:,}")

    return check


def _text(longest: int) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if not isinstance(value, str):
            yield PolicyFault(at, "type", "this is a text")
        elif not 0 < len(value.strip()) <= len(value) <= longest:
            yield PolicyFault(at, "length", f"this has 1 to {longest} characters")

    return check


def _one_of(*allowed: str) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if value not in allowed:
            yield PolicyFault(at, "range", f"this is one of {', '.join(allowed)}")

    return check


def _or_null(inner: Check) -> Check:
    def check(value: Any, at: str) -> Iterator[PolicyFault]:
        if value is not None:
            yield from inner(value, at)

    return check


def _flag(value: Any, at: str) -> Iterator[PolicyFault]:
    if not isinstance(value, bool):
        yield PolicyFault(at, "type", "this is true or false")


def _nothing(value: Any, at: str) -> Iterator[PolicyFault]:
    if value not in (None, 0):
        yield PolicyFault(at, "range", "the lowest level asks for nothing")


def _anything(value: Any, at: str) -> Iterator[PolicyFault]:
    yield from ()


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
