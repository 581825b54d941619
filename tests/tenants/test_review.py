import threading
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.accounts import Staff
from app.base.audit import Actor, AuditEvent
from app.base.db import control_session as transaction
from app.base.errors import Conflict, Invalid
from app.base.messages import Message
from tenants import review, visits
from tenants.models import Application, ProvisioningRun, Tenant, TenantAdmin
from tenants.review import Claimed, Decided
from tenants.visits import VisitRecord
from tests.conftest import Scenario
from tests.factories import NOW, make_application, make_staff, make_tenant

LIMITS = {"seats": 50, "storage_bytes": 500_000_000_000}


def reviewer(control_session: Session) -> tuple[Staff, Actor]:
    staff = make_staff(control_session)
    return staff, Actor.staff(staff.id)


def approve(
    control_session: Session, application_id: UUID, actor: Actor, now: datetime, days: int = 14
) -> Tenant:
    return review.approve(
        control_session=control_session,
        application_id=application_id,
        trial_days=days,
        plan_code="team",
        limits=LIMITS,
        currency="KRW",
        actor=actor,
        now=now,
    )


class TestQueue:
    def test_puts_what_breaches_first_and_counts_each_tab(self, control_session: Session) -> None:
        late = make_application(control_session, state="confirmed", sla_due_at=NOW)
        later = make_application(
            control_session, state="confirmed", sla_due_at=NOW + timedelta(hours=9)
        )
        soon = make_application(
            control_session, state="confirmed", sla_due_at=NOW + timedelta(hours=1)
        )
        make_application(control_session)
        page = review.queue(control_session=control_session)
        assert [row.id for row in page.rows] == [late.id, soon.id, later.id]
        assert review.counts(control_session=control_session) == {
            "confirmed": 3,
            "submitted": 1,
            "approved": 0,
            "rejected": 0,
        }

    @pytest.mark.parametrize(
        "search", ["한빛100%", "NEEDLE@", "A-NEED", "124-81-00998", "010-9999"]
    )
    def test_is_searched_by_what_people_read_out(
        self, control_session: Session, search: str
    ) -> None:
        wanted = make_application(
            control_session,
            state="confirmed",
            company="한빛100% 정밀",
            email="needle@hay.example",
            reference="A-NEED-LE00",
            registration_number="1248100998",
            phone="+821099990000",
        )
        make_application(control_session, state="confirmed", registration_number="2048631263")
        found = review.queue(control_session=control_session, search=search)
        assert [row.id for row in found.rows] == [wanted.id]

    def test_offers_next_what_nobody_else_holds(
        self, control_session: Session, now: datetime
    ) -> None:
        mine, other = reviewer(control_session), reviewer(control_session)
        held = make_application(control_session, state="confirmed", sla_due_at=NOW)
        free = make_application(
            control_session, state="confirmed", sla_due_at=NOW + timedelta(hours=1)
        )
        review.claim(
            control_session=control_session, application_id=held.id, actor=other[1], now=now
        )
        found = review.next_waiting(control_session=control_session, staff_id=mine[0].id, now=now)
        assert found == free.id
        later = now + timedelta(minutes=31)
        found = review.next_waiting(control_session=control_session, staff_id=mine[0].id, now=later)
        assert found == held.id


class TestDetails:
    def test_show_the_trail_and_who_may_be_the_same_company(self, control_session: Session) -> None:
        visitor = uuid4()
        visits.store(
            control_session=control_session,
            records=[VisitRecord(uuid4(), NOW, visitor, "page", "/pricing")],
        )
        this = make_application(
            control_session,
            state="confirmed",
            visitor_id=visitor,
            registration_number="1248100998",
            email="a@twin.example",
            email_domain="twin.example",
            phone="+821011112222",
        )
        unlike = {"registration_number": "2048631263", "phone": "+82311110000"}
        number = make_application(
            control_session,
            state="approved",
            registration_number="1248100998",
            phone="+82311110000",
        )
        domain = make_application(
            control_session, email="b@twin.example", email_domain="twin.example", **unlike
        )
        make_application(control_session, **unlike)
        found = review.details(control_session=control_session, application_id=this.id)
        assert [event.page for event in found.trail] == ["/pricing"]
        assert {d.application.id: d.shared for d in found.duplicates} == {
            number.id: ("registration_number",),
            domain.id: ("email_domain",),
        }

    def test_hint_at_whoever_gave_the_same_phone(self, control_session: Session) -> None:
        this, twin = (
            make_application(control_session, registration_number=number, phone="+821012340000")
            for number in ("1248100998", "2048631263")
        )
        found = review.details(control_session=control_session, application_id=this.id)
        assert [(d.application.id, d.shared) for d in found.duplicates] == [(twin.id, ("phone",))]

    def test_take_a_free_mailbox_for_no_company(self, control_session: Session) -> None:
        shared = {"email_domain": "gmail.com"}
        this = make_application(
            control_session, registration_number=None, phone=None, email="a@gmail.com", **shared
        )
        make_application(
            control_session, registration_number=None, phone=None, email="b@gmail.com", **shared
        )
        found = review.details(control_session=control_session, application_id=this.id)
        assert (found.free_mail, found.duplicates) == (True, [])


