"""Personal data and addresses in texts: found by linear-time patterns, then checked (Luhn, mod 97, numbering plans).

References
----------
ISO/IEC 7812-1, annex B (Luhn). ISO 13616-1 (IBAN), with the lengths of the IBAN registry. ITU-T E.164 through
phonenumbers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import polars as pl

EMAIL = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}"
URL = r"(?i)\b(?:https?://|ftp://|www\.)[^\s<>\x22']+"
DIGITS = r"[0-9](?:[ \-]?[0-9]){12,}"
IBAN = r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}"
IP_V4 = r"[0-9.]*[0-9]\.[0-9.]*[0-9]"
IP_V6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
PHONE = r"(?:\+|\b00)[0-9][0-9 ().\-/]{5,20}[0-9]"

LEAST_GROUPS, LOOPBACK = 3, "::1"
MOST_CANDIDATES = 200
"""What looks like an identifier in one text: later ones are not checked."""

_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 "
    "SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
"""Country -> characters of its account numbers."""


def is_card_number(text: str) -> bool:
    """Whether 13 to 19 digits end in the check digit of Luhn.

    Parameters
    ----------
    text : str
        Digits, with blanks or hyphens between them.

    Returns
    -------
    bool
        Not of one digit alone, repeated.

    Examples
    --------
    >>> is_card_number("4111 1111 1111 1111"), is_card_number("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(sign) for sign in text if sign in "0123456789"]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text begins with an account number whose length fits its country and which leaves 1 modulo 97.

    Parameters
    ----------
    text : str
        Letters in upper case and digits; blanks are left out.

    Returns
    -------
    bool
        What follows the number does not matter.

    Examples
    --------
    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE89 3704 0044 0532 0130 01")
    (True, False)
    """
    compact = text.replace(" ", "")
    length = IBAN_LENGTHS.get(compact[:2], 0)
    if not length or len(compact) < length:
        return False
    compact = compact[4:length] + compact[:4]
    return int("".join(str(int(sign, 36)) for sign in compact)) % 97 == 1


def is_ip_address(text: str) -> bool:
    """Whether a text is an address of IPv4 (four numbers up to 255) or IPv6.

    Parameters
    ----------
    text : str
        An IPv4 address may have dots around it.

    Returns
    -------
    bool
        Fewer than three groups of IPv6 are none: ``a::b`` is a name in a program oftener than an address.

    Examples
    --------
    >>> is_ip_address("192.168.0.1"), is_ip_address("192.168.0.300"), is_ip_address("2001:db8::1")
    (True, False, True)
    """
    try:
        ipaddress.ip_address(text.strip(".") if ":" not in text else text)
    except ValueError:
        return False
    return ":" not in text or sum(map(bool, text.split(":"))) >= LEAST_GROUPS or text == LOOPBACK


def is_phone_number(text: str) -> bool:
    """Whether a number with its country code is one that the country gives out (phonenumbers).

    Parameters
    ----------
    text : str
        Begins with ``+`` or ``00``.

    Returns
    -------
    bool
        By the numbering plan of the country.

    Raises
    ------
    ModuleNotFoundError
        Without the package phonenumbers.

    Examples
    --------
    >>> is_phone_number("+49 30 901820"), is_phone_number("+49 1")
    (True, False)
    """
    import phonenumbers

    number = text if text.startswith("+") else "+" + text[2:]
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def holds(texts: pl.Series, pattern: str, check: Callable[[str], bool]) -> pl.Series:
    """Which texts hold something that a pattern finds and a check confirms.

    Parameters
    ----------
    texts : polars.Series of String
        Any.
    pattern : str
        Regular expression of Rust, matched in linear time.
    check : callable
        Text of a match -> whether it is one; asked of the first `MOST_CANDIDATES` of a text.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    found = texts.str.contains(pattern)
    rows = found.fill_null(value=False).arg_true()
    candidates = texts.gather(rows).str.extract_all(pattern).list.head(MOST_CANDIDATES)
    confirmed = [any(check(each) for each in matches) for matches in candidates.to_list()]
    return found.scatter(rows, confirmed) if len(rows) else found


def emails(texts: pl.Series) -> pl.Series:
    """Which texts hold an e-mail address.

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return texts.str.contains(EMAIL)


def urls(texts: pl.Series) -> pl.Series:
    """Which texts hold an address of the web (``https://``, ``http://``, ``ftp://``, ``www.``).

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return texts.str.contains(URL)


def card_numbers(texts: pl.Series) -> pl.Series:
    """Which texts hold the number of a payment card (`is_card_number`).

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return holds(texts, DIGITS, is_card_number)


def ibans(texts: pl.Series) -> pl.Series:
    """Which texts hold an international bank account number (`is_iban`).

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return holds(texts, IBAN, is_iban)


def ip_addresses(texts: pl.Series) -> pl.Series:
    """Which texts hold an address of IPv4 or IPv6 (`is_ip_address`).

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return holds(texts, IP_V4, is_ip_address) | holds(texts, IP_V6, is_ip_address)


def phone_numbers(texts: pl.Series) -> pl.Series:
    """Which texts hold a telephone number with its country code (`is_phone_number`).

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    return holds(texts, PHONE, is_phone_number)


def personal(texts: pl.Series) -> pl.Series:
    """Which texts hold any of them: e-mail address, card number, IBAN, IP address, telephone number.

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of Boolean
        Null where the text is.
    """
    found = emails(texts)
    for kind in (card_numbers, ibans, ip_addresses, phone_numbers):
        found |= kind(texts)
    return found
