from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import accounts
from app.base.audit import SYSTEM, AuditEvent
from app.base.messages import Message
from tenants import admins, billing_profiles
from tenants.billing_profiles import ProfileInvalid
from tenants.models import Tenant, TenantAdmin
from tests.factories import PASSWORD, make_admin, make_tenant

NEW = "another fine password 2"
KOREAN = {
    "name": "주식회사 한빛",
    "registration_number": "124-81-00998",
    "representative": "대표자",
    "address": "서울특별시 중구 세종대로 110",
    "business_type": "제조업",
    "business_item": "금형",
    "email": "tax@hanbit.example",
    "phone": "02-1234-5678",
}


def first_admin(session: Session, tenant: Tenant) -> TenantAdmin:
    return session.scalars(select(TenantAdmin).where(TenantAdmin.tenant_id == tenant.id)).one()


def invited(session: Session, tenant: Tenant, now: datetime) -> tuple[TenantAdmin, str]:
    admin = first_admin(session, tenant)
    token = accounts.issue_token(
        control_session=session,
        purpose=admins.INVITATION,
        subject_id=admin.id,
        valid_for=timedelta(days=7),
        now=now,
    )
    return admin, token


class TestSignIn:
    def test_opens_every_account_with_that_password_newest_first(
        self, control_session: Session, now: datetime
    ) -> None:
        old = make_tenant(control_session, now=now - timedelta(days=9))
        new = make_tenant(control_session, now=now)
        for tenant in (old, new):
            make_admin(control_session, tenant=tenant, email="Both@customer.example")
        found = admins.authenticate(
            control_session=control_session, email=" both@CUSTOMER.example ", password=PASSWORD
        )
        assert [tenant.id for _, tenant in found] == [new.id, old.id]

    @pytest.mark.parametrize("state", ["destroying", "destroyed"])
    def test_opens_nothing_of_a_tenant_that_is_gone(
        self, control_session: Session, state: str
    ) -> None:
        tenant = make_tenant(control_session, state=state)
        with pytest.raises(accounts.WrongCredentials):
            admins.authenticate(
                control_session=control_session,
                email=first_admin(control_session, tenant).email,
                password=PASSWORD,
            )

    def test_opens_a_suspended_tenant(self, control_session: Session) -> None:
        tenant = make_tenant(control_session, state="suspended")
        email = first_admin(control_session, tenant).email
        assert admins.authenticate(control_session=control_session, email=email, password=PASSWORD)

    def test_says_the_same_of_unknown_disabled_invited_and_mistyped(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session)
        disabled = make_admin(control_session, tenant=tenant)
        disabled.disabled_at = now
        fresh = make_admin(control_session, tenant=tenant)
        fresh.password_hash = None
        control_session.flush()
        told = set()
        for email, password in (
            ("nobody@customer.example", PASSWORD),
            (disabled.email, PASSWORD),
            (fresh.email, ""),
            (first_admin_email(control_session, tenant), "not this one"),
        ):
            with pytest.raises(accounts.WrongCredentials) as refused:
                admins.authenticate(control_session=control_session, email=email, password=password)
            told.add(refused.value.message)
        assert len(told) == 1


def first_admin_email(session: Session, tenant: Tenant) -> str:
    return session.scalars(
        select(TenantAdmin.email)
        .where(TenantAdmin.tenant_id == tenant.id)
        .order_by(TenantAdmin.id)
        .limit(1)
    ).one()


