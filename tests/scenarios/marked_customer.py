"""A customer who left marks at every door: what a search of control must not find afterwards."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import accounts, clock, files, ids, sessions
from app.base.audit import AccessEntry, Actor
from app.base.config import settings
from app.base.db import control_session
from app.base.money import Money
from invoices import (
    bundles,
    change_consents,
    evidence,
    invoicing,
    listing,
    paper_files,
    statement_import,
    statements,
    subscriptions,
    transfers,
    vat_treatments,
)
from invoices.models import (
    BankTransfer,
    CardRegistration,
    Document,
    Invoice,
    PlanVersion,
    PriceConsent,
    TaxInvoice,
    VirtualAccount,
)
from invoices.subscriptions import ConversionConsent
from tenants import business_status, drawings, personal_data, visits
from tenants.business_checkers.port import Found
from tenants.business_models import BusinessStatus
from tenants.models import Tenant, TenantAdmin
from tests.factories import make_application, make_card, make_staff
from tests.invoices.issuing import issue
from tests.price_list import publish_default
from tests.tenants.pushed import event, push
from tests.workspaces import Workspace, make_workspace

# No word of ours has it; numbers can't bear it and are marks of their own.
MARK = "붉은여우"
EMAIL = "red-fox@hidden.example"
PHONE = "+821099998888"
NUMBER = "1208147521"
ACCOUNT = "99988877766601"
ADDRESS = "192.0.2.77"
MARKS = (MARK, EMAIL, PHONE, NUMBER, ACCOUNT, ADDRESS)

_COLUMNS = """
SELECT quote_ident(c.table_schema), quote_ident(c.table_name), quote_ident(c.column_name)
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
  AND c.data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'ARRAY')
ORDER BY 1, 2, 3
"""


def places_of(session: Session, marks: Iterable[str]) -> set[str]:
    """Every `schema.table.column` of control whose text holds one of the marks."""
    wanted = [f"%{mark}%" for mark in marks]
    found = set()
    for schema, table, column in session.execute(text(_COLUMNS)).all():
        query = f"SELECT EXISTS (SELECT FROM {schema}.{table} WHERE {column}::text ILIKE ANY(:m))"
        if session.scalar(text(query), {"m": wanted}):
            found.add(f"{schema}.{table}.{column}")
    return found


def files_of(marks: Iterable[str]) -> set[str]:
    """Every folder of the files that holds one of the marks, in a file or a file's name."""
    wanted, root = [mark.encode() for mark in marks], settings().files
    return {
        file.relative_to(root).parts[0]
        for file in root.rglob("*")
        if file.is_file() and any(mark in file.read_bytes() for mark in wanted)
    }


def leave_marks(now: datetime) -> Workspace:
    """This function will make a customer who applied, worked, bought, paid and was written to."""
    early = now - timedelta(days=40)
    visitor = ids.uuid7()
    with control_session() as session:
        application = make_application(
            session,
            state="approved",
            company=f"{MARK} 주식회사",
            contact_name=f"{MARK} 담당",
            email=EMAIL,
            email_domain="hidden.example",
            phone=PHONE,
            registration_number=NUMBER,
            message=f"{MARK} 문의",
            visitor_id=visitor,
        )
        application_id = application.id
        visits.store(
            control_session=session,
            records=[
                visits.VisitRecord(
                    ids.uuid7(), early, visitor, "page", "/trial", utm={"source": MARK}
                )
            ],
        )
    made = make_workspace(now=early, application_id=application_id, admin_email=EMAIL)
    with control_session() as session:
        _be_somebody(session, made)
        _sign_in(session, made, now)
        _be_looked_up(session, now)
    with made.session() as session:
        drawings.upload(
            tenant_session=session,
            name=f"{MARK}.pdf",
            stream=io.BytesIO(b"%PDF-1.7"),
            member_id=made.admin_id,
            actor=Actor("member", "tests"),
            now=early,
        )
    with control_session() as session:
        tenant = session.get_one(Tenant, made.tenant_id)
        session.expunge(tenant)
    assert push([event(tenant, now, properties={"who": MARK})], now) == ["accepted"]
    with control_session() as session:
        _buy(session, made.tenant_id, now)
    return made


