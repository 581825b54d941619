"""Who is in the small demo: applicants that wait, and customers with a past."""

from __future__ import annotations

from dataclasses import dataclass

# What the sandbox gateway's test numbers do; see its registration page.
PAYS = "4242424242424242"
DECLINES_TWICE = "4000000000000200"
DECLINES_ALWAYS = "4000000000009995"


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Who applies, and with what."""

    name: str
    number: str = ""
    domain: str
    seats: int
    plan: str
    country: str = "KR"
    message: str = ""
    phone: str

    @property
    def language(self) -> str:
        """The language they read."""
        return "ko" if self.country == "KR" else "en"

    @property
    def currency(self) -> str:
        """The currency they are billed in."""
        return "KRW" if self.country == "KR" else "USD"

    @property
    def email(self) -> str:
        """Where they get mail."""
        return f"buyer@{self.domain}.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """An application that is still on the reviewers' desk, or was refused."""

    company: Company
    hours_ago: float
    state: str  # submitted | confirmed | claimed | rejected | approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A company with a workspace: when it was approved, when it subscribed, how it pays."""

    company: Company
    approved_days_ago: int
    converted_days_ago: int | None = None
    card: str = ""
    transfers_after_days: tuple[int, ...] = ()  # after each invoice; later ones stay unpaid
    members: int = 3

    @property
    def method(self) -> str:
        """How they agreed to pay."""
        return "card" if self.card else "transfer"


APPLICANTS = (
    Applicant(
        company=Company(
            name="(주)바른측량",
            number="3608152317",
            domain="barun-survey",
            phone="+82 2 555 0143",
            seats=9,
            plan="team",
            message="도면 141장을 현장 세 곳에서 함께 보고 싶습니다.",
        ),
        hours_ago=52,
        state="confirmed",
    ),
    Applicant(
        company=Company(
            name="(주)아라조선기자재",
            number="4348163736",
            domain="ara-marine",
            phone="+82 2 555 0112",
            seats=42,
            plan="studio",
        ),
        hours_ago=27,
        state="claimed",
    ),
    Applicant(
        company=Company(
            name="Cedar Loop Fabrication Inc",
            domain="cedarloop-fab",
            phone="+1 202 555 0143",
            seats=16,
            plan="team",
            country="US",
            message="We share drawings between three sites.",
        ),
        hours_ago=20,
        state="confirmed",
    ),
    Applicant(
        company=Company(
            name="(주)큰솔전기",
            number="5828186571",
            domain="keunsol-electric",
            phone="+82 2 555 0114",
            seats=6,
            plan="team",
            message="체험 기간에 협력사 두 곳도 초대할 수 있나요?",
        ),
        hours_ago=5,
        state="confirmed",
    ),
    Applicant(
        company=Company(
            name="주식회사 서림조경",
            number="3978658021",
            domain="seorim-landscape",
            phone="+82 2 555 0115",
            seats=7,
            plan="team",
        ),
        hours_ago=1.5,
        state="confirmed",
    ),
    Applicant(
        company=Company(
            name="(주)라온금형",
            number="2868140890",
            domain="raon-mold",
            phone="+82 2 555 0116",
            seats=4,
            plan="starter",
        ),
        hours_ago=0.7,
        state="submitted",
    ),
    Applicant(
        company=Company(
            name="(주)푸른철강구조",
            number="6568197990",
            domain="pureun-steel",
            phone="+82 2 555 0117",
            seats=14,
            plan="team",
        ),
        hours_ago=98,
        state="rejected",
    ),
    Applicant(
        company=Company(
            name="주식회사 차오름디자인",
            number="5458680869",
            domain="chaoreum-design",
            phone="+82 2 555 0118",
            seats=5,
            plan="starter",
        ),
        hours_ago=6,
        state="approved",
    ),
)

CUSTOMERS = (
    Customer(  # pays by card, month after month
        company=Company(
            name="주식회사 한빛도면",
            number="1018612346",
            domain="hanbit-drawing",
            phone="+82 2 555 0119",
            seats=12,
            plan="team",
        ),
        approved_days_ago=80,
        converted_days_ago=68,
        card=PAYS,
        members=13,
    ),
    Customer(  # pays by transfer; the second invoice is awaited
        company=Company(
            name="(주)새길건축사사무소",
            number="1388118051",
            domain="saegil-arch",
            phone="+82 2 555 0120",
            seats=8,
            plan="team",
        ),
        approved_days_ago=49,
        converted_days_ago=36,
        transfers_after_days=(6,),
        members=6,
    ),
    Customer(  # the card never has the money: past due
        company=Company(
            name="(주)누리기계",
            number="2128129477",
            domain="nuri-machine",
            phone="+82 2 555 0121",
            seats=34,
            plan="studio",
        ),
        approved_days_ago=33,
        converted_days_ago=20,
        card=DECLINES_ALWAYS,
        members=9,
    ),
    Customer(  # the card declines twice and pays at the third try
        company=Company(
            name="주식회사 다온구조엔지니어링",
            number="2498635184",
            domain="daon-structure",
            phone="+82 2 555 0122",
            seats=30,
            plan="studio",
        ),
        approved_days_ago=26,
        converted_days_ago=12,
        card=DECLINES_TWICE,
        members=7,
    ),
    Customer(  # a company abroad, billed in dollars
        company=Company(
            name="Northshore Joinery Ltd",
            domain="northshore-joinery",
            phone="+44 20 7946 0301",
            seats=9,
            plan="team",
            country="GB",
        ),
        approved_days_ago=22,
        converted_days_ago=9,
        card=PAYS,
        members=5,
    ),
    Customer(  # a trial that ran out
        company=Company(
            name="주식회사 가온설비",
            number="1758123761",
            domain="gaon-hvac",
            phone="+82 2 555 0124",
            seats=3,
            plan="starter",
        ),
        approved_days_ago=24,
        members=2,
    ),
    Customer(  # a trial that runs
        company=Company(
            name="(주)자연토목",
            number="5088175154",
            domain="jayeon-civil",
            phone="+82 2 555 0143",
            seats=11,
            plan="team",
        ),
        approved_days_ago=11,
        members=4,
    ),
)