class TestInvitation:
    def test_sets_a_password_once(self, control_session: Session, now: datetime) -> None:
        admin, token = invited(control_session, make_tenant(control_session), now)
        held, _ = admins.holder(
            control_session=control_session, purpose=admins.INVITATION, token=token, now=now
        )
        assert held.id == admin.id
        admins.choose_password(
            control_session=control_session,
            purpose=admins.INVITATION,
            token=token,
            password=NEW,
            now=now,
        )
        assert admins.authenticate(control_session=control_session, email=admin.email, password=NEW)
        with pytest.raises(accounts.LinkUsed):
            admins.choose_password(
                control_session=control_session,
                purpose=admins.INVITATION,
                token=token,
                password=NEW,
                now=now,
            )

    def test_survives_a_weak_password(self, control_session: Session, now: datetime) -> None:
        _, token = invited(control_session, make_tenant(control_session), now)
        with pytest.raises(accounts.PasswordTooWeak):
            admins.choose_password(
                control_session=control_session,
                purpose=admins.INVITATION,
                token=token,
                password="short",
                now=now,
            )
        assert admins.holder(
            control_session=control_session, purpose=admins.INVITATION, token=token, now=now
        )

    def test_not_used_yet_is_void_once_a_reset_set_the_password(
        self, control_session: Session, now: datetime
    ) -> None:
        admin, token = invited(control_session, make_tenant(control_session), now)
        reset = accounts.issue_token(
            control_session=control_session,
            purpose=admins.RESET,
            subject_id=admin.id,
            valid_for=timedelta(hours=2),
            now=now,
        )
        admins.choose_password(
            control_session=control_session,
            purpose=admins.RESET,
            token=reset,
            password=NEW,
            now=now,
        )
        with pytest.raises(accounts.LinkExpired):
            admins.holder(
                control_session=control_session, purpose=admins.INVITATION, token=token, now=now
            )

    def test_expires(self, control_session: Session, now: datetime) -> None:
        _, token = invited(control_session, make_tenant(control_session), now)
        with pytest.raises(accounts.LinkExpired):
            admins.holder(
                control_session=control_session,
                purpose=admins.INVITATION,
                token=token,
                now=now + timedelta(days=7),
            )

    def test_is_no_reset_link(self, control_session: Session, now: datetime) -> None:
        _, token = invited(control_session, make_tenant(control_session), now)
        with pytest.raises(accounts.LinkExpired):
            admins.holder(
                control_session=control_session, purpose=admins.RESET, token=token, now=now
            )

    @pytest.mark.parametrize("gone", ["disabled", "destroying"])
    def test_opens_nothing_for_whoever_is_gone(
        self, control_session: Session, now: datetime, gone: str
    ) -> None:
        tenant = make_tenant(control_session)
        admin, token = invited(control_session, tenant, now)
        if gone == "disabled":
            admin.disabled_at = now
        else:
            tenant.state = "destroying"
        with pytest.raises(admins.NoSuchAdmin):
            admins.choose_password(
                control_session=control_session,
                purpose=admins.INVITATION,
                token=token,
                password=NEW,
                now=now,
            )


class TestReset:
    def test_mails_one_link_for_each_account_of_an_address(
        self, control_session: Session, now: datetime
    ) -> None:
        names = []
        for _ in range(2):
            tenant = make_tenant(control_session)
            make_admin(control_session, tenant=tenant, email="both@customer.example")
            names.append(tenant.name)
        sent = admins.request_reset(
            control_session=control_session,
            email="BOTH@customer.example",
            language="ko",
            now=now,
        )
        mails = control_session.scalars(
            select(Message).where(Message.recipient == "both@customer.example")
        ).all()
        assert sent == len(mails) == 2
        assert all(any(name in mail.text for mail in mails) for name in names)
        assert all("/portal/reset/" in mail.text for mail in mails)

    def test_of_an_unknown_address_writes_nothing(
        self, control_session: Session, now: datetime
    ) -> None:
        assert (
            admins.request_reset(
                control_session=control_session,
                email="nobody@customer.example",
                language="en",
                now=now,
            )
            == 0
        )
        assert control_session.scalars(select(Message)).all() == []


class TestChange:
    def test_asks_for_the_present_password(self, control_session: Session, now: datetime) -> None:
        admin = first_admin(control_session, make_tenant(control_session))
        with pytest.raises(accounts.WrongCredentials) as refused:
            admins.change_password(
                control_session=control_session,
                admin_id=admin.id,
                current="not this one",
                password=NEW,
                now=now,
            )
        assert refused.value.field == "current"
        admins.change_password(
            control_session=control_session,
            admin_id=admin.id,
            current=PASSWORD,
            password=NEW,
            now=now,
        )
        assert admins.authenticate(control_session=control_session, email=admin.email, password=NEW)


