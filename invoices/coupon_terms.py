"""What a coupon may say: terms that contradict themselves are refused. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from app.base.errors import Invalid
from invoices.discounts import DURATIONS, KINDS, Coupon

CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{2,39}")
MONTHS_MAX = 120
PRIORITY_MAX = 1000
_NAME_LENGTH_MAX = 80
_DECIMALS_MAX = 12
_WHOLE_DIGITS_MAX = 20


class CouponUnsound(Invalid):
    """A coupon's terms contradict themselves; `field` names what to change."""


def check(coupon: Coupon) -> None:
    """This function will refuse a coupon that contradicts itself, at the first fault found.

    Raises: CouponUnsound.
    """
    if not CODE.fullmatch(coupon.code):
        raise CouponUnsound(
            "Use 3 to 40 capital letters, digits, hyphens and underscores.", field="code"
        )
    for field, name in (("name_ko", coupon.name_ko), ("name_en", coupon.name_en)):
        if not 0 < len(name.strip()) <= _NAME_LENGTH_MAX:
            raise CouponUnsound(
                f"Name the coupon, in {_NAME_LENGTH_MAX} characters at most: "
                "the name stands on bills.",
                field=field,
            )
    if coupon.kind not in KINDS:
        raise CouponUnsound(f"Choose one of {', '.join(KINDS)}.", field="kind")
    if not 0 <= coupon.priority <= PRIORITY_MAX:
        raise CouponUnsound(
            f"Choose a priority from 0 (first) to {PRIORITY_MAX}.", field="priority"
        )
    _check_value(coupon)
    _check_duration(coupon)


def _check_value(coupon: Coupon) -> None:
    if coupon.kind == "percentage" and not 0 < _plain(coupon.percent, "percent") <= 100:
        raise CouponUnsound("Take off more than 0 and at most 100 percent.", field="percent")
    if coupon.kind == "amount":
        if coupon.amount_minor <= 0:
            raise CouponUnsound("Enter the amount to take off.", field="amount")
        if coupon.currency is None:
            raise CouponUnsound("An amount needs its currency.", field="currency")
    if coupon.kind == "free_units":
        if _plain(coupon.units, "units") <= 0:
            raise CouponUnsound("Enter how many units are free.", field="units")
        if len(coupon.charges) != 1:
            raise CouponUnsound(
                "Free units are units of one charge: name that charge.", field="charges"
            )


def _plain(number: Decimal, field: str) -> Decimal:
    exponent = number.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or exponent < -_DECIMALS_MAX
        or number.adjusted() >= _WHOLE_DIGITS_MAX
    ):
        raise CouponUnsound("That number has too many digits.", field=field)
    return number


def _check_duration(coupon: Coupon) -> None:
    if coupon.duration not in DURATIONS:
        raise CouponUnsound(f"Choose one of {', '.join(DURATIONS)}.", field="duration")
    if coupon.kind == "months_free" and coupon.duration != "months":
        raise CouponUnsound("Free months last for months: say how many.", field="duration")
    if coupon.duration == "months" and not 1 <= coupon.months <= MONTHS_MAX:
        raise CouponUnsound(f"Enter 1 to {MONTHS_MAX} months.", field="months")
    if coupon.duration != "months" and coupon.months:
        raise CouponUnsound("Only a coupon of months has a number of months.", field="months")
