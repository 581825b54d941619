import re
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import messages, secrets
from app.base.accounts import LinkExpired, LinkUsed, OneTimeToken
from app.base.audit import VISITOR, AuditEvent
from app.base.config import settings
from app.base.errors import Invalid
from app.base.messages import Message
from tenants import consents, signup, visits
from tenants.models import Application, Consent, Erasure
from tenants.trial_form import FormInvalid, TrialForm, check
from tenants.visits import VisitRecord
from tests.factories import make_application
from tests.naughty import NAUGHTY

FORM = TrialForm(
    company="주식회사 한빛정밀",
    country="KR",
    registration_number="124-81-00998",
    contact_name="담당자",
    email="contact@hanbit.example",
    phone="02-1234-5678",
    seats_expected="12",
    plan_code="team",
    message="도면이 많아요.\n\n언제부터 쓸 수 있나요?",
    language="ko",
)
TEXT_FIELDS = (
    "company",
    "country",
    "registration_number",
    "contact_name",
    "email",
    "phone",
    "seats_expected",
    "plan_code",
    "message",
    "language",
)


def submit(control_session: Session, now: datetime, form: TrialForm = FORM) -> signup.Submission:
    return signup.submit(control_session=control_session, form=form, visitor_id=None, now=now)


def faults(form: TrialForm) -> dict[str, str]:
    try:
        check(form)
    except FormInvalid as error:
        return error.errors
    return {}


def mails(control_session: Session, kind: str) -> list[Message]:
    return list(
        control_session.scalars(select(Message).where(Message.kind == kind).order_by(Message.id))
    )


def token_in(message: Message) -> str:
    found = re.search(r"/trial/confirm/([\w-]+)", message.text)
    assert found
    return found.group(1)


class TestForm:
    def test_tells_every_fault_at_once_in_the_order_of_the_form(self) -> None:
        with pytest.raises(FormInvalid) as caught:
            check(TrialForm(message="x" * 2_001))
        assert list(caught.value.errors) == [
            "company",
            "country",
            "contact_name",
            "email",
            "phone",
            "seats_expected",
            "plan_code",
            "message",
        ]

    def test_stores_one_spelling(self) -> None:
        checked = check(
            replace(FORM, company="  주식회사\u00a0 한빛정밀 ", email="Contact@HANBIT.example")
        )
        assert checked.company == "주식회사 한빛정밀"
        assert checked.registration_number == "1248100998"
        assert checked.phone == "+82212345678"
        assert checked.email == "Contact@hanbit.example"
        assert checked.dedupe_hash == check(replace(FORM, language="en")).dedupe_hash

    def test_needs_no_number_from_a_company_abroad(self) -> None:
        abroad = replace(FORM, country="DE", registration_number="", phone="+49 30 901820")
        assert check(abroad).registration_number is None

    @pytest.mark.parametrize("seats", ["0", "-3", "1.5", "10001", "many", "٣", "1e3"])
    def test_counts_people_in_whole_numbers(self, seats: str) -> None:
        with pytest.raises(FormInvalid) as caught:
            check(replace(FORM, seats_expected=seats))
        assert list(caught.value.errors) == ["seats_expected"]

    def test_takes_only_plans_on_offer(self) -> None:
        with pytest.raises(FormInvalid) as caught:
            check(replace(FORM, plan_code="free"), plans=["team"])
        assert list(caught.value.errors) == ["plan_code"]

    @pytest.mark.parametrize("field", TEXT_FIELDS)
    def test_takes_naughty_strings_or_names_the_field(self, field: str) -> None:
        for text in NAUGHTY:
            form = replace(FORM, **{field: text})  # type: ignore[arg-type]
            blamed = faults(form)
            assert set(blamed) <= {field, "registration_number", "phone"}, text
            if blamed:
                continue
            checked = check(form)
            for value in (checked.company, checked.contact_name, checked.message or ""):
                assert "\x00" not in value
                assert "\u202e" not in value
            assert "\n" not in checked.company + checked.contact_name