class TestAccess:
    def test_is_taken_and_given_back_and_written_down(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session)
        admin = first_admin(control_session, tenant)
        make_admin(control_session, tenant=tenant)
        for disabled in (True, False):
            admins.set_access(
                control_session=control_session,
                tenant_id=tenant.id,
                admin_id=admin.id,
                disabled=disabled,
                actor=SYSTEM,
                now=now,
            )
            assert (admin.disabled_at is not None) == disabled
        actions = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.tenant_id == tenant.id)
        ).all()
        assert sorted(actions) == ["admin.disabled", "admin.enabled"]

    def test_of_the_last_administrator_is_not_taken(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session)
        last = first_admin(control_session, tenant)
        make_admin(control_session, tenant=tenant).disabled_at = now
        control_session.flush()
        with pytest.raises(admins.LastAdmin):
            admins.set_access(
                control_session=control_session,
                tenant_id=tenant.id,
                admin_id=last.id,
                disabled=True,
                actor=SYSTEM,
                now=now,
            )
        assert last.disabled_at is None

    def test_of_another_tenant_is_not_found(self, control_session: Session, now: datetime) -> None:
        mine, other = make_tenant(control_session), make_tenant(control_session)
        with pytest.raises(admins.NoSuchAdmin):
            admins.set_access(
                control_session=control_session,
                tenant_id=mine.id,
                admin_id=first_admin(control_session, other).id,
                disabled=True,
                actor=SYSTEM,
                now=now,
            )


class TestBillingProfile:
    def update(self, session: Session, tenant: Tenant, now: datetime, **changed: str) -> Tenant:
        return billing_profiles.update(
            control_session=session,
            tenant_id=tenant.id,
            typed=KOREAN | changed,
            actor=SYSTEM,
            now=now,
        )

    def test_keeps_one_spelling_and_what_finance_noted(
        self, control_session: Session, now: datetime
    ) -> None:
        noted = {"treatment": "zero_rated", "reason": "ruling", "evidence": "file 7"}
        tenant = make_tenant(control_session, billing_profile={"vat_treatment": noted})
        self.update(control_session, tenant, now, name="  주식회사\n한빛\x00 ")
        assert tenant.billing_profile["name"] == "주식회사 한빛"
        assert tenant.billing_profile["registration_number"] == "1248100998"
        assert tenant.billing_profile["phone"] == "+82212345678"
        assert tenant.billing_profile["vat_treatment"] == noted

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("registration_number", "124-81-00999"),
            ("registration_number", "1234567890123"),
            ("registration_number", ""),
            ("name", "  "),
            ("name", "!!!"),
            ("name", "가" * 71),
            ("representative", ""),
            ("address", "x" * 151),
            ("business_type", "업" * 41),
            ("branch_number", "12"),
            ("email", "not an address"),
            ("email", ""),
            ("phone", "call me"),
        ],
    )
    def test_refuses_a_wrong_field_and_names_it(
        self, control_session: Session, now: datetime, field: str, value: str
    ) -> None:
        tenant = make_tenant(control_session)
        before = dict(tenant.billing_profile)
        with pytest.raises(ProfileInvalid) as refused:
            self.update(control_session, tenant, now, **{field: value})
        assert list(refused.value.errors) == [field]
        assert tenant.billing_profile == before

    def test_tells_every_fault_at_once(self, control_session: Session, now: datetime) -> None:
        tenant = make_tenant(control_session)
        with pytest.raises(ProfileInvalid) as refused:
            self.update(control_session, tenant, now, name="", email="x", phone="y")
        assert list(refused.value.errors) == ["name", "email", "phone"]

    def test_writes_which_fields_changed_and_none_of_their_contents(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session)
        self.update(control_session, tenant, now)
        self.update(control_session, tenant, now)
        events = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "tenant.billing_profile_changed")
        ).all()
        assert len(events) == 1
        assert "email" in events[0].details["fields"]
        assert KOREAN["email"] not in str(events[0].details)

    def test_abroad_a_registration_number_is_optional(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, country="DE", billing_profile={})
        self.update(
            control_session,
            tenant,
            now,
            registration_number="",
            representative="",
            phone="+49 30 901820",
        )
        assert billing_profiles.missing(tenant) == []
