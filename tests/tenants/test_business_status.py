"""Business status: asked of the register beside the road, unknown when it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.messages import Message
from jobs import business_status as step
from tenants import billing_profiles, business_status, signup
from tenants.business_checkers.odcloud import Odcloud
from tenants.business_checkers.port import Business, CheckerUnavailable
from tenants.business_models import BusinessStatus
from tenants.trial_form import TrialForm
from tests.factories import NOW, REGISTRATION_NUMBERS, make_application, make_tenant
from tests.fakes.odcloud.__main__ import SERVICE_KEY
from tests.fakes.odcloud.running import running
from tests.fakes.odcloud.server import Register

ONE, TWO, THREE = REGISTRATION_NUMBERS


@pytest.fixture
def register() -> Iterator[Register]:
    with running(timeout_seconds=0.5) as found:
        yield found


def known(session: Session, number: str = ONE) -> BusinessStatus:
    session.expire_all()
    return session.scalars(
        select(BusinessStatus).where(BusinessStatus.registration_number == number)
    ).one()


def ask(session: Session, *numbers: str, now: Any = NOW) -> list[str]:
    """Asks about numbers as the step does, in the test's own transaction."""
    for number in numbers:
        business_status.ask(control_session=session, number=number, country="KR", now=now)
    rows = session.scalars(select(BusinessStatus.id).where(business_status.due(now))).all()
    question = business_status.question(control_session=session, row_ids=rows)
    answer = business_status.look(question=question)
    return business_status.record(
        control_session=session, question=question, answer=answer, now=now
    )


class TestAnAnswer:
    def test_says_who_is_in_business_and_who_is_not(
        self, control_session: Session, register: Register
    ) -> None:
        register.say(ONE, "01", tax_type_cd="07")
        register.say(TWO, "03", end_dt="20251231")
        assert ask(control_session, ONE, TWO, THREE) == []
        assert (known(control_session).status, known(control_session).tax_kind) == ("active", "07")
        closed = known(control_session, TWO)
        assert (closed.status, closed.ended_on) == ("closed", date(2025, 12, 31))
        assert known(control_session, THREE).status == "unregistered"
        assert closed.ask_at is None

    def test_of_a_closed_business_is_told_to_sales_and_finance_once(
        self, control_session: Session, register: Register
    ) -> None:
        tenant = make_tenant(control_session, billing_profile={"registration_number": ONE})
        register.say(ONE, "03", end_dt="20260301")
        ask(control_session, ONE)
        ask(control_session, ONE, now=NOW + timedelta(days=1))
        mails = control_session.scalars(
            select(Message).where(Message.kind == "business_flagged").order_by(Message.recipient)
        ).all()
        assert len(mails) == 2
        assert {mail.recipient for mail in mails} == {
            "sales@tenantry.example",
            "billing@tenantry.example",
        }
        assert all(tenant.name in mail.text and "폐업" in mail.text for mail in mails)
        changes = control_session.scalar(
            select(func.count()).where(AuditEvent.action == "business.closed")
        )
        assert changes == 1

    def test_holds_a_certificate_against_the_register(
        self, control_session: Session, register: Register
    ) -> None:
        register.say(ONE, "01", start_dt="20200102", p_nm="대표자")
        ask(control_session, ONE)
        for name, genuine in (("대표자", True), ("다른 사람", False)):
            business_status.ask_again(
                control_session=control_session,
                row_id=known(control_session).id,
                opened_on=date(2020, 1, 2),
                representative=name,
                actor=SYSTEM,
                now=NOW,
            )
            ask(control_session)
            assert known(control_session).genuine is genuine

    def test_needs_both_lines_of_a_certificate(
        self, control_session: Session, register: Register
    ) -> None:
        ask(control_session, ONE)
        with pytest.raises(business_status.CertificateIncomplete):
            business_status.ask_again(
                control_session=control_session,
                row_id=known(control_session).id,
                opened_on=date(2020, 1, 2),
                representative=" ",
                actor=SYSTEM,
                now=NOW,
            )


