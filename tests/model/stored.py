"""The engine on a history, with a database: acts by `invoices.changes`, bills by the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.errors import Conflict, Invalid, NotFound
from invoices import catalogue, changes, invoicing, items, periods
from invoices.models import (
    CouponOffer,
    CouponRedemption,
    CreditGrant,
    Invoice,
    PlanVersion,
    Subscription,
)
from invoices.plan_terms import PlanTerms
from tenants import corrections, events, meter_definitions, meters
from tenants.models import Consent, MeteringDay, Reading, Tenant
from tests.factories import make_tenant
from tests.model.bills import Bill, Line
from tests.model.contract import Contract
from tests.model.engine import Run
from tests.model.histories import EVENTS, Act, History, Sent
from tests.model.translating import charge_of, coupon_of, in_order


def bills(history: History, session: Session) -> list[Bill]:
    """This function will say all bills of a history, in the order in which they are written."""
    stored = Stored(history, session)
    for at, act in history.happenings():
        if act is None:
            stored.visit(at)
        elif act.verb == "start":
            stored.start(act)
        else:
            stored.act(act)
    return list(stored.invoices())


class Stored:
    """One tenant with rows of everything that a history tells, as far as it has come."""

    def __init__(self, history: History, session: Session) -> None:
        self.history, self.session = history, session
        self.read = Run(Contract(history))
        self.known = history.start
        self.read_until = periods.local_day(history.start, history.zone)
        self.tenant: Tenant
        self.subscription: Subscription
        self.versions: dict[str, PlanVersion] = {}

    def start(self, act: Act) -> None:
        """This function will open the account: meters, price lists, a subscription, its items."""
        session, history = self.session, self.history
        self.tenant = make_tenant(
            session,
            state="active",
            currency=history.currency,
            timezone=history.zone,
            converted_at=act.at,
            now=act.at,
        )
        declared = [_meter(kind) for kind in EVENTS]
        meters.declare(control_session=session, definitions=declared, actor=SYSTEM, now=act.at)
        for position, (name, listed) in enumerate(history.plans.items()):
            terms = PlanTerms(
                plan_code=self._code(name),
                position=position,
                currency=history.currency,
                name_ko=name,
                name_en=name,
                seats_max=10**6,
                storage_bytes_max=10**15,
                charges=tuple(charge_of(priced) for priced in listed),
            )
            self.versions[name] = catalogue.publish(
                control_session=session, terms=terms, actor=SYSTEM, now=act.at
            )
        self.subscription = self._subscribe(act)
        self._offer_coupons()

    def _subscribe(self, act: Act) -> Subscription:
        session, history = self.session, self.history
        consent = Consent(
            subject_id=self.tenant.id,
            kind="conversion",
            version="test",
            text_sha256="0" * 64,
            granted=True,
            at=act.at,
            channel="portal",
        )
        session.add(consent)
        session.flush()
        starts_on = periods.local_day(act.at, history.zone)
        subscription = Subscription(
            tenant_id=self.tenant.id,
            plan_version_id=self.versions[act.what].id,
            currency=history.currency,
            timezone=history.zone,
            starts_on=starts_on,
            anchor_on=periods.anchor_for(
                starts_on=starts_on, billing_day=history.billing_day, interval=periods.MONTHLY
            ),
            consent_id=consent.id,
            state="active",
            next_bill_on=starts_on,
            created_at=act.at,
        )
        session.add(subscription)
        session.flush()
        items.begin(
            control_session=session,
            subscription=subscription,
            version=self.versions[act.what],
            starts_at=act.at,
            now=act.at,
        )
        return subscription

    def _code(self, plan: str) -> str:
        return f"model-{self.history.seed}-{plan}"

    def _offer_coupons(self) -> None:
        for coupon in self.history.coupons:
            terms = coupon_of(coupon, self.history.currency)
            code = f"MODEL{self.history.seed}{coupon.code.upper()}"
            fields = {name: getattr(terms, name) for name in ("kind", "percent", "amount_minor")}
            fields |= {name: getattr(terms, name) for name in ("currency", "units", "duration")}
            offer = CouponOffer(
                code=code,
                name_ko=code,
                name_en=code,
                plans=[self._code(plan) for plan in coupon.plans],
                charges=list(coupon.charges),
                months=coupon.months,
                priority=coupon.priority,
                per_customer_max=1,
                first_time_only=False,
                redeemed=1,
                created_by="system",
                created_at=coupon.at,
                **fields,
            )
            self.session.add(offer)
        self.session.flush()

    def act(self, act: Act) -> None:
        """This function will do what the customer does; what is refused changes nothing."""
        kept = self.session.begin_nested()
        try:
            self._done(act)
        except (Conflict, Invalid, NotFound):
            kept.rollback()
        else:
            kept.commit()
        self.session.flush()

    def _done(self, act: Act) -> None:
        who: dict[str, Any] = {"control_session": self.session, "tenant_id": self.tenant.id}
        who |= {"actor": SYSTEM, "now": act.at, "why": "a test"}
        charge = {"charge": act.what, "quantity": act.quantity}
        doing: dict[str, tuple[Any, dict[str, Any]]] = {
            "quantity": (changes.change_quantity, charge | {"when": act.when}),
            "add": (changes.add_charge, charge),
            "remove": (changes.remove_charge, {"charge": act.what, "when": act.when}),
            "pause": (changes.pause, {}),
            "resume": (changes.resume, {}),
            "cancel": (changes.cancel, {"when": act.when, "credit": act.credit}),
            "take_back": (changes.take_back, {}),
        }
        if act.verb == "plan":
            changes.change_plan(
                **who,
                plan_code=self._code(act.what),
                version=self.versions[act.what],
                when=act.when,
            )
        elif act.verb == "billing_day":
            changes.change_billing_day(**who, billing_day=int(act.what))
        else:
            verb, terms = doing[act.verb]
            verb(**who, **terms)

    def visit(self, now: datetime) -> None:
        """This function will have the run come by until it finds nothing to issue."""
        self._learn(now)
        while invoicing.bill(
            control_session=self.session,
            usage_session=self.session,
            subscription_ids=[self.subscription.id],
            now=now,
        ).issued:
            self.session.expire_all()

    def _learn(self, now: datetime) -> None:
        """This function will write down what came to be known since the last visit."""
        since, self.known = self.known, now
        first = since == self.history.start

        def new(at: datetime) -> bool:
            return at <= now and (at > since or first)

        self._learn_readings(now)
        self._learn_events(datetime.min.replace(tzinfo=UTC) if first else since, now)
        for gift in self.history.gifts:
            if new(gift.at):
                self.session.add(
                    CreditGrant(
                        tenant_id=self.tenant.id,
                        currency=self.history.currency,
                        amount_minor=gift.amount,
                        source="purchase",
                        priority=gift.priority,
                        granted_at=gift.at,
                        granted_by="system",
                        expires_on=gift.expires_on,
                        note="A test.",
                    )
                )
        for coupon in self.history.coupons:
            if new(coupon.at):
                code = f"MODEL{self.history.seed}{coupon.code.upper()}"
                offer = self.session.scalars(
                    select(CouponOffer).where(CouponOffer.code == code)
                ).one()
                self.session.add(
                    CouponRedemption(
                        tenant_id=self.tenant.id,
                        coupon=offer,
                        subscription_id=self.subscription.id,
                        starts_on=coupon.starts_on,
                        ends_on=coupon.ends_on,
                        redeemed_by="system",
                        redeemed_at=coupon.at,
                    )
                )
        self.session.flush()

    def _learn_readings(self, now: datetime) -> None:
        rows = [row for kind in ("seats", "storage_gb_days", "files_added")
                for row in self.read.read(kind, now)]  # fmt: skip
        there = {
            (row.meter, row.day)
            for row in self.session.execute(
                select(Reading.meter, Reading.day).where(Reading.tenant_id == self.tenant.id)
            )
        }
        new = [row for row in rows if (row.meter, row.day) not in there]
        days: set[date] = {row.day for row in new} - {day for _, day in there}
        tenant_id = self.tenant.id
        if days:
            marks = [{"tenant_id": tenant_id, "day": day, "done_at": now} for day in days]
            self.session.execute(insert(MeteringDay), marks)
        if new:
            self.session.execute(
                insert(Reading),
                [
                    {
                        "tenant_id": tenant_id,
                        "meter": row.meter,
                        "day": row.day,
                        "quantity": row.quantity,
                        "evidence_sha256": row.evidence_sha256,
                        "taken_at": now,
                    }
                    for row in new
                ],
            )

    def _learn_events(self, since: datetime, now: datetime) -> None:
        """This function will push events and corrections in the order in which they came."""
        said: list[tuple[datetime, str, Sent, Sent | None]] = []
        for number, sent in enumerate(self.history.events):
            before, name = sent, f"event-{number:06d}"
            said.append((sent.received_at, name, sent, sent))
            for at, after in sent.fixes:
                said.append((at, name, before, after))
                before = after or before
        for at, name, before, after in sorted(said, key=lambda each: each[0]):
            if since < at <= now:
                self._push(at, name, before, after)

    def _push(self, at: datetime, name: str, before: Sent, after: Sent | None) -> None:
        who: dict[str, Any] = {"usage_session": self.session, "control_session": self.session}
        if before is after:
            told = {"id": name, "tenant": str(self.tenant.id), "type": "api.call", **_told(before)}
            (outcome,) = events.accept(**who, events=[told], now=at)
            assert outcome.outcome == "accepted", outcome
            return
        who |= {"tenant_id": self.tenant.id, "event_id": name, "at": before.at.isoformat()}
        who |= {"reason": "A test.", "actor": SYSTEM, "now": at}
        if after is None:
            corrections.void(**who)
        else:
            new, old = _told(after), _told(before)
            changed = {name: said for name, said in new.items() if said != old[name]}
            corrections.amend(**who, changes=changed)

    def invoices(self) -> Iterator[Bill]:
        """This function will read the invoices as they were written."""
        self.session.expire_all()
        found = self.session.scalars(
            select(Invoice)
            .where(Invoice.tenant_id == self.tenant.id)
            .order_by(Invoice.created_at, Invoice.supplied_on)
        )
        for invoice in found:
            lines = [
                Line(
                    line.kind,
                    line.charge,
                    line.amount_minor,
                    (line.period.lower, line.period.upper),
                )
                for line in sorted(invoice.lines, key=lambda line: line.position)
            ]
            yield Bill(
                invoice.supplied_on,
                in_order(lines),
                invoice.tax_minor,
                invoice.total_minor,
                sum(line.amount for line in lines if line.kind == "carried"),
            )


def _told(sent: Sent) -> dict[str, Any]:
    return {
        "time": sent.at.isoformat(),
        "quantity": sent.value,
        "properties": {"customer": sent.customer},
    }


def _meter(kind: str) -> meter_definitions.MeterDefinition:
    declared: dict[str, Any] = {
        "code": kind,
        "unit": "calls",
        "names": {"ko": kind, "en": kind},
        "event_type": "api.call",
        "aggregation": kind,
        "group_by": ["customer"],
    }
    if kind == "unique":
        declared["value"] = "customer"
    return meter_definitions.read(declared, version=1)
