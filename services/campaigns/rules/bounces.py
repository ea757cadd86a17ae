"""Whether a mail server's refusal of a recipient says that the address is dead, or something else."""

import re

# RFC 3463 §3.2–3.3: there is no such mailbox or system (1.x; not 1.7 and 1.8, which are about the sender), the mailbox is
# disabled (2.1; not 2.2, full). RFC 7505: the domain takes no mail (1.10). 4.1 is what Exchange Online answers for
# recipients that its directory does not know.
_DEAD = frozenset({"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.1"})
# RFC 5321 §4.2.3, where nothing more exact is said: unavailable, not local, not allowed; RFC 7504: no mail there.
_DEAD_BY_CODE = frozenset({550, 551, 553, 556})
_STATUS = re.compile(r"\s*(\d\.\d{1,3}\.\d{1,3})\b")


def is_dead(code: int, said: str) -> bool:
    """Whether the answer to RCPT means that nobody will ever be reached there.

    A policy, a full mailbox, a server that does not relay for us are not: where a whole server refuses, it is no
    customer's address that is wrong. ``said`` is the answer's text, which may quote the address and must not be kept.
    """
    if not 500 <= code < 600:
        return False
    status = _STATUS.match(said)
    if status is not None:
        return status[1] in _DEAD
    return code in _DEAD_BY_CODE and "relay" not in said.lower()
