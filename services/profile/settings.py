"""What profile is told by its environment beside what every service is told."""

import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, SecretStr, model_validator

from shared import signed_links
from shared.settings import Settings


class ImportSource(BaseModel):
    """Where files to import turn up: a folder that ``work`` can read, or an address (never one of the inner network, but
    for ``REGULARS_OUTBOUND_NETWORKS``). ``mapping`` is the name of a saved one, ``authorization`` the header to send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    mapping: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    folder: str | None = Field(default=None, min_length=1)
    url: str | None = Field(default=None, min_length=1, max_length=2000)
    authorization: SecretStr | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.folder is None) == (self.url is None):
            raise ValueError("an import source has either a folder or a url")
        return self


def listed(value: Any) -> Any:
    """A list as JSON."""
    return json.loads(value) if isinstance(value, str) else value


class ProfileSettings(Settings):
    """``blind_index_key`` makes the tokens by which sealed values are found (shared/blind_indexes): at least 16
    characters, and never replaced, for every token in the database was made with it. ``link_key`` signs the links to the
    hosted pages: at least 16 characters; to replace it put the new one in front (``new,old``) and take the old one away
    when the last link made with it has expired."""

    blind_index_key: str = Field(min_length=16)
    activity_kept_days: PositiveInt = Field(
        default=396, le=36_500, description="how long behaviour is kept; older is not taken either"
    )
    link_key: str = Field(min_length=16)
    confirmation_days: PositiveInt = Field(default=7, description="how long a link to confirm can be used")
    preference_link_days: PositiveInt = Field(
        default=180, description="how long a link to the preference page works"
    )
    sign_up_double_opt_in: bool = Field(
        default=True,
        description="whoever signs up confirms by a link; known customers always do",
    )
    sign_ups_per_hour: PositiveInt = Field(
        default=300, description="how many forms one source takes in an hour"
    )

    import_sources: Annotated[tuple[ImportSource, ...], BeforeValidator(listed)] = Field(
        default=(),
        description="JSON: folders and addresses that are looked at every quarter of an hour; a new file is imported",
    )

    @property
    def link_keys(self) -> tuple[bytes, ...]:
        return signed_links.keys_of(self.link_key)