class TestSubmit:
    def test_leaves_an_application_its_consents_and_one_mail(
        self, control_session: Session, now: datetime
    ) -> None:
        visitor = uuid4()
        found = signup.submit(
            control_session=control_session,
            form=replace(FORM, marketing=True),
            visitor_id=visitor,
            now=now,
        )
        application = found.application
        assert found.is_new
        assert (application.state, application.visitor_id) == ("submitted", visitor)
        given = control_session.scalars(
            select(Consent).where(Consent.subject_id == application.id)
        ).all()
        assert {(c.kind, c.granted) for c in given} == {
            ("privacy_notice", True),
            ("terms", True),
            ("marketing", True),
        }
        shown = consents.notice("privacy_notice", "ko")
        assert shown.sha256 in {c.text_sha256 for c in given}
        (mail,) = mails(control_session, "application_confirm")
        assert mail.recipient == application.email
        assert application.reference in mail.subject

    def test_writes_what_each_consent_was_given_to_and_when_and_where(
        self, control_session: Session, now: datetime
    ) -> None:
        application = submit(control_session, now).application
        given = control_session.scalars(
            select(Consent).where(Consent.subject_id == application.id)
        ).all()
        assert {(c.kind, c.granted) for c in given} >= {("privacy_notice", True), ("terms", True)}
        assert "marketing" not in {c.kind for c in given if c.granted}
        for consent in given:
            shown = consents.notice(consent.kind, "ko")
            assert (consent.version, consent.text_sha256) == (shown.version, shown.sha256)
            assert (consent.at, consent.channel) == (now, "web")

    def test_takes_the_same_form_twice_as_one_application(
        self, control_session: Session, now: datetime
    ) -> None:
        first = submit(control_session, now)
        again = submit(control_session, now + timedelta(seconds=1), replace(FORM, language="en"))
        assert (again.is_new, again.application.id) == (False, first.application.id)
        assert len(mails(control_session, "application_confirm")) == 1
        assert mails(control_session, "application_again") == []

    def test_tells_the_owner_of_an_address_and_nobody_else_of_an_open_application(
        self, control_session: Session, now: datetime
    ) -> None:
        first = submit(control_session, now)
        other = replace(FORM, company="다른 회사", email=FORM.email.upper())
        for minutes in (20, 25):
            again = submit(control_session, now + timedelta(minutes=minutes), other)
            assert (again.is_new, again.application.id) == (False, first.application.id)
        (mail,) = mails(control_session, "application_again")
        assert mail.recipient == first.application.email
        # The newest link works; the one before it is void.
        signup.confirm(control_session=control_session, token=token_in(mail), now=now)
        old = token_in(mails(control_session, "application_confirm")[0])
        with pytest.raises(LinkExpired):
            signup.confirm(control_session=control_session, token=old, now=now)

    def test_takes_a_company_again_after_a_refusal(
        self, control_session: Session, now: datetime
    ) -> None:
        first = submit(control_session, now).application
        signup.erase(
            control_session=control_session,
            application_ids=[first.id],
            actor=VISITOR,
            now=now,
        )
        assert submit(control_session, now).is_new

    @pytest.mark.parametrize(
        "company",
        [
            "한빛'); DROP TABLE application; --",
            "<script>alert(1)</script> Co.",
            "{{ 7*7 }} {% x %}",
        ],
    )
    def test_keeps_sql_html_and_templates_as_the_text_they_are(
        self, control_session: Session, now: datetime, company: str
    ) -> None:
        application = submit(control_session, now, replace(FORM, company=company)).application
        control_session.refresh(application)
        assert application.company == company
        (mail,) = mails(control_session, "application_confirm")
        assert company in mail.text
        assert "<script>" not in mail.html

    def test_lets_no_name_put_a_link_or_a_header_into_our_mail(
        self, control_session: Session, now: datetime
    ) -> None:
        for name in ("http://evil.example", "see www.evil.example"):
            with pytest.raises(FormInvalid):
                submit(control_session, now, replace(FORM, contact_name=name))
        submit(
            control_session,
            now,
            replace(FORM, contact_name="-> Verify | evil.example", company="A\r\nBcc: b@c.example"),
        )
        (mail,) = mails(control_session, "application_confirm")
        assert mail.html.count("<a href") == 1
        assert "\n" not in mail.subject


class TestConfirm:
    def test_shows_first_and_consumes_after(self, control_session: Session, now: datetime) -> None:
        application = submit(control_session, now).application
        token = token_in(mails(control_session, "application_confirm")[0])
        for _ in range(3):  # a scanner of mail, twice, and the person
            shown = signup.show_confirmation(control_session=control_session, token=token, now=now)
            assert (shown.id, shown.state) == (application.id, "submitted")
        signup.confirm(control_session=control_session, token=token, now=now)
        assert application.state == "confirmed"
        assert application.sla_due_at == now + timedelta(hours=24)
        (to_sales,) = mails(control_session, "application_for_review")
        assert (to_sales.recipient, str(application.id) in to_sales.text) == (
            "sales@tenantry.example",
            True,
        )
        (received,) = mails(control_session, "application_received")
        assert "/status/" in received.text

    @pytest.mark.parametrize("hook", ["", "https://chat.example/hook"])
    def test_tells_the_chat_of_sales_where_one_is_configured_and_names_nobody(
        self, control_session: Session, now: datetime, monkeypatch: pytest.MonkeyPatch, hook: str
    ) -> None:
        there = settings().model_copy(update={"slack_webhook_url": SecretStr(hook)})
        monkeypatch.setattr(messages, "settings", lambda: there)
        application = submit(control_session, now).application
        token = token_in(mails(control_session, "application_confirm")[0])
        signup.confirm(control_session=control_session, token=token, now=now)
        said = control_session.scalars(select(Message.text).where(Message.channel == "slack")).all()
        assert len(said) == bool(hook)
        for text in said:
            assert application.reference in text
            assert f"/console/review/{application.id}" in text
            for personal in (FORM.contact_name, FORM.email, FORM.phone, application.phone or ""):
                assert personal not in text

    def test_refuses_a_replayed_link(self, control_session: Session, now: datetime) -> None:
        submit(control_session, now)
        token = token_in(mails(control_session, "application_confirm")[0])
        signup.confirm(control_session=control_session, token=token, now=now)
        with pytest.raises(LinkUsed):
            signup.confirm(control_session=control_session, token=token, now=now)
        assert len(mails(control_session, "application_received")) == 1

    def test_refuses_an_expired_link_and_mails_a_fresh_one_on_demand(
        self, control_session: Session, now: datetime
    ) -> None:
        submit(control_session, now)
        late = now + timedelta(hours=48)
        token = token_in(mails(control_session, "application_confirm")[0])
        with pytest.raises(LinkExpired):
            signup.confirm(control_session=control_session, token=token, now=late)
        signup.renew(control_session=control_session, token=token, now=late)
        (again,) = mails(control_session, "application_again")
        confirmed = signup.confirm(control_session=control_session, token=token_in(again), now=late)
        assert confirmed.state == "confirmed"

    def test_knows_no_link_that_we_did_not_make(
        self, control_session: Session, now: datetime
    ) -> None:
        for act in (signup.show_confirmation, signup.confirm, signup.renew):
            with pytest.raises(LinkExpired):
                act(control_session=control_session, token="forged", now=now)


