"""Who plays: the prospects of the table, what they bring, and the cards they pay with."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "demo drawings stay private"  # noqa: S105 - for a system that lives for two minutes
STAFF = {"sales": "sales@tenantry.example", "finance": "finance@tenantry.example"}
# What the sandbox gateway's test numbers do; see its registration page.
CARDS = {
    "card": "4242424242424242",
    "card_declines_once": "4000000000000101",
    "card_hangs": "4000000000000408",
}
# Stories whose companies become customers, in the words of the table.
PAYING = ("card", "card_declines_once", "card_hangs", "transfer")
REFUSED = ("bad_registration_number", "bad_email")


@dataclass(frozen=True)
class Prospect:
    """One row of the table."""

    company: str
    country: str
    registration_number: str
    contact_name: str
    email: str
    phone: str
    seats: int
    plan: str
    language: str
    message: str
    story: str

    @property
    def form(self) -> dict[str, str]:
        """What they type into the trial form."""
        return {
            "company": self.company,
            "country": self.country,
            "registration_number": self.registration_number,
            "contact_name": self.contact_name,
            "email": self.email,
            "phone": self.phone,
            "seats_expected": str(self.seats),
            "plan_code": self.plan,
            "message": self.message,
        }

    @property
    def domain(self) -> str:
        """What stands behind the @ of their mail."""
        return self.email.rpartition("@")[2]

    def colleague(self, number: int) -> str:
        """The address of a colleague whom they invite."""
        return f"member{number}@{self.domain}"


def read(path: Path) -> list[Prospect]:
    """This function will read the table of prospects."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Prospect(**{**row, "seats": int(row["seats"])})  # type: ignore[arg-type]  # the other fields are text
            for row in csv.DictReader(file)
        ]


def dxf(*, lines: int, size: int = 1000) -> bytes:
    """This function will draw `lines` lines as a DXF file (R12, text)."""
    head = "0\nSECTION\n2\nHEADER\n9\n$ACADVER\n1\nAC1009\n0\nENDSEC\n0\nSECTION\n2\nENTITIES\n"
    line = "0\nLINE\n8\nWALL\n10\n{}.0\n20\n0.0\n11\n{}.0\n21\n{}.0\n"
    body = "".join(
        line.format((i * 37) % size, (i * 53) % size, (i * 71) % size) for i in range(lines)
    )
    return (head + body + "0\nENDSEC\n0\nEOF\n").encode()


def pdf(text: str) -> bytes:
    """This function will make a small PDF of one page that says `text` (ASCII)."""
    stream = f"BT /F1 18 Tf 72 720 Td ({text}) Tj ET".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        out.index(b"xref\n"),
    )