class TestClaim:
    def test_keeps_a_second_reviewer_off_and_says_who_and_when(
        self, control_session: Session, now: datetime
    ) -> None:
        (first, actor), (_, other) = reviewer(control_session), reviewer(control_session)
        row = make_application(control_session, state="confirmed")
        review.claim(control_session=control_session, application_id=row.id, actor=actor, now=now)
        with pytest.raises(Claimed) as caught:
            review.claim(
                control_session=control_session, application_id=row.id, actor=other, now=now
            )
        assert (caught.value.by, caught.value.at) == (first.name, now)
        with pytest.raises(Claimed):
            approve(control_session, row.id, other, now)

    def test_that_went_stale_is_taken_over(self, control_session: Session, now: datetime) -> None:
        (_, actor), (second, other) = reviewer(control_session), reviewer(control_session)
        row = make_application(control_session, state="confirmed")
        review.claim(control_session=control_session, application_id=row.id, actor=actor, now=now)
        later = now + timedelta(minutes=31)
        review.claim(control_session=control_session, application_id=row.id, actor=other, now=later)
        assert row.claimed_by == second.id
        acts = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject_id == str(row.id))
        ).all()
        assert acts == ["application.claimed", "application.claimed"]

    def test_can_be_given_back(self, control_session: Session, now: datetime) -> None:
        (_, actor), (_, other) = reviewer(control_session), reviewer(control_session)
        row = make_application(control_session, state="confirmed")
        review.claim(control_session=control_session, application_id=row.id, actor=actor, now=now)
        review.release(control_session=control_session, application_id=row.id, actor=actor, now=now)
        review.claim(control_session=control_session, application_id=row.id, actor=other, now=now)
        assert row.claimed_at == now


