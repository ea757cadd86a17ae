"""Money: integer minor units of an ISO 4217 currency, never a float."""

from decimal import ROUND_HALF_UP, Context, Decimal

# ISO 4217 (list one, amendments to 2025): every active currency by the digits of its minor unit; two unless said here.
_OTHER_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW"
    " CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF"
    " IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK"
    " MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP"
    " SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER"
    " ZAR ZMW ZWG BGN ANG CUC HRK"
)
EXPONENTS: dict[str, int] = dict.fromkeys(_TWO.split(), 2) | {
    currency: exponent for exponent, currencies in _OTHER_EXPONENTS.items() for currency in currencies.split()
}

_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
_ONE = Decimal(1)


class UnknownCurrency(ValueError):  # noqa: N818 - an answer, not an error of ours
    """Not a code of ISO 4217."""


def exponent(currency: str) -> int:
    """Digits of the minor unit: JPY 0, CNY 2, KWD 3. Raises UnknownCurrency."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def to_minor(amount: Decimal, currency: str) -> int:
    """``amount`` of whole units in minor units, half away from zero: 2.545 CNY → 255, −2.545 CNY → −255."""
    return round_half_away(_EXACT.scaleb(amount, exponent(currency)))


def to_decimal(amount_minor: int, currency: str) -> Decimal:
    return _EXACT.scaleb(Decimal(amount_minor), -exponent(currency))


def convert(amount_minor: int, currency: str, into: str, rate: Decimal) -> int:
    """Minor units of ``currency`` as minor units of ``into`` at ``rate`` (units of ``into`` per unit of ``currency``),
    rounded once, half away from zero."""
    shift = exponent(into) - exponent(currency)
    return round_half_away(_EXACT.scaleb(_EXACT.multiply(Decimal(amount_minor), rate), shift))


def round_half_away(value: Decimal) -> int:
    """The nearest integer; a half goes away from zero, as on an invoice."""
    return int(value.quantize(_ONE, context=_EXACT))
