"""Codes that people read to each other, and what speaks for one person being on both sides of a referral."""

import re
from collections.abc import Mapping, Sequence

# Without I, L, O, U, 0 and 1, which are misread or spell words.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8
_HELD = frozenset(
    {
        "self_referral",
        "same_device",
        "same_address",
        "same_phone",
        "same_email",
        "existing_customer",
        "over_limit",
    }
)


def code_of(numbers: Sequence[int]) -> str:
    """A code from random numbers below ``len(ALPHABET)``, with a last character that notices a wrong one."""
    return "".join(ALPHABET[number] for number in numbers) + ALPHABET[_check(numbers)]


def normal_code(said: str) -> str | None:
    """A code however it was written; None if nobody can have such a code."""
    code = re.sub(r"[\s-]", "", said).upper()
    if len(code) != LENGTH or not set(code) <= set(ALPHABET):
        return None
    numbers = [ALPHABET.index(letter) for letter in code]
    return code if _check(numbers[:-1]) == numbers[-1] else None


def shown(code: str) -> str:
    """``ABCD-EFGH``"""
    return f"{code[:4]}-{code[4:]}"


def needs_review(flags: Sequence[str]) -> bool:
    return not _HELD.isdisjoint(flags)


def same_address(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
    """Whether two addresses lead to one door: the same street and number, and nothing that both name and that differs.
    Case, blanks and punctuation do not matter."""
    street, others = _plain(one.get("street")), _plain(other.get("street"))
    if not street or street != others:
        return False
    return all(
        _plain(one.get(part)) == _plain(other.get(part))
        for part in ("country", "city", "postcode")
        if one.get(part) and other.get(part)
    )


def _plain(words: str | None) -> str:
    return re.sub(r"[\W_]+", "", words or "").casefold()


def _check(numbers: Sequence[int]) -> int:
    """Luhn's algorithm modulo N (N even): every single wrong character changes it, and nearly every swap of two."""
    base = len(ALPHABET)
    total = 0
    for place, number in enumerate(reversed(numbers)):
        doubled = number * (2 if place % 2 == 0 else 1)
        total += doubled // base + doubled % base
    return -total % base
