"""The way out: a mail server, or a folder of .eml files where none is configured. Reached from jobs only."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, formataddr, parseaddr
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from services.campaigns.rules.bounces import is_dead
from services.campaigns.rules.content import Content

TIMEOUT = 10.0


class _Policy(EmailPolicy):
    """As the library's for SMTP, but a link is never broken nor encoded: mail programs read this header as it is."""

    def fold(self, name: str, value: str) -> str:
        return self._whole(name, value) or super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        return self._whole(name, value).encode() or super().fold_binary(name, value)

    def _whole(self, name: str, value: str) -> str:
        if name.lower() != "list-unsubscribe":
            return ""
        return f"{name}: {value.replace(', ', f',{self.linesep} ')}{self.linesep}"


_POLICY = _Policy(linesep="\r\n")


class NotNow(Exception):  # noqa: N818 - an answer of the server, not an error of ours
    """The server does not take it now and may later: nothing was sent."""


class Away(NotNow):
    """The server itself is away, which is no message's fault: nothing more can be sent for now."""


class NotEver(Exception):  # noqa: N818
    """The server will never take this message: nothing was sent."""


class DeadAddress(NotEver):
    """The server says that nobody can be reached at this address, now or later."""


class NobodyKnows(Exception):  # noqa: N818
    """The connection broke after the message was handed over: it may have left or not."""


class Way(Protocol):
    """A way out. ``send`` raises NotNow (Away where the whole conversation has ended), NotEver (DeadAddress) or NobodyKnows."""

    def send(self, message: EmailMessage) -> None: ...


def compose(
    delivery_id: UUID,
    sender: str,
    address: str,
    content: Content,
    written_at: datetime,
    *,
    promotional: bool,
    unsubscribe_url: str | None = None,
    readable: bool = False,
) -> EmailMessage:
    """The message for one customer. Its Message-ID is the delivery's id, so that two copies would show as one.
    ``promotional``: it can be unsubscribed from, by one click at ``unsubscribe_url`` (RFC 8058, https only) and by a reply.
    ``readable``: as it is instead of base64, for a file that people open.

    Raises NotEver for an address that no message can be addressed to.
    """
    _, sender_address = parseaddr(sender)
    message = EmailMessage(_POLICY)
    try:
        message["Message-ID"] = f"<{delivery_id}@{sender_address.rpartition('@')[2]}>"
        message["Date"] = format_datetime(written_at)
        message["From"] = sender
        message["To"] = formataddr(("", address))
        message["Subject"] = content.subject
        message["Auto-Submitted"] = "auto-generated"
        if promotional:
            ways = [f"mailto:{sender_address}?subject=unsubscribe"]
            if unsubscribe_url:
                ways.insert(0, unsubscribe_url)
                if unsubscribe_url.startswith("https://"):
                    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
            message["List-Unsubscribe"] = ", ".join(f"<{way}>" for way in ways)
        message.set_content(content.body, cte="8bit" if readable else None)
    except (ValueError, IndexError) as error:
        raise NotEver("address_invalid") from error
    addressed = message["To"].addresses
    if len(addressed) != 1 or addressed[0].addr_spec != address:
        raise NotEver("address_invalid")
    return message


@contextmanager
def open_way(smtp_url: str, mailbox_dir: str) -> Iterator[Way]:
    """The mail server at ``smtp_url``, else the folder. Raises Away when the server does not answer."""
    if not smtp_url:
        yield Mailbox(Path(mailbox_dir))
        return
    connection = _connect(smtp_url)
    try:
        yield MailServer(connection)
    finally:
        with suppress(OSError, smtplib.SMTPException):
            connection.quit()


class Mailbox:
    """A folder in which each message is a file named after its delivery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage) -> None:
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        part = self._folder / f"{name}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(message.as_bytes())
            part.replace(self._folder / f"{name}.eml")
        except OSError as error:
            raise Away("mailbox_not_writable") from error


class MailServer:
    """One conversation with a mail server, message after message."""

    def __init__(self, connection: smtplib.SMTP) -> None:
        self._connection = connection

    def send(self, message: EmailMessage) -> None:
        """Step by step, because what a broken connection means depends on the step: before DATA nothing was sent,
        after it nobody knows."""
        sender = message["From"].addresses[0].addr_spec
        address = message["To"].addresses[0].addr_spec
        options: list[str] = []
        if not address.isascii():
            if not self._connection.has_extn("smtputf8"):
                raise NotEver("address_not_supported")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
            message.policy = _POLICY.clone(utf8=True)
        content = message.as_bytes()
        try:
            self._connection.ehlo_or_helo_if_needed()
            self._expect(self._connection.mail(sender, options), "sender")
            self._expect(self._connection.rcpt(address), "recipient")
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            raise Away("connection_lost") from error
        try:
            reply = self._connection.data(content)
        except smtplib.SMTPDataError as error:
            reply = (error.smtp_code, b"")
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            raise NobodyKnows("connection_lost") from error
        self._expect(reply, "message")

    def _expect(self, reply: tuple[int, bytes], step: str) -> None:
        """The code alone is kept: what servers say often quotes the address."""
        code, said = reply[0], reply[1].decode("utf-8", "replace")
        if 200 <= code < 300:
            return
        with suppress(OSError, smtplib.SMTPException):
            self._connection.rset()
        if step == "recipient" and is_dead(code, said):
            raise DeadAddress(f"{step}_refused_{code}")
        raise (NotEver if 500 <= code < 600 else NotNow)(f"{step}_refused_{code}")


def _connect(smtp_url: str) -> smtplib.SMTP:
    """``smtps://`` speaks TLS from the start; ``smtp://`` turns to it where the server offers it, and never gives a
    password away without."""
    where = urlsplit(smtp_url)
    host, context = where.hostname or "127.0.0.1", ssl.create_default_context()
    connection: smtplib.SMTP | None = None
    try:
        if where.scheme == "smtps":
            connection = smtplib.SMTP_SSL(host, where.port or 465, timeout=TIMEOUT, context=context)
        else:
            connection = smtplib.SMTP(host, where.port or 25, timeout=TIMEOUT)
            connection.ehlo()
            if connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
            elif where.username:
                raise Away("server_without_tls")
        if where.username:
            connection.login(unquote(where.username), unquote(where.password or ""))
    except (OSError, smtplib.SMTPException) as error:
        if connection is not None:
            connection.close()
        raise Away(f"server_unavailable_{type(error).__name__}") from error
    return connection
