"""What feedback is told by its environment beside what every service is told."""

from uuid import UUID

from pydantic import Field

from shared import signed_links
from shared.settings import Settings

_PURPOSE = "regulars/feedback/invitation/v1"


class FeedbackSettings(Settings):
    """``link_key`` signs the links of invitations: at least 16 characters. To replace it, put the new one in front
    (``new,old``) and take the old one away when the last link made with it has expired."""

    link_key: str = Field(min_length=16)

    def answer_url(self, invitation_id: UUID) -> str:
        """The link of an invitation: a credential, to be given to the invited only."""
        token = signed_links.token(_PURPOSE, invitation_id.bytes, self._link_keys[0])
        return f"{self.public_url.rstrip('/')}/feedback/s/{token}"

    def invitation_of(self, token: str) -> UUID | None:
        about = signed_links.opened(_PURPOSE, token, self._link_keys)
        return UUID(bytes=about) if about is not None and len(about) == 16 else None

    @property
    def _link_keys(self) -> tuple[bytes, ...]:
        return signed_links.keys_of(self.link_key)
