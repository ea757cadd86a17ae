"""What is said of a product, in the forms in which the catalogue keeps it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

LONGEST_CATEGORY = 200


def category_path(text: str) -> str | None:
    """A path with one ``/`` between its parts and no blanks around them; None if nothing is left."""
    return "/".join(part for part in (part.strip() for part in text.split("/")) if part) or None


def minor_of(price: Decimal, exponent: int) -> int | None:
    """A price in minor units; None if it has more digits than the currency (``exponent``) has."""
    shifted = price.scaleb(exponent)
    return int(shifted) if shifted == shifted.to_integral_value() else None


def is_complete(product: Mapping[str, Any]) -> bool:
    """Enough to speak of it: a name in some language, and where in the catalogue it stands."""
    return not missing(product)


def missing(product: Mapping[str, Any]) -> list[str]:
    """What somebody has to add before a product is complete."""
    named = product.get("name_zh") or product.get("name_en")
    return [*([] if named else ["name"]), *([] if product.get("category") else ["category"])]
