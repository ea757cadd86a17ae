"""What ``work`` does for campaigns: sends the messages that are due, gives up those of dead workers, tells profile which
addresses are dead, checks the ledger.

Nothing personal outlives a call: addresses and names are asked for when a message is sent, and the message itself is
made in memory, handed over and forgotten.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import cache
from importlib.resources import files
from typing import Any, cast
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from services.campaigns import mail
from services.campaigns.clients import ContactPoint, Neighbours, neighbours
from services.campaigns.domain import bounces, deliveries, offers
from services.campaigns.domain.deliveries import CASE_REPLY, CONFIRMATIONS, SURVEY_INVITATION
from services.campaigns.invariants import INVARIANTS
from services.campaigns.rules import content
from services.campaigns.settings import CampaignsSettings
from shared.auth.client import CallRefused
from shared.errors import Unavailable
from shared.jobs.schedule import Context, Scheduled, Step

log = structlog.get_logger()

DELIVERIES = Counter("deliveries", "Messages by what became of them", ["campaign", "outcome"])
BOUNCES = Counter("bounces_told", "Dead addresses by what came of telling profile", ["outcome"])
LEDGER_HOLDS = Gauge("ledger_invariant_holds", "1 if the invariant held when last checked", ["invariant"])

# What profile says when there is nothing to suppress, today or later; any other refusal is the deployment's fault.
NOTHING_TO_SUPPRESS = frozenset(
    {"customer_not_found", "customer_erased", "no_contact_point", "contact_point_changed"}
)


@dataclass(frozen=True)
class _Letter:
    """A message ready to go. ``customer_id`` is whom the contact point was asked for, ``reference`` what profile called it."""

    delivery_id: UUID
    campaign_id: str
    customer_id: UUID
    channel: str
    reference: str | None
    consent_id: UUID | None
    valid_until: datetime
    message: EmailMessage


def deliver(context: Context) -> int:
    """Send what is due, one batch; returns how many messages were claimed.

    Consent is asked for after the claim, so that a withdrawal acknowledged before it is obeyed. Each message is marked
    as going out, and that is committed, before the server hears of it.
    """
    settings = _settings(context)
    if not settings.smtp_url and not settings.mailbox_dir:
        return 0
    with context.sessions.begin() as session:
        lease, claimed = deliveries.claim(session, settings.delivery_batch)
        refused = deliveries.refusals(session, lease, timedelta(hours=settings.message_valid_hours))
        deliveries.skip(session, lease, refused)
    _count(claimed, refused)
    due = [each for each in claimed if each.delivery_id not in refused]
    if due:
        with neighbours(settings) as asked:
            letters = _write(context, asked, lease, due)
        _send(context, lease, letters)
    return len(claimed)


def give_up_lost(context: Context) -> int:
    """Messages whose worker died while sending: nobody knows whether they left, so they are not sent again."""
    with context.sessions.begin() as session:
        lost = deliveries.give_up_lost(session)
    if lost:
        log.warning("messages_lost", count=lost)
    return 0


def tell_bounces(context: Context) -> int:
    """Tell profile of addresses that turned out to be dead, one batch; returns how many there were.

    One is told again under the same key until profile has answered: its answer may have been lost, with the worker or
    on the way.
    """
    settings = _settings(context)
    with context.sessions.begin() as session:
        due = bounces.claim(session, settings.delivery_batch)
    if not due:
        return 0
    with neighbours(settings) as asked:
        for position, each in enumerate(due):
            try:
                outcome = _tell(asked, each)
            except Unavailable as error:
                left = [one.delivery_id for one in due[position:]]
                log.warning("bounces_put_off", count=len(left), error=error.code)
                with context.sessions.begin() as session:
                    bounces.postpone(session, left)
                break
            with context.sessions.begin() as session:
                if outcome is None:
                    bounces.postpone(session, [each.delivery_id])
                else:
                    bounces.settle(session, each.delivery_id, outcome)
            BOUNCES.labels(outcome or "put_off").inc()
    return len(due)


def _tell(asked: Neighbours, bounced: Any) -> str | None:
    """What came of it; None if profile does not let us tell it. Raises Unavailable."""
    try:
        asked.suppress_dead(
            bounced.customer_id,
            bounced.channel,
            bounced.reference,
            idempotency_key=f"bounce:{bounced.delivery_id}",
        )
    except CallRefused as error:
        if error.code in NOTHING_TO_SUPPRESS:
            return error.code
        log.error("bounce_not_told", delivery=str(bounced.delivery_id), status=error.status, code=error.code)
        return None
    return "suppressed"


def check_ledger(context: Context) -> None:
    """Every invariant of the service, as a metric and, where one is broken, in the log."""
    with context.sessions.begin() as session:
        session.execute(text("set transaction isolation level repeatable read, read only"))
        for name, question in INVARIANTS.items():
            holds = bool(session.scalar(text(question)))
            LEDGER_HOLDS.labels(name).set(holds)
            if not holds:
                log.error("ledger_invariant_broken", invariant=name)


def _write(context: Context, asked: Neighbours, lease: UUID, due: Sequence[Any]) -> list[_Letter]:
    """The messages that may go out, by what profile and feedback answer now. The others are skipped or put off."""
    groups: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for each in due:
        groups[each.campaign_id, each.purpose, each.channel].append(each)
    letters = []
    for (campaign_id, purpose, channel), group in groups.items():
        try:
            contacts = asked.contact_points([each.customer_id for each in group], purpose, channel)
            refused = {
                each.delivery_id: reason
                for each in group
                if (reason := _unreachable(contacts.get(each.customer_id))) is not None
            }
            reachable = [each for each in group if each.delivery_id not in refused]
            values = _values(context, asked, campaign_id, reachable) if reachable else {}
        except (Unavailable, CallRefused) as error:
            log.warning("messages_put_off", campaign=campaign_id, count=len(group), error=str(error))
            with context.sessions.begin() as session:
                deliveries.postpone(session, lease, [each.delivery_id for each in group], error.code, None)
            continue
        refused |= {
            each.delivery_id: "subject_gone" for each in reachable if values.get(each.subject_id) is None
        }
        with context.sessions.begin() as session:
            deliveries.skip(session, lease, refused)
        _count(group, refused)
        for each in reachable:
            if each.delivery_id not in refused:
                letters += _letter(context, lease, each, contacts[each.customer_id], values[each.subject_id])
    return letters


def _unreachable(contact: ContactPoint | None) -> str | None:
    """Why a customer cannot be written to; None if there is a valid address."""
    if contact is None or contact.address is None or contact.valid_until is None:
        return (contact and contact.reason) or "no_contact_point"
    return None


def _values(
    context: Context, asked: Neighbours, campaign_id: str, due: Sequence[Any]
) -> dict[UUID, dict[str, Any]]:
    """What the template of a campaign needs, by the subject of the message; a subject that is gone is left out."""
    subjects = list(dict.fromkeys(each.subject_id for each in due))
    if campaign_id == SURVEY_INVITATION:
        return {key: {"url": link.url} for key, link in asked.invitation_links(subjects).items()}
    if campaign_id in CONFIRMATIONS.values():
        return {key: {"url": link.url} for key, link in asked.confirmation_links(subjects).items()}
    if campaign_id == CASE_REPLY:
        return {
            key: {"text": message.text, "case_number": message.case_number}
            for key, message in asked.case_messages(subjects).items()
        }
    zone = _settings(context).zone
    with context.sessions() as session:
        return {
            key: {
                "tier": offer.tier,
                "percent": offer.percent,
                "code": offer.code,
                "expires_on": offer.expires_at.astimezone(zone).date().isoformat(),
            }
            for key, offer in offers.of_ids(session, subjects).items()
        }


def _letter(
    context: Context, lease: UUID, delivery: Any, contact: ContactPoint, values: dict[str, Any]
) -> list[_Letter]:
    """The message, or nothing if it can never be sent, which is recorded."""
    settings = _settings(context)
    language = content.language_of(contact.language, settings.default_language)
    values = values | {
        "name": content.polite_name(contact.name),
        "preferences_url": contact.preferences_url or "",
        "unsubscribe_url": contact.unsubscribe_url or "",
    }
    if "tier" in values:
        values["tier_name"] = content.tier_name(values["tier"], language)
    try:
        written = content.render(_template(delivery.campaign_id, language), values)
        message = mail.compose(
            delivery.delivery_id,
            settings.mail_from,
            cast("str", contact.address),
            written,
            datetime.now(UTC),
            promotional=delivery.purpose != "service",
            unsubscribe_url=contact.unsubscribe_url,
            readable=not settings.smtp_url,
        )
    except (content.CannotRender, mail.NotEver) as error:
        reason = "cannot_render" if isinstance(error, content.CannotRender) else str(error)
        log.error("message_failed", delivery=str(delivery.delivery_id), reason=reason)
        with context.sessions.begin() as session:
            deliveries.fail(session, lease, delivery.delivery_id, reason)
        DELIVERIES.labels(delivery.campaign_id, "failed").inc()
        return []
    valid_until = cast("datetime", contact.valid_until)
    return [
        _Letter(
            delivery.delivery_id,
            delivery.campaign_id,
            delivery.customer_id,
            delivery.channel,
            contact.reference,
            contact.consent_id,
            valid_until,
            message,
        )
    ]


def _send(context: Context, lease: UUID, letters: Sequence[_Letter]) -> None:
    settings = _settings(context)
    if not letters:
        return
    left = list(letters)
    try:
        with mail.open_way(settings.smtp_url, settings.mailbox_dir) as way:
            while left:
                _send_one(context, lease, way, left.pop(0))
    except mail.Away as away:
        log.warning("mail_server_away", reason=str(away), put_off=len(left))
        with context.sessions.begin() as session:
            deliveries.postpone(session, lease, [each.delivery_id for each in left], str(away), None)


def _send_one(context: Context, lease: UUID, way: mail.Way, letter: _Letter) -> None:
    """One message: marked, sent, recorded. Raises Away if the conversation with the server has ended."""
    with context.sessions.begin() as session:
        if not deliveries.begin_sending(
            session, lease, letter.delivery_id, letter.consent_id, letter.valid_until
        ):
            deliveries.release(session, lease, [letter.delivery_id])
            return
    ended: mail.Away | None = None
    try:
        way.send(letter.message)
    except mail.NotNow as error:
        outcome = "postponed"
        ended = error if isinstance(error, mail.Away) else None
        limit = None if ended else _settings(context).delivery_attempts
        with context.sessions.begin() as session:
            deliveries.postpone(session, lease, [letter.delivery_id], str(error), limit)
    except mail.NotEver as error:
        outcome = "failed"
        with context.sessions.begin() as session:
            deliveries.fail(session, lease, letter.delivery_id, str(error))
            if isinstance(error, mail.DeadAddress):
                bounces.keep(
                    session, letter.delivery_id, letter.customer_id, letter.channel, letter.reference
                )
    except mail.NobodyKnows as error:
        outcome, ended = "unknown", mail.Away(str(error))
        with context.sessions.begin() as session:
            deliveries.lose(session, lease, letter.delivery_id, str(error))
    else:
        outcome = "sent"
        with context.sessions.begin() as session:
            deliveries.record_sent(session, lease, letter.delivery_id)
    DELIVERIES.labels(letter.campaign_id, outcome).inc()
    if ended is not None:
        raise ended


@cache
def _template(campaign_id: str, language: str) -> str:
    return (files("services.campaigns") / "templates" / f"{campaign_id}.{language}.liquid").read_text("utf-8")


def _count(claimed: Sequence[Any], refused: Any) -> None:
    for each in claimed:
        if each.delivery_id in refused:
            DELIVERIES.labels(each.campaign_id, "skipped").inc()


def _settings(context: Context) -> CampaignsSettings:
    return cast("CampaignsSettings", context.settings)


STEPS = (
    Step("deliver", deliver, timedelta(seconds=1)),
    Step("tell_bounces", tell_bounces, timedelta(seconds=1)),
    Step("give_up_lost", give_up_lost, timedelta(seconds=30)),
)
SCHEDULE = (Scheduled("check_ledger", "15 * * * *", check_ledger),)
