"""In which of the languages we write to somebody."""

LANGUAGES = ("en", "zh")


def written(tag: str | None) -> str | None:
    """The language of ours that a language tag (``zh-CN``, ``en_GB``) means, else None."""
    primary = (tag or "").replace("_", "-").split("-")[0].strip().lower()
    return primary if primary in LANGUAGES else None


def chosen(asked: str | None, customer: str | None, accepted: str | None) -> str:
    """What was asked for, else the customer's own, else the browser's first that we write, else English.

    ``accepted`` is an Accept-Language header (RFC 9110 §12.5.4): ``zh-CN,zh;q=0.9,en;q=0.8``.
    """
    return written(asked) or written(customer) or _preferred(accepted or "") or "en"


def _preferred(header: str) -> str | None:
    best, best_quality = None, 0.0
    for part in header[:1_000].split(","):
        tag, _, parameter = part.partition(";")
        language = written(tag)
        try:
            quality = float(parameter.partition("=")[2]) if parameter else 1.0
        except ValueError:
            continue
        if language and quality > best_quality:
            best, best_quality = language, quality
    return best