class TestStatus:
    def test_lives_as_long_as_the_application(
        self, control_session: Session, now: datetime
    ) -> None:
        application = submit(control_session, now).application
        signed = signup.status_link(application).rpartition("/")[2]
        found = signup.status(control_session=control_session, signed=signed)
        assert (found.application.id, found.tenant) == (application.id, None)
        signup.erase_overdue(control_session=control_session, now=now + timedelta(days=8))
        with pytest.raises(signup.ApplicationGone):
            signup.status(control_session=control_session, signed=signed)

    def test_opens_only_by_a_link_that_we_signed(
        self, control_session: Session, now: datetime
    ) -> None:
        application = submit(control_session, now).application
        forged = (
            str(application.id),
            f"{application.id}.xxxx",
            secrets.sign("other", str(application.id)),
        )
        for signed in forged:
            with pytest.raises(Invalid):
                signup.status(control_session=control_session, signed=signed)


class TestErasure:
    def test_leaves_nothing_personal_of_an_unconfirmed_application(
        self, control_session: Session, now: datetime
    ) -> None:
        visitor = uuid4()
        visits.store(
            control_session=control_session,
            records=[VisitRecord(uuid4(), now, visitor, "page", "/trial")],
        )
        application = signup.submit(
            control_session=control_session, form=FORM, visitor_id=visitor, now=now
        ).application
        reference = application.reference
        early = now + timedelta(days=7) - timedelta(seconds=1)
        assert signup.erase_overdue(control_session=control_session, now=early) == 0
        late = now + timedelta(days=7)
        assert signup.erase_overdue(control_session=control_session, now=late) == 1
        assert signup.erase_overdue(control_session=control_session, now=late) == 0
        control_session.refresh(application)
        assert (application.state, application.reference) == ("erased", reference)
        kept = [
            application.company,
            application.contact_name,
            application.email,
            application.phone,
            application.registration_number,
            application.message,
            application.visitor_id,
            application.dedupe_hash,
        ]
        assert not any(kept)
        for model in (Message, Consent, OneTimeToken):
            assert control_session.scalar(select(func.count()).select_from(model)) == 0
        assert visits.trail(control_session=control_session, visitor_id=visitor) == []
        line = control_session.scalars(select(Erasure)).one()
        assert (line.subject_id, line.reason) == (application.id, "never confirmed")
        assert set(line.verified.values()) == {0}
        last = control_session.scalars(
            select(AuditEvent.to_state)
            .where(AuditEvent.subject_id == str(application.id))
            .order_by(AuditEvent.at.desc())
        ).first()
        assert last == "erased"

    def test_counts_a_refusal_from_its_own_day_and_spares_the_rest(
        self, control_session: Session, now: datetime
    ) -> None:
        rejected = make_application(control_session, state="rejected", decided_at=now)
        others = [make_application(control_session, state=s) for s in ("confirmed", "approved")]
        late = now + timedelta(days=30)
        assert signup.erase_overdue(control_session=control_session, now=late) == 1
        control_session.refresh(rejected)
        assert rejected.state == "erased"
        for other in others:
            control_session.refresh(other)
            assert other.company

    def test_keeps_the_trail_that_another_application_shares(
        self, control_session: Session, now: datetime
    ) -> None:
        visitor = uuid4()
        visits.store(
            control_session=control_session,
            records=[VisitRecord(uuid4(), now, visitor, "page", "/trial")],
        )
        make_application(control_session, visitor_id=visitor, submitted_at=now)
        make_application(control_session, state="approved", visitor_id=visitor)
        late = now + timedelta(days=7)
        assert signup.erase_overdue(control_session=control_session, now=late) == 1
        assert len(visits.trail(control_session=control_session, visitor_id=visitor)) == 1
        assert control_session.scalar(
            select(func.count()).select_from(Application).where(Application.state == "erased")
        )
