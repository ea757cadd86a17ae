"""By what people are recognised, and what may ever make one of two."""

from collections.abc import Collection, Iterable, Mapping

from services.profile.rules.contacts import normal_email, normal_phone

DEVICES = ("cookie", "device")
# By their nature one person's alone. A family shares a tablet, nobody shares a mailbox that answered.
UNIQUE = ("email", "phone", "wechat_openid", "wechat_unionid", "pos_card")
# Of these a person has one as a rule: two records with different ones may be two people, whatever else they share. (An
# openid is another one in every app.)
STRONG = ("email", "phone", "wechat_unionid", "pos_card")
NAMESPACES = (*UNIQUE, *DEVICES)

Held = Mapping[str, Collection[bytes]]
"""The verified identities of a customer: tokens by namespace."""


def normal_value(namespace: str, value: str) -> str | None:
    """The one form of an identity; None if it cannot be one. A phone number needs its country code (E.164)."""
    if namespace == "email":
        return normal_email(value)
    if namespace == "phone":
        return normal_phone(value, None)
    return value.strip() or None


def may_merge(proven_by: Iterable[str], first: Held, second: Held) -> bool:
    """Whether two customers may become one without a person deciding it.

    ``proven_by``: the namespaces of verified identities through which somebody who logged in is both. Only what is by
    nature one person's counts, and two different ids of one strong namespace speak against it.
    """
    proofs = set(proven_by)
    return (
        bool(proofs)
        and proofs <= set(UNIQUE)
        and not any(
            first.get(name) and second.get(name) and set(first[name]).isdisjoint(second[name])
            for name in STRONG
        )
    )
