"""What feedback does by itself."""

from datetime import timedelta

from services.feedback.domain import invitations
from shared.jobs.schedule import Context, Step


def announce_due_invitations(context: Context) -> int:
    with context.sessions.begin() as session:
        return invitations.announce_due(session)


STEPS = (Step("announce_due_invitations", announce_due_invitations, every=timedelta(seconds=30)),)
