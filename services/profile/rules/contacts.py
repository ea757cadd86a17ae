"""E-mail addresses and phone numbers in one form each, so that the same one is recognised and reached."""

import re

import phonenumbers

# Not RFC 5322 in full: what mail providers give out. No blanks or control characters, so nothing can be smuggled into
# a message's head.
_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\"\x00-\x1f\x7f]{1,64}@([^\s@<>()\[\],;:\"\x00-\x1f\x7f.]{1,63}\.)+[^\s@.]{2,63}"
)


def normal_email(text: str) -> str | None:
    """In lower case without blanks around; None if it is no address."""
    address = text.strip().lower()
    return address if len(address) <= 254 and _EMAIL.fullmatch(address) else None


def normal_phone(text: str, country: str | None) -> str | None:
    """E.164 (``+8613812345678``); a number without ``+`` is read as one of ``country``. None if it cannot be a number."""
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