def _be_somebody(session: Session, made: Workspace) -> None:
    tenant = session.get_one(Tenant, made.tenant_id)
    tenant.name = f"{MARK} 주식회사"
    tenant.billing_profile = {
        "registration_number": NUMBER,
        "representative": f"{MARK} 대표",
        "address": f"{MARK}로 1",
        "email": EMAIL,
    }
    admin = session.get_one(TenantAdmin, made.admin_id)
    admin.name, admin.phone = f"{MARK} 관리자", PHONE


def _sign_in(session: Session, made: Workspace, now: datetime) -> None:
    sessions.open_session(
        control_session=session,
        audience="portal",
        user_id=made.admin_id,
        tenant_id=made.tenant_id,
        real_now=clock.real_now(),
    )
    accounts.issue_token(
        control_session=session,
        purpose=personal_data.invitation_purpose(made.tenant_id),
        subject_id=made.admin_id,
        valid_for=timedelta(days=7),
        now=now,
    )
    session.add(
        AccessEntry(
            at=now,
            event="signed_in",
            audience="portal",
            user_id=made.admin_id,
            tenant_id=made.tenant_id,
            address=ADDRESS,
            agent=f"Browser of {MARK}",
        )
    )


def _be_looked_up(session: Session, now: datetime) -> None:
    """The tax service says that they closed: sales and finance get mails that name them."""
    business_status.ask(control_session=session, number=NUMBER, country="KR", now=now)
    session.flush()
    row = session.scalars(select(BusinessStatus)).one()
    row.opened_on, row.representative = now.date(), f"{MARK} 대표"
    business_status.record(
        control_session=session,
        question=business_status.Question((NUMBER,), ()),
        answer=business_status.Answer({NUMBER: Found("closed")}, {NUMBER: False}),
        now=now,
    )


def _buy(session: Session, tenant_id: UUID, now: datetime) -> None:
    publish_default(session, now=now - timedelta(days=30))
    staff_id = make_staff(session, role="finance").id
    proof = vat_treatments.keep(
        tenant_id=tenant_id, file_name=f"{MARK} 증명.pdf", chunks=[b"%PDF-1.7"]
    )
    vat_treatments.decide(
        control_session=session,
        tenant_id=tenant_id,
        treatment="taxable",
        reason="they sell to consumers here",
        proof=proof,
        actor=Actor.staff(staff_id),
        now=now,
    )
    subscription_id = _subscribe(session, tenant_id, staff_id, now)
    invoicing.bill(control_session=session, subscription_ids=[subscription_id], now=now)
    invoice = session.scalars(select(Invoice).where(Invoice.tenant_id == tenant_id)).one()
    _pay(session, invoice, staff_id, now)
    _leave_unfinished(session, invoice, now)
    evidence.choose(control_session=session, invoice_id=invoice.id, now=now)
    _print(session, tenant_id, now)
    _pack(session, tenant_id, staff_id, now)
    _agree_to_more(session, tenant_id, subscription_id, staff_id, now)


def _subscribe(session: Session, tenant_id: UUID, staff_id: UUID, now: datetime) -> UUID:
    version = session.scalars(
        select(PlanVersion).where(PlanVersion.plan_code == "team", PlanVersion.currency == "KRW")
    ).one()
    shown = subscriptions.conversion_terms(
        version=version, language="ko", method="transfer", starts_on=now.date()
    )
    tenant = session.get_one(Tenant, tenant_id)
    tenant.trial_ends_at = now + timedelta(days=1)
    return subscriptions.convert(
        control_session=session,
        tenant_id=tenant_id,
        plan_code="team",
        currency="KRW",
        consent=ConversionConsent(
            accepted=True,
            text_sha256=shown.sha256,
            language="ko",
            method="transfer",
            channel="staff",
            given_by=f"{MARK} 대표, {EMAIL}",
        ),
        actor=Actor.staff(staff_id),
        now=now,
    ).id


def _pay(session: Session, invoice: Invoice, staff_id: UUID, now: datetime) -> None:
    """A part by hand, the rest by a bank's statement that names the invoice."""
    transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(1_000, "KRW"),
        payer=f"{MARK} 손",
        paid_on=now.date(),
        staff_id=staff_id,
        now=now,
    )
    head = "거래일시,보낸분,적요,입금액,거래후잔액"
    memo, rest = f"{invoice.number_text} {ACCOUNT}", invoice.total_minor - 1_000
    line = f'{now:%Y-%m-%d} 09:10,{MARK} 이체,{memo},"{rest:,}",'
    statement_import.import_statement(
        control_session=session,
        file_name="3월.csv",
        content="\r\n".join([head, line]).encode("cp949"),
        layout=statements.USUAL,
        staff_id=staff_id,
        now=now,
    )
    deposit = session.scalars(select(BankTransfer)).one()
    statement_import.match(control_session=session, transfer_id=deposit.id, now=now)
    session.flush()
    session.refresh(deposit)
    if deposit.state == "open":
        statement_import.settle(
            control_session=session,
            transfer_id=deposit.id,
            invoice_id=invoice.id,
            staff_id=staff_id,
            now=now,
        )