class TestASilence:
    @pytest.mark.parametrize("fault", ["500", "429", "hang", "drop", "garbage", "shape"])
    def test_is_unknown_and_never_closed(
        self, control_session: Session, register: Register, fault: str
    ) -> None:
        register.fault(fault, times=5)
        assert ask(control_session, ONE) == [ONE]
        row = known(control_session)
        assert (row.status, row.checked_at, row.asked_at) == ("unknown", None, NOW)
        assert row.ask_at == NOW + business_status.ASK_AGAIN_AFTER

    def test_leaves_what_was_known_as_it_was(
        self, control_session: Session, register: Register
    ) -> None:
        register.say(ONE)
        ask(control_session, ONE)
        register.fault("500", times=5)
        ask(control_session, ONE, now=NOW + timedelta(days=1))
        assert known(control_session).status == "active"
        assert known(control_session).checked_at == NOW

    def test_of_a_moment_is_asked_through(
        self, control_session: Session, register: Register
    ) -> None:
        register.say(ONE)
        register.fault("500")
        assert ask(control_session, ONE) == []
        assert known(control_session).status == "active"

    def test_about_one_of_many_is_unknown_for_that_one(
        self, control_session: Session, register: Register
    ) -> None:
        register.say(ONE)
        register.say(TWO)
        register.fault("partial")
        silent = ask(control_session, ONE, TWO)
        assert len(silent) == 1
        assert known(control_session, silent[0]).status == "unknown"

    def test_of_a_wrong_key_never_names_the_key(self, register: Register) -> None:
        checker = Odcloud(
            url="http://127.0.0.1:1/api", service_key="very-secret-key", timeout_seconds=0.2
        )
        with pytest.raises(CheckerUnavailable) as refused:
            checker.status(numbers=[ONE])
        assert "very-secret-key" not in str(refused.value)


class TestACall:
    def test_asks_about_a_hundred_at_most(self, register: Register) -> None:
        checker = business_status.registry.checker()
        assert checker is not None
        with pytest.raises(ValueError, match="100"):
            checker.status(numbers=[ONE] * 101)
        with pytest.raises(ValueError, match="100"):
            checker.validate(businesses=[Business(ONE, date(2020, 1, 1), "대표자")] * 101)

    def test_takes_a_key_in_either_spelling(
        self, register: Register, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        register.say(ONE)
        url = settings().business_status_url
        for key in (SERVICE_KEY, quote(SERVICE_KEY, safe="")):
            checker = Odcloud(url=url, service_key=key, timeout_seconds=1)
            assert checker.status(numbers=[ONE])[ONE].status == "active"


class TestSignup:
    def form(self) -> TrialForm:
        return TrialForm(
            company="주식회사 온누리",
            country="KR",
            registration_number=ONE,
            contact_name="담당자",
            email="buyer@onnuri.example",
            phone="02-1234-5678",
            seats_expected="5",
            plan_code="team",
            message="",
            language="ko",
            marketing=False,
        )

    def test_writes_the_number_down_and_asks_nobody(
        self, control_session: Session, register: Register
    ) -> None:
        register.fault("hang", times=3)
        signup.submit(control_session=control_session, form=self.form(), visitor_id=None, now=NOW)
        assert known(control_session).status == "unchecked"
        assert register.asked == []

    def test_works_without_a_key(self, control_session: Session) -> None:
        signup.submit(control_session=control_session, form=self.form(), visitor_id=None, now=NOW)
        assert known(control_session).status == "unchecked"
        assert not step.due(control_session, NOW)


class TestEveryNight:
    def test_all_that_somebody_uses_are_asked_about_and_others_forgotten(
        self, control_session: Session, register: Register
    ) -> None:
        make_tenant(control_session, billing_profile={"registration_number": ONE})
        make_application(control_session, registration_number=TWO)
        make_tenant(control_session, country="US", billing_profile={"registration_number": "X-1"})
        ask(control_session, THREE)
        later = NOW + timedelta(days=1)
        assert business_status.ask_all(control_session=control_session, now=later) == 2
        numbers = control_session.scalars(select(BusinessStatus.registration_number)).all()
        assert set(numbers) == {ONE, TWO}

    def test_a_number_changed_in_the_profile_is_asked_about(self, control_session: Session) -> None:
        tenant = make_tenant(control_session)
        typed = billing_profiles.profile_of(tenant) | {"registration_number": THREE}
        billing_profiles.update(
            control_session=control_session,
            tenant_id=tenant.id,
            typed=typed | {"address": "서울특별시 중구 세종대로 1"},
            actor=SYSTEM,
            now=NOW,
        )
        assert known(control_session, THREE).ask_at == NOW


@pytest.mark.usefixtures("scenario")
class TestTheStep:
    def test_asks_in_one_call_and_is_done(self, register: Register, set_clock: Any) -> None:
        set_clock(NOW)
        register.say(ONE)
        with transaction() as session:
            for number in (ONE, TWO):
                business_status.ask(control_session=session, number=number, country="KR", now=NOW)
        assert step.work() == 2
        assert step.work() == 0
        assert [(path, len(body["b_no"])) for path, body in register.asked] == [("/status", 2)]
        with transaction() as session:
            assert known(session).status == "active"
