"""The road as its people walk it, over HTTP: from the trial form to a paper in the portal."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.cli.demo import cast
from app.cli.demo.browser import Browser, Page
from tests.factories import PASSWORD
from tests.patience import eventually
from tests.scenarios.whole_system import WholeSystem


@dataclass
class Company:
    """Who walks: what they type, and their browser."""

    name: str
    email: str
    browser: Browser
    contact: str = "구매담당"
    country: str = "KR"
    registration_number: str = "124-81-00998"
    phone: str = "02-1234-5678"
    message: str = ""

    @property
    def answers(self) -> dict[str, str]:
        """What they type into the trial form."""
        return {
            "company": self.name,
            "country": self.country,
            "registration_number": self.registration_number,
            "contact_name": self.contact,
            "email": self.email,
            "phone": self.phone,
            "seats_expected": "5",
            "plan_code": "team",
            "message": self.message,
        }


def company(system: WholeSystem, *, email: str, name: str = "주식회사 한빛정밀") -> Company:
    """This function will make somebody who stands before the site for the first time."""
    return Company(name, email, system.browser())


def sign_up(system: WholeSystem, walker: Company) -> UUID:
    """This function will send the form, follow the mail's link and return the application's id."""
    page = walker.browser.open("/trial")
    walker.browser.send(page, walker.answers, having="seats_expected")
    confirm(system, walker)
    found = system.ask("SELECT id FROM application WHERE email = %s", walker.email)
    return UUID(str(found[0][0]))


def confirm(system: WholeSystem, walker: Company) -> Page:
    """This function will open the confirmation mail's link and press its button."""
    link = system.mailbox.link(walker.email, "/trial/confirm/")
    page = walker.browser.open(link)
    return walker.browser.send(page, {}, action="/trial/confirm/")


def approve(reviewer: Browser, application_id: UUID) -> Page:
    """This function will approve an application as sales does."""
    page = reviewer.open(f"/console/review/{application_id}")
    values = {"trial_days": 14, "plan_code": "team", "currency": "KRW"}
    return reviewer.send(page, values, action="/approve")


def tenant_of(system: WholeSystem, application_id: UUID) -> UUID:
    """This function will return the tenant that an approval made."""
    found = system.ask("SELECT id FROM tenant WHERE application_id = %s", application_id)
    return UUID(str(found[0][0]))


def await_trial(system: WholeSystem, tenant_id: UUID) -> float:
    """This function will wait until a tenant is on trial and return how long it took."""

    def trialing() -> bool:
        states = system.ask("SELECT state FROM tenant WHERE id = %s", tenant_id)
        return states == [("trialing",)]

    return eventually(trialing, "an approved tenant is on trial")


def move_in(system: WholeSystem, walker: Company) -> None:
    """This function will choose the first password, and open portal and workspace with it."""
    page = walker.browser.open(system.mailbox.link(walker.email, "/portal/welcome/"))
    walker.browser.send(page, {"password": PASSWORD, "again": PASSWORD}, having="again")
    overview = walker.browser.open("/portal/")
    inside = walker.browser.send(overview, {}, action="/portal/workspace")
    assert "sign-in" not in inside.url


def upload(walker: Company, name: str, content: bytes, *, expect: int = 200) -> Page:
    """This function will store a drawing in the workspace."""
    page = walker.browser.open("/workspace/drawings")
    files = {"file": (name, content, "application/octet-stream")}
    return walker.browser.send(page, {}, action="/workspace/drawings", files=files, expect=expect)


def register_card(walker: Company, number: str = cast.CARDS["card"]) -> None:
    """This function will register a card on the gateway's own page."""
    page = walker.browser.open("/portal/payment")
    hosted = walker.browser.send(page, {}, action="/payment/cards")
    assert "/portal/" in walker.browser.send(hosted, {"number": number}).url


def convert(walker: Company, *, method: str) -> None:
    """This function will subscribe with the recorded consent; the first bill is due at once."""
    page = walker.browser.open("/portal/plan/convert", method=method)
    walker.browser.send(page, {"accept": "y"}, having="text_sha256")


def tenant_on_trial(system: WholeSystem, walker: Company, reviewer: Browser) -> UUID:
    """This function will walk from the form to a workspace that is open."""
    application_id = sign_up(system, walker)
    approve(reviewer, application_id)
    tenant_id = tenant_of(system, application_id)
    await_trial(system, tenant_id)
    move_in(system, walker)
    return tenant_id


def papers(system: WholeSystem, walker: Company) -> list[bytes]:
    """This function will open every paper in the portal once all of them are rendered."""
    theirs = (
        "SELECT DISTINCT d.state FROM document d JOIN tenant_admin a USING (tenant_id)"
        " WHERE a.email = %s"
    )
    eventually(lambda: system.ask(theirs, walker.email) == [("ready",)], "every paper is rendered")
    found = []
    for bill in invoices(walker):
        links = dict.fromkeys(link for link in bill.links if "/papers/" in link)
        found += [walker.browser.open(link).content for link in links if "show=1" not in link]
    return found


def invoices(walker: Company) -> list[Page]:
    """This function will open each invoice's page in the portal."""
    listed = walker.browser.open("/portal/invoices").links
    pages = dict.fromkeys(link for link in listed if len(link.rpartition("/invoices/")[2]) == 36)
    return [walker.browser.open(page) for page in pages]
