"""How money, time and numbers are written on a page: once, as Jinja filters."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import phonenumbers
from flask import Flask
from markupsafe import Markup, escape

from app.base.money import Money
from app.web import countries
from app.web.i18n import TIME_ZONE, gettext, language, ngettext

_WEEKDAYS = {"ko": "월화수목금토일", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
_NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_ZONE = ZoneInfo(TIME_ZONE)


def init_format(app: Flask) -> None:
    """This function will make every format of this module a Jinja filter."""
    app.jinja_env.filters.update(
        money=money,
        number=number,
        date=day,
        datetime=moment,
        ago=ago,
        filesize=filesize,
        brn=brn,
        phone=phone,
        country=country,
        decline=decline,
    )


def money(amount: int | Money | None, currency: str = "KRW") -> str:
    """This function will write an amount in minor units: ₩1,234,000, $12.50, −₩500."""
    if amount is None:
        return _NOTHING
    return str(amount if isinstance(amount, Money) else Money(int(amount), currency))


def number(value: int | Decimal | None, digits: int | None = None) -> str:
    """This function will write a quantity with grouped thousands and a true minus."""
    if value is None:
        return _NOTHING
    exact = Decimal(value)
    if digits is not None:
        exact = round(exact, digits)
    elif exact == exact.to_integral_value():
        exact = exact.to_integral_value()
    return f"{exact:,f}".replace("-", _MINUS)


def day(value: date | None) -> str:
    """This function will write a day with its weekday: 2026-11-20 (금)."""
    if value is None:
        return _NOTHING
    return _dated(_local(value) if isinstance(value, datetime) else value)


def moment(value: datetime | None) -> str:
    """This function will write a moment in the contract's zone: 2026-11-20 (금) 14:05."""
    if value is None:
        return _NOTHING
    local = _local(value)
    return f"{_dated(local)} {local.isoformat()[11:16]}"


def _dated(local: date) -> str:
    return f"{local.isoformat()[:10]} ({_WEEKDAYS[language()][local.weekday()]})"


def ago(value: datetime | None, now: datetime) -> Markup | str:
    """This function will write how far a moment is from now, with the exact one beside it."""
    if value is None:
        return _NOTHING
    # Filled in by hand: a list has many of them, and `Markup.format` takes its time.
    exact = value.astimezone(UTC).isoformat(timespec="seconds")
    return Markup(  # noqa: S704 - each part is escaped
        f'<time class="ago" datetime="{exact}">{escape(distance(value, now))}'
        f' <span class="ago-exact">{escape(moment(value))}</span></time>'
    )


def distance(value: datetime, now: datetime) -> str:
    """This function will write the distance between two moments in its largest whole unit."""
    seconds = int((now - value).total_seconds())
    if abs(seconds) < 60:
        return gettext("just now")
    size, unit = next(
        (abs(seconds) // length, unit)
        for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute"))
        if abs(seconds) >= length
    )
    return (_ago if seconds > 0 else _ahead)(size, unit)


def _ago(size: int, unit: str) -> str:
    if unit == "day":
        return ngettext("%(num)d day ago", "%(num)d days ago", size)
    if unit == "hour":
        return ngettext("%(num)d hour ago", "%(num)d hours ago", size)
    return ngettext("%(num)d minute ago", "%(num)d minutes ago", size)


def _ahead(size: int, unit: str) -> str:
    if unit == "day":
        return ngettext("in %(num)d day", "in %(num)d days", size)
    if unit == "hour":
        return ngettext("in %(num)d hour", "in %(num)d hours", size)
    return ngettext("in %(num)d minute", "in %(num)d minutes", size)


def filesize(size_bytes: int | None) -> str:
    """This function will write a size in decimal units, as the price list counts them."""
    if size_bytes is None:
        return _NOTHING
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size = Decimal(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 1000 or unit == "TB":
            break
    return f"{size:,.{0 if size >= 100 else 1}f} {unit}"


def brn(value: str | None) -> str:
    """This function will write a Korean business number as 123-45-67890, others as they came."""
    digits = "".join(filter(str.isdigit, value or ""))
    if len(digits) != 10:
        return value or _NOTHING
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"


def phone(value: str | None) -> str:
    """This function will write a phone number as people in its country do, others as they came."""
    if not value:
        return _NOTHING
    try:
        parsed = phonenumbers.parse(value, "KR")
    except phonenumbers.NumberParseException:
        return value
    if not phonenumbers.is_possible_number(parsed):
        return value
    domestic = parsed.country_code == 82
    style = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(parsed, style.NATIONAL if domestic else style.INTERNATIONAL)


def _local(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a moment without a zone cannot be shown")
    return value.astimezone(_ZONE)


def country(code: str | None) -> str:
    """This function will name a country in the reader's language, or give its code back."""
    return countries.names(language()).get(code or "", code or _NOTHING)


def decline(decline_class: str | None) -> str:
    """This function will say to a customer what a declined card means and what comes next."""
    return {
        "retry_later": gettext("the bank refused for now; it is tried again"),
        "new_method_needed": gettext("the card can't be charged any more; register another"),
        "our_fault": gettext("a fault on our side; there is nothing for you to do"),
        "person_must_look": gettext("we are asking the payment service"),
    }.get(decline_class or "", gettext("no reason given"))
