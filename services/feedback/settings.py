"""What feedback is told by its environment beside what every service is told."""

from uuid import UUID

from pydantic import Field

from services.feedback.rules import links
from shared.settings import Settings


class FeedbackSettings(Settings):
    """``link_key`` signs the links of invitations: at least 16 characters. To replace it, put the new one in front
    (``new,old``) and take the old one away when the last link made with it has expired."""

    link_key: str = Field(min_length=16)

    def answer_url(self, invitation_id: UUID) -> str:
        """The link of an invitation: a credential, to be given to the invited only."""
        return f"{self.public_url.rstrip('/')}/feedback/s/{links.token(invitation_id, self._link_keys[0])}"

    def invitation_of(self, token: str) -> UUID | None:
        return links.invitation_of(token, self._link_keys)

    @property
    def _link_keys(self) -> tuple[bytes, ...]:
        return tuple(key.strip().encode() for key in self.link_key.split(",") if key.strip())
