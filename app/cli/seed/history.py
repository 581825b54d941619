"""Ten weeks of a small business, played in order before anybody looks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from app.base.config import settings
from app.cli.seed import days, road
from app.cli.seed.cast import APPLICANTS, CUSTOMERS, Customer
from tenants import provisioning

# What the jobs do in a day, they do in the morning; people act later in the day.
MORNING_HOUR, OFFICE_HOUR, AFTERNOON_HOUR = 9, 11, 15


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: when, and what to do for it to have happened."""

    at: datetime
    act: Callable[[datetime], None]


def gateway_answers() -> bool:
    """This function will tell whether cards can be registered and charged now."""
    address = urlsplit(settings().sandbox_gateway_url)
    try:
        socket.create_connection((str(address.hostname), address.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def play(
    *, now: datetime, cards: bool, passwords: dict[str, str], tenants: dict[str, UUID]
) -> None:
    """This function will play everybody's past up to `now`.

    Without `cards`, whoever pays by card is left out. `passwords` has one for each e-mail;
    `tenants` takes down, by e-mail, who has a workspace.

    Raises: TenantryError where a room refuses.
    """
    # The desk first: whatever becomes of the past, there is something to review.
    for applicant in APPLICANTS:
        road.play_applicant(applicant, now)
    customers = [customer for customer in CUSTOMERS if cards or not customer.card]
    with provisioning.gather_crew() as crew:
        moments = [
            moment
            for customer in customers
            for moment in _story(customer, now, tenants, passwords, crew)
        ]
        first = min(moment.at for moment in moments)
        mornings = [Moment(at, days.live_through) for at in _mornings(first, now)]
        for moment in sorted([*moments, *mornings], key=lambda moment: moment.at):
            moment.act(moment.at)
    days.read_meters(now)


def _story(
    customer: Customer,
    now: datetime,
    tenants: dict[str, UUID],
    passwords: dict[str, str],
    crew: provisioning.Crew,
) -> list[Moment]:
    email = customer.company.email

    def opened(at: datetime) -> None:
        tenants[email] = road.open_workspace(
            customer, at=at, until=now, password=passwords[email], crew=crew
        )

    def converted(at: datetime) -> None:
        road.convert(customer, tenants[email], at)
        days.live_through(at + timedelta(minutes=1))

    story = [Moment(_hour(now, customer.approved_days_ago, OFFICE_HOUR), opened)]
    if customer.converted_days_ago is not None:
        story.append(Moment(_hour(now, customer.converted_days_ago, AFTERNOON_HOUR), converted))
        story += [
            Moment(
                _hour(now, customer.converted_days_ago - after, AFTERNOON_HOUR),
                lambda at: days.receive_transfer(tenants[email], at),
            )
            for after in customer.transfers_after_days
        ]
    return story


def _hour(now: datetime, days_ago: int, hour: int) -> datetime:
    """An hour of an earlier day, by the contract's calendar."""
    local = now.astimezone(ZoneInfo(settings().contract_timezone)) - timedelta(days=days_ago)
    return local.replace(hour=hour, minute=0, second=0, microsecond=0).astimezone(now.tzinfo)


def _mornings(first: datetime, now: datetime) -> list[datetime]:
    found = [
        _hour(now, days_ago, MORNING_HOUR) for days_ago in range((now - first).days + 1, -1, -1)
    ]
    return [morning for morning in found if first < morning <= now]