def _leave_unfinished(session: Session, invoice: Invoice, now: datetime) -> None:
    """A virtual account that nobody paid into, a card, and bills that were never issued."""
    session.add(
        VirtualAccount(
            state="expired",
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            gateway="sandbox",
            bank_asked="088",
            order_id=str(ids.uuid7()),
            idempotency_key=str(ids.uuid7()),
            key_expires_at=now,
            amount_minor=invoice.total_minor,
            currency="KRW",
            expires_at=now,
            asked_at=now,
            bank="088",
            number=ACCOUNT,
            holder=f"{MARK} 예금주",
            secret_sealed="sealed",
        )
    )
    card = make_card(session, tenant=session.get_one(Tenant, invoice.tenant_id))
    card.masked = f"{MARK} 1234"
    session.add(
        CardRegistration(
            tenant_id=invoice.tenant_id,
            gateway="sandbox",
            customer_key=f"{MARK} customer",
            begun_at=now,
        )
    )
    session.flush()
    for state in ("draft", "void"):
        changed = {"id": str(ids.uuid7()), "state": state}
        unissued = dict.fromkeys(
            (
                *("year", "number", "number_text", "issued_at", "due_on", "content_sha256"),
                *("paid_at", "collect_at", "evidence_at"),
            )
        )
        session.execute(
            text(
                "INSERT INTO invoice SELECT (jsonb_populate_record(i, CAST(:changed AS jsonb))).*"
                " FROM invoice i WHERE id = :id"
            ),
            {"id": invoice.id, "changed": json.dumps(changed | unissued | {"paid_minor": 0})},
        )


def _print(session: Session, tenant_id: UUID, now: datetime) -> None:
    due = session.scalars(select(TaxInvoice).where(TaxInvoice.state == "due")).all()
    if due:
        issue(session, *due, now=now)
    document = session.scalars(select(Document).order_by(Document.id)).first()
    assert document is not None
    stored = files.put(prefix=paper_files.prefix_of(tenant_id), chunks=[MARK.encode()])
    order = paper_files.begin(control_session=session, document_id=document.id)
    assert order is not None
    paper_files.record(
        control_session=session,
        order=order,
        printed=paper_files.Printed(stored.sha256, stored.size_bytes, "1", ()),
        now=now,
    )


def _pack(session: Session, tenant_id: UUID, staff_id: UUID, now: datetime) -> None:
    """A ZIP of all customers' papers that finance may have, and one that is not made yet."""
    made, searched = (
        bundles.request(
            control_session=session,
            filters=listing.InvoiceFilters(text=words),
            staff_id=staff_id,
            now=now,
        )
        for words in (None, MARK)
    )
    order = bundles.begin(control_session=session, bundle_id=made.id, now=now)
    assert order is not None
    assert {entry.tenant_id for entry in order.entries if entry.sha256} == {tenant_id}
    stored = bundles.perform(order=order, report=lambda _done: None)
    bundles.record(control_session=session, order=order, stored=stored, now=now)
    assert searched.state == "due"


def _agree_to_more(
    session: Session, tenant_id: UUID, subscription_id: UUID, staff_id: UUID, now: datetime
) -> None:
    consent = change_consents.record(
        control_session=session,
        tenant_id=tenant_id,
        text=f"{MARK} 더 비싼 값",
        language="ko",
        given_by=f"{MARK} 대표, 전화",
        given_on=now.date(),
        begins_on=now.date(),
        today=now.date(),
        staff_id=staff_id,
        now=now,
    )
    version_id = session.scalars(select(PlanVersion.id).limit(1)).one()
    session.add(
        PriceConsent(
            state="given",
            tenant_id=tenant_id,
            subscription_id=subscription_id,
            from_version_id=version_id,
            to_version_id=version_id,
            moves_on=now.date() + timedelta(days=30),
            opens_on=now.date(),
            asked_at=now,
            asked_by={"kind": "system", "id": None},
            consent_id=consent.id,
            decided_at=now,
        )
    )