class TestApprove:
    def test_makes_a_tenant_its_admin_and_a_run(
        self, control_session: Session, now: datetime
    ) -> None:
        staff, actor = reviewer(control_session)
        row = make_application(control_session, state="confirmed", company="Hanbit Precision Ltd.")
        tenant = approve(control_session, row.id, actor, now, days=30)
        assert (row.state, row.decided_by, row.decided_at) == ("approved", staff.id, now)
        assert (tenant.state, tenant.slug, tenant.trial_days) == (
            "approved",
            "hanbit-precision-ltd",
            30,
        )
        assert tenant.billing_profile["registration_number"] == row.registration_number
        admin = control_session.scalars(
            select(TenantAdmin).where(TenantAdmin.tenant_id == tenant.id)
        ).one()
        assert (admin.email, admin.name) == (row.email, row.contact_name)
        assert control_session.get(ProvisioningRun, tenant.id) is not None
        acts = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.actor_id == str(staff.id))
        ).all()
        assert sorted(acts) == ["application.approved", "tenant.approved"]

    def test_gives_companies_of_one_name_different_slugs(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        slugs = set()
        for company in ("Hanbit", "HANBIT!", "한빛", "Console"):
            row = make_application(control_session, state="confirmed", company=company)
            slugs.add(approve(control_session, row.id, actor, now).slug)
        assert len(slugs) == 4
        assert "console" not in slugs

    @pytest.mark.parametrize("days", [0, -1, 91])
    def test_refuses_a_trial_beyond_its_bounds(
        self, control_session: Session, now: datetime, days: int
    ) -> None:
        _, actor = reviewer(control_session)
        row = make_application(control_session, state="confirmed")
        with pytest.raises(Invalid):
            approve(control_session, row.id, actor, now, days=days)
        assert row.state == "confirmed"

    def test_waits_for_the_mail_to_be_confirmed(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        row = make_application(control_session)
        with pytest.raises(Conflict, match="not confirmed"):
            approve(control_session, row.id, actor, now)

    def test_of_two_at_once_lets_one_win_and_tells_the_other(
        self, scenario: Scenario, now: datetime
    ) -> None:
        with transaction() as session:
            row = make_application(session, state="confirmed").id
            staff = [make_staff(session).id for _ in range(2)]
        start = threading.Barrier(2)
        won: list[UUID] = []
        lost: list[Exception] = []

        def decide(staff_id: UUID) -> None:
            start.wait(10)
            try:
                with transaction() as session:
                    won.append(approve(session, row, Actor.staff(staff_id), now).id)
            except Conflict as error:
                lost.append(error)

        threads = [threading.Thread(target=decide, args=(staff_id,)) for staff_id in staff]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) == 1
        (error,) = lost
        assert isinstance(error, Decided)
        assert (error.state, error.by, error.at) == ("approved", "Staff sales", now)
        with transaction() as session:
            assert session.scalar(select(func.count()).select_from(Tenant)) == 1


class TestReject:
    def test_mails_the_reason_that_was_previewed(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        row = make_application(control_session, state="confirmed", dedupe_hash="x")
        reason = "등록번호의 회사 이름이 달라요.\n다시 확인해 주세요."
        preview = review.reject_preview(
            control_session=control_session, application_id=row.id, reason=reason
        )
        review.reject(
            control_session=control_session,
            application_id=row.id,
            reason=reason,
            ground="not_verified",
            actor=actor,
            now=now,
        )
        mail = control_session.scalars(select(Message)).one()
        assert (mail.subject, mail.text, mail.html) == preview
        assert "다시 확인해 주세요." in mail.text
        assert (row.state, row.dedupe_hash) == ("rejected", None)
        # What the applicant reads may name people: the audit trail keeps the ground alone.
        why = control_session.scalars(
            select(AuditEvent.why).where(AuditEvent.subject_id == str(row.id))
        ).all()
        assert why == ["not_verified"]

    @pytest.mark.parametrize(
        ("reason", "ground"),
        [("", "other"), (" \n ", "other"), ("x" * 1001, "other"), ("No.....", "?")],
    )
    def test_needs_a_reason(
        self, control_session: Session, now: datetime, reason: str, ground: str
    ) -> None:
        _, actor = reviewer(control_session)
        row = make_application(control_session, state="confirmed")
        with pytest.raises(Invalid):
            review.reject(
                control_session=control_session,
                application_id=row.id,
                reason=reason,
                ground=ground,
                actor=actor,
                now=now,
            )
        assert control_session.get(Application, row.id).state == "confirmed"  # type: ignore[union-attr]


class TestExtendTrial:
    def test_moves_the_end_of_a_running_trial(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        tenant = make_tenant(control_session, now=now)
        review.extend_trial(
            control_session=control_session, tenant_id=tenant.id, days=7, actor=actor, now=now
        )
        assert tenant.trial_ends_at == now + timedelta(days=21)
        mail = control_session.scalars(select(Message)).one()
        assert "2026-03-31 12:00" in mail.text

    def test_opens_an_ended_one_again_from_today(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        tenant = make_tenant(
            control_session, state="suspended", now=now, destroy_after=now + timedelta(days=90)
        )
        later = now + timedelta(days=40)
        review.extend_trial(
            control_session=control_session, tenant_id=tenant.id, days=7, actor=actor, now=later
        )
        assert (tenant.state, tenant.suspended_at, tenant.destroy_after) == ("trialing", None, None)
        assert tenant.trial_ends_at == later + timedelta(days=7)

    def test_has_a_bound_and_is_for_trials_only(
        self, control_session: Session, now: datetime
    ) -> None:
        _, actor = reviewer(control_session)
        tenant = make_tenant(control_session, now=now)
        with pytest.raises(Invalid):
            review.extend_trial(
                control_session=control_session, tenant_id=tenant.id, days=77, actor=actor, now=now
            )
        paying = make_tenant(control_session, state="active", now=now)
        with pytest.raises(Conflict):
            review.extend_trial(
                control_session=control_session, tenant_id=paying.id, days=7, actor=actor, now=now
            )
