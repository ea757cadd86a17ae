"""What profile is told by its environment beside what every service is told."""

from pydantic import Field

from shared.settings import Settings


class ProfileSettings(Settings):
    """``blind_index_key`` makes the tokens by which sealed values are found (shared/blind_indexes): at least 16
    characters, and never replaced, for every token in the database was made with it."""

    blind_index_key: str = Field(min_length=16)
