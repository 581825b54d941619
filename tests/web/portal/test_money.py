"""What the portal does with money: converting, cancelling, cards, papers; and whose they are."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base import clock, files
from app.base.config import settings
from app.base.db import control_session
from app.web.format import money
from invoices import catalogue, invoicing, paper_files
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.models import (
    CardRegistration,
    CouponRedemption,
    Document,
    Invoice,
    PaymentMethod,
    Subscription,
)
from tenants import exports
from tenants.models import Consent, Tenant
from tests.factories import NOW, make_card, make_tenant
from tests.invoices.collecting import NUMBERS, gateway_at
from tests.naughty import naughty
from tests.sandbox.running import RunningSandbox, type_card
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.parts import committed, customer, make_coupon, sign_in
from tests.web.portal.stage import PDF, long_life

CONVERT = "/portal/plan/convert"


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def again(row: Any) -> Any:
    """This function will read a row anew."""
    with control_session() as session:
        return session.get_one(type(row), row.id)


def subscription_of(tenant: Tenant) -> Subscription | None:
    with control_session() as session:
        return session.scalar(select(Subscription).where(Subscription.tenant_id == tenant.id))


class TestConversion:
    def fields(self, client: Any, page: str) -> dict[str, str]:
        """This function will return the hidden fields of the consent's form, as a browser does."""
        form = client.get(page).text.partition('id="convert"')[2].partition("</form>")[0]
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)
        return dict(hidden)

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_records_the_consent_with_what_was_shown(self, client: Any, language: str) -> None:
        tenant = customer()
        sign_in(client, tenant)
        page = f"{CONVERT}?plan=starter&method=transfer&lang={language}"
        shown = client.get(page).text
        assert "₩49,000" in shown
        assert "₩53,900" in shown
        assert 'type="checkbox"' in shown
        assert "checked" not in shown.partition('name="accept"')[2].partition(">")[0]
        answer = client.post(CONVERT, data={**self.fields(client, page), "accept": "y"})
        assert answer.status_code == 303
        assert again(tenant).state == "active"
        with control_session() as session:
            consent = session.scalars(select(Consent).where(Consent.kind == "conversion")).one()
        assert consent.details["starts_on"] == "2026-03-10"
        assert consent.details["method"] == "transfer"
        assert consent.details["language"] == language
        assert consent.details["how_to_cancel"].endswith("/portal/plan")

    def test_never_happens_without_the_tick(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        answer = client.post(CONVERT, data=self.fields(client, f"{CONVERT}?method=transfer"))
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert again(tenant).state == "trialing"
        assert subscription_of(tenant) is None

    def test_by_card_needs_a_card(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        fields = self.fields(client, CONVERT) | {"accept": "y"}
        assert client.post(CONVERT, data=fields).status_code == 422
        committed(make_card, tenant=tenant)
        assert client.post(CONVERT, data=fields).status_code == 303

    def test_stops_when_the_price_changed_since_the_page_was_opened(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?plan=team&method=transfer") | {"accept": "y"}
        from dataclasses import replace
        from decimal import Decimal

        from app.base.audit import SYSTEM

        terms = next(t for t in DEFAULT_PLANS if (t.plan_code, t.currency) == ("team", "KRW"))
        base = terms.charges[0]
        dearer = replace(base, pricing=replace(base.pricing, unit_amount=Decimal(290000)))
        with control_session() as session:
            catalogue.publish(
                control_session=session,
                terms=replace(terms, charges=(dearer, *terms.charges[1:])),
                actor=SYSTEM,
                now=NOW,
            )
        answer = client.post(CONVERT, data=fields)
        assert answer.status_code == 409
        assert "₩290,000" in answer.text
        assert again(tenant).state == "trialing"

    def test_takes_a_coupon_along_from_the_first_bill(self, client: Any) -> None:
        tenant = customer()
        make_coupon("FIRST20")
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?plan=starter&method=transfer")
        answer = client.post(CONVERT, data={**fields, "accept": "y", "coupon": " first20 "})
        assert answer.status_code == 303
        with control_session() as session:
            redeemed = session.scalars(select(CouponRedemption)).one()
            assert redeemed.tenant_id == tenant.id
            assert redeemed.subscription_id == session.scalars(select(Subscription.id)).one()
            assert str(redeemed.starts_on) == "2026-03-10"

    @pytest.mark.parametrize("language", ["ko", "en"])
    @pytest.mark.parametrize(
        ("day", "agreed"),
        [
            ("0", {"ko": "매월 10일", "en": "each month on day 10"}),
            ("1", {"ko": "매월 1일", "en": "each month on day 1,"}),
            ("25", {"ko": "매월 25일", "en": "each month on day 25"}),
        ],
    )
    def test_shows_what_is_billed_whatever_the_day_that_all_are_billed_on(
        self, client: Any, monkeypatch: pytest.MonkeyPatch, day: str, agreed: Any, language: str
    ) -> None:
        monkeypatch.setenv("TENANTRY_BILLING_DAY", day)
        settings.cache_clear()
        try:
            tenant = customer()
            sign_in(client, tenant)
            page = f"{CONVERT}?plan=team&method=transfer&lang={language}"
            shown = client.get(page).text
            fields = self.fields(client, page)
            assert client.post(CONVERT, data={**fields, "accept": "y"}).status_code == 303
            with control_session() as session:
                subscription = session.scalars(select(Subscription)).one()
                invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=NOW)
                first = session.scalars(select(Invoice)).one()
                session.refresh(subscription)
                amounts = [first.total_minor, *(line.amount_minor for line in first.lines)]
                following = str(subscription.next_bill_on)
        finally:
            monkeypatch.undo()
            settings.cache_clear()
        assert (amounts[0] == 209_000) == (day == "0")
        assert [each for each in amounts if money(each) not in shown] == []
        assert following in shown
        assert agreed[language] in shown

    def test_shows_what_a_coupon_takes_off_before_it_is_agreed_to(self, client: Any) -> None:
        tenant = customer()
        make_coupon("FIRST20")
        sign_in(client, tenant)
        page = f"{CONVERT}?plan=starter&method=transfer&lang=en"
        assert "₩53,900" in client.get(page).text
        fields = self.fields(client, page) | {"look": "y", "accept": "y"}
        seen = client.post(CONVERT, data={**fields, "coupon": " first20 "})
        assert seen.status_code == 200
        assert "Discount: Offer" in seen.text
        assert "₩43,120" in seen.text  # a fifth less, with tax
        assert 'value="first20"' in seen.text
        refused = client.post(CONVERT, data={**fields, "coupon": "NOBODY-KNOWS"})
        assert (refused.status_code, 'id="coupon-error"' in refused.text) == (422, True)
        assert "₩53,900" in refused.text
        # Looking takes nothing: neither a redemption nor a subscription is left of it.
        assert again(tenant).state == "trialing"
        assert subscription_of(tenant) is None
        with control_session() as session:
            assert session.scalars(select(CouponRedemption)).all() == []

    @pytest.mark.parametrize(("code", "status"), [("NOBODY-KNOWS", 422), ("DOLLARS", 409)])
    def test_begins_nothing_with_a_coupon_that_is_refused(
        self, client: Any, code: str, status: int
    ) -> None:
        tenant = customer()
        make_coupon("DOLLARS", currency="USD")
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?plan=starter&method=transfer")
        answer = client.post(CONVERT, data={**fields, "accept": "y", "coupon": code})
        assert answer.status_code == status
        assert 'id="coupon-error"' in answer.text
        assert f'value="{code}"' in answer.text
        assert again(tenant).state == "trialing"
        assert subscription_of(tenant) is None

    def test_opens_a_workspace_that_closed_with_its_trial(self, client: Any) -> None:
        tenant = customer(state="suspended", suspend_reason="trial_ended")
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?method=transfer") | {"accept": "y"}
        assert client.post(CONVERT, data=fields).status_code == 303
        assert again(tenant).state == "active"

    @pytest.mark.parametrize("reason", ["unpaid", "staff"])
    def test_opens_nothing_that_it_does_not_mend(self, client: Any, reason: str) -> None:
        tenant = customer(state="suspended", suspend_reason=reason)
        sign_in(client, tenant)
        assert client.get(CONVERT).status_code == 409

    def test_twice_is_once(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?method=transfer") | {"accept": "y"}
        answers = [client.post(CONVERT, data=fields).status_code for _ in range(2)]
        assert answers == [303, 409]
        with control_session() as session:
            assert len(session.scalars(select(Subscription)).all()) == 1

    @pytest.mark.parametrize("field", ["plan", "method", "language", "text_sha256", "accept"])
    def test_takes_no_naughty_string(self, client: Any, field: str) -> None:
        tenant = customer()
        sign_in(client, tenant)
        fields = self.fields(client, f"{CONVERT}?method=transfer") | {"accept": "y"}
        for text in naughty(field):
            answer = client.post(CONVERT, data=fields | {field: text})
            assert answer.status_code in (409, 422), (text, answer.status_code)
        assert again(tenant).state == "trialing"


class TestCard:
    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Iterator[RunningSandbox]:
        with gateway_at(tmp_path) as sandbox:
            yield sandbox

    def test_is_registered_on_the_gateway_s_page(
        self, client: Any, gateway: RunningSandbox
    ) -> None:
        tenant = customer()
        sign_in(client, tenant)
        answer = send(client, "/portal/payment", {}, to="/portal/payment/cards")
        assert answer.location.startswith(gateway.url)
        back = type_card(answer.location, NUMBERS["pays"]).headers["location"]
        back = back[back.index("/portal/") :]
        assert client.get(back).location == "/portal/plan/convert"
        page = client.get("/portal/payment").text
        assert "4242" in page
        assert NUMBERS["pays"] not in page
        # A browser that comes back twice finds the one that was stored.
        assert client.get(back).location == "/portal/plan/convert"
        with control_session() as session:
            stored = session.scalars(select(PaymentMethod)).all()
        assert [(method.tenant_id, method.is_default) for method in stored] == [(tenant.id, True)]

    def test_of_another_tenant_is_never_taken(
        self, client: Any, app: Any, gateway: RunningSandbox
    ) -> None:
        sign_in(client, customer())
        answer = send(client, "/portal/payment", {}, to="/portal/payment/cards")
        back = type_card(answer.location, NUMBERS["pays"]).headers["location"]
        thief = sign_in(app.test_client(), committed(make_tenant))
        assert thief.get(back[back.index("/portal/") :]).status_code == 404
        with control_session() as session:
            assert session.scalars(select(PaymentMethod)).all() == []

    @pytest.mark.parametrize("query", ["", "?auth=forged", "?auth=%00&customer=x"])
    def test_forged_on_the_way_back_is_refused_in_words(
        self, client: Any, gateway: RunningSandbox, query: str
    ) -> None:
        sign_in(client, customer())
        send(client, "/portal/payment", {}, to="/portal/payment/cards")
        with control_session() as session:
            begun = session.scalars(select(CardRegistration.id)).one()
        answer = client.get(f"/portal/payment/registered/{begun}{query}", follow_redirects=True)
        assert answer.status_code == 200
        with control_session() as session:
            assert session.scalars(select(PaymentMethod)).all() == []

    def test_waits_in_words_while_the_gateway_is_away(
        self, client: Any, gateway: RunningSandbox
    ) -> None:
        gateway.kill()
        sign_in(client, customer())
        token = csrf_token(client, "/portal/payment")
        answer = client.post(
            "/portal/payment/cards", data={"csrf_token": token}, follow_redirects=True
        )
        assert answer.status_code == 200
        assert "응답하지 않아요" in answer.text

    def test_is_removed_even_while_the_gateway_is_away(
        self, client: Any, gateway: RunningSandbox
    ) -> None:
        tenant = customer()
        card = committed(make_card, tenant=tenant)
        gateway.kill()
        sign_in(client, tenant)
        to = f"/portal/payment/cards/{card.id}/remove"
        assert send(client, "/portal/payment", {}, to=to).status_code == 303
        assert again(card).revoked_at is not None
        assert send(client, "/portal/payment", {}, to=to).status_code == 404


def assert_previewed(client: Any, page: str, document_id: UUID) -> None:
    """The page has a frame for a paper, and the paper lets itself be shown there and nowhere."""
    address = f"{page}/papers/{document_id}?show=1"
    assert f'<iframe class="preview" src="{address}"' in client.get(page).text
    shown = client.get(address)
    assert (shown.status_code, shown.mimetype, shown.data) == (200, "application/pdf", PDF)
    assert shown.headers["Content-Disposition"].startswith("inline;")
    assert "frame-ancestors 'self'" in shown.headers["Content-Security-Policy"]


class TestPapers:
    def test_ready_ones_are_handed_out_and_others_explained(self, client: Any) -> None:
        tenant = long_life()
        sign_in(client, tenant)
        with control_session() as session:
            first, second = session.scalars(
                select(Invoice).where(Invoice.tenant_id == tenant.id).order_by(Invoice.number)
            ).all()
            ready = session.scalars(
                select(Document.id).where(
                    Document.subject_id == first.id, Document.language == "ko"
                )
            ).one()
            waiting = session.scalars(
                select(Document).where(Document.subject_id == second.id, Document.language == "ko")
            ).one()
            waiting.last_error = "the printer did not start. Pango is missing; on Debian: apt-get"
            waiting_id = waiting.id
        answer = client.get(f"/portal/invoices/{first.id}/papers/{ready}")
        assert answer.data == PDF
        assert answer.mimetype == "application/pdf"
        assert "attachment" in answer.headers["Content-Disposition"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert_previewed(client, f"/portal/invoices/{first.id}", ready)
        page = client.get(f"/portal/invoices/{second.id}").text
        assert "<iframe" not in page, "there is no paper yet to be shown"
        assert "시스템 라이브러리가 없어요" in page
        assert "apt-get" not in page
        refused = client.get(f"/portal/invoices/{second.id}/papers/{waiting_id}")
        assert refused.status_code == 503
        assert "시스템 라이브러리가 없어요" in refused.text
        sign_in_staff(client, "viewer")
        assert_previewed(client, f"/console/invoices/{first.id}", ready)

    def test_the_supplier_s_copy_stays_with_us(self, client: Any) -> None:
        tenant = long_life()
        with control_session() as session:
            invoice = session.scalars(
                select(Invoice).where(Invoice.tenant_id == tenant.id).order_by(Invoice.number)
            ).first()
            assert invoice is not None
            stored = files.put(prefix=paper_files.prefix_of(tenant.id), chunks=[PDF])
            ours = Document(
                state="ready",
                tenant_id=tenant.id,
                kind="tax_invoice_supplier",
                subject_id=invoice.id,
                language="ko",
                file_name="ours.pdf",
                data={},
                data_sha256="0" * 64,
                created_at=NOW,
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
            )
            session.add(ours)
            session.flush()
            paper, invoice_id = ours.id, invoice.id
        sign_in(client, tenant)
        assert client.get(f"/portal/invoices/{invoice_id}/papers/{paper}").status_code == 404


class TestExport:
    def test_is_asked_for_made_and_fetched_by_its_owner_alone(
        self, client: Any, app: Any, now: datetime
    ) -> None:
        tenant = customer()
        sign_in(client, tenant)
        page, to = "/portal/account", "/portal/account/export"
        assert send(client, page, {}, to=to).status_code == 303
        with control_session() as session:
            export = exports.list_(control_session=session, tenant_id=tenant.id)[0]
            export_id = export.id
        link = f"/portal/account/exports/{export_id}"
        assert client.get(link).status_code == 409
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("members.csv", "id")
        with control_session() as session:
            stored = files.put(prefix=exports.prefix(tenant.id), chunks=[packed.getvalue()])
            export = exports.list_(control_session=session, tenant_id=tenant.id)[0]
            export.state, export.ready_at = "ready", NOW
            export.expires_at = NOW + exports.EXPIRES_AFTER
            export.sha256, export.size_bytes = stored.sha256, stored.size_bytes
        assert client.get(link).data == packed.getvalue()
        thief = sign_in(app.test_client(), committed(make_tenant))
        assert thief.get(link).status_code == 404
        clock.set_now(NOW + exports.EXPIRES_AFTER)
        assert client.get(link).status_code == 404
