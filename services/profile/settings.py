"""What profile is told by its environment beside what every service is told."""

from pydantic import Field, PositiveInt

from shared import signed_links
from shared.settings import Settings


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

    @property
    def link_keys(self) -> tuple[bytes, ...]:
        return signed_links.keys_of(self.link_key)
