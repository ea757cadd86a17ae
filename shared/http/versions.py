"""Two people editing one thing: ETag out, If-Match in."""

from typing import Annotated

from fastapi import Header

from shared.errors import BadRequest, PreconditionRequired, VersionMismatch

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="the ETag of the version being changed",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e][\x20-\x7e]*$",
        examples=['"3"'],
    ),
]
"""``if_match: IfMatch = None`` in a route whose resource people edit."""


def etag(version: int) -> str:
    """``'"3"'`` for version 3."""
    return f'"{version}"'


def check_version(if_match: str | None, version: int) -> None:
    """Refuse (428) an edit that names no version, and (412) one of another version than the current ``version``.

    Call it with the row locked. ``*`` means whatever is there.
    """
    if if_match is None:
        raise PreconditionRequired("precondition_required", "send If-Match with the ETag of what you read")
    named = [tag.strip().removeprefix("W/") for tag in if_match.split(",")]
    if not any(named):
        raise BadRequest("invalid_if_match", "If-Match holds no ETag")
    if "*" not in named and etag(version) not in named:
        raise VersionMismatch(
            "version_mismatch", "it was changed since you read it", headers={"ETag": etag(version)}
        )
