"""Takes the pictures of the guides and of the public site's road, from a system of its own.

    .venv/bin/python docs/screenshots.py [NAME …]

A whole scratch system with the demo's ten weeks in it, looked at with Chromium, signed in with the
demo's logins. Needs the test requirements (`bin/test` installs them), Chromium, and pdftoppm from
poppler-utils for the papers. With names, only those pictures are taken.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

import httpx  # noqa: E402 - the checkout has to be found first
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from app.cli.demo.mailbox import Mailbox  # noqa: E402
from app.embedded.system import System, logins, start_system  # noqa: E402
from app.embedded.system_libraries import find_browser  # noqa: E402

GUIDE = CHECKOUT / "docs" / "guide" / "screens"
ROAD = CHECKOUT / "app" / "web" / "static" / "screens"
LANGUAGES = ("ko", "en")
WIDTH, HEIGHT = 1280, 800
COLOURS = 96
# The road's pictures are small: each shows a part of a narrow page.
CLOSE = {"zoom": 2.6, "height": 4000}
PATIENCE_SECONDS = 180

# Who is shown to readers of each language: a customer who pays, and one on trial.
PAYING = {"ko": "buyer@hanbit-drawing.example", "en": "buyer@northshore-joinery.example"}
TRIAL = "buyer@jayeon-civil.example"
TRANSFER = "buyer@saegil-arch.example"
WAITING = {"ko": "바른측량", "en": "Cedar Loop"}
APPLICANT = {"ko": "buyer@seorim-landscape.example", "en": "buyer@cedarloop-fab.example"}
FORM = {
    "ko": {
        "company": "주식회사 온누리플랜트",
        "registration_number": "471-81-69442",
        "contact_name": "구매 담당",
        "email": "buyer@onnuri-plant.example",
        "phone": "02-555-0100",
    },
    "en": {
        "company": "Harbour Lane Studio Ltd",
        "contact_name": "Purchasing",
        "email": "office@harbour-lane.example",
        "phone": "+44 20 7946 0301",
    },
}


@dataclass(frozen=True)
class Visit:
    """One reader in front of the running system."""

    system: System
    browser: Browser
    language: str
    passwords: dict[str, str]

    @property
    def site(self) -> str:
        """The address of the pages, without the last slash."""
        return self.system.addresses["site"].rstrip("/")

    @contextmanager
    def page(
        self, *, as_: str = "", at: str = "", zoom: float = 1.0, height: float = HEIGHT
    ) -> Iterator[Page]:
        """A page of that reader's browser, signed in at `at` (console or portal) if `as_` is set.

        `zoom` shows less of the page and larger; the picture's size stays.
        """
        context = self.browser.new_context(
            viewport={"width": round(WIDTH / zoom), "height": round(height / zoom)},
            device_scale_factor=zoom,
            locale={"ko": "ko-KR", "en": "en-GB"}[self.language],
            reduced_motion="reduce",
        )
        page = context.new_page()
        try:
            if as_:
                page.goto(f"{self.site}/{at}/sign-in")
                sign_in(page, as_, self.passwords[as_])
            yield page
        finally:
            context.close()


def sign_in(page: Page, email: str, password: str) -> None:
    """Fill in a sign-in form, whichever it is."""
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("main button[type=submit], button[type=submit]")
    page.wait_for_url(lambda url: "sign-in" not in url)


Picture = Callable[[Visit], Image.Image]
GUIDE_PICTURES: dict[str, Picture] = {}
ROAD_PICTURES: dict[str, Picture] = {}


def guide(picture: Picture) -> Picture:
    """Keep a function as a picture of the guides, under its name."""
    GUIDE_PICTURES[picture.__name__.replace("_", "-")] = picture
    return picture


def road(picture: Picture) -> Picture:
    """Keep a function as a picture of the road on the public site, under its name."""
    ROAD_PICTURES[picture.__name__.replace("_", "-")] = picture
    return picture


def taken(page: Page) -> Image.Image:
    """The part of the page that is in view, once its fonts are there and nothing has the focus."""
    page.evaluate("() => document.fonts.ready")
    page.evaluate("() => document.activeElement?.blur()")
    return Image.open(io.BytesIO(page.screenshot()))


def close_up(page: Page, selector: str) -> Image.Image:
    """The part of a narrow page that begins a little above an element, in the road's shape."""
    page.evaluate("() => document.fonts.ready")
    page.evaluate("() => document.activeElement?.blur()")
    box = page.locator(selector).first.bounding_box()
    if box is None:
        raise SystemExit(f"{page.url} shows no {selector}.")
    width = round(WIDTH / CLOSE["zoom"])
    top = max(box["y"] - 16, 0)
    clip = {"x": 0, "y": top, "width": width, "height": width * HEIGHT / WIDTH}
    return Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))


@guide
def review_queue(visit: Visit) -> Image.Image:
    with visit.page(as_="sales@tenantry.example", at="console") as page:
        page.goto(f"{visit.site}/console/review")
        return taken(page)


@guide
def review_details(visit: Visit) -> Image.Image:
    with visit.page(as_="sales@tenantry.example", at="console") as page:
        page.goto(f"{visit.site}/console/review")
        page.click(f"[data-row-link]:has-text('{WAITING[visit.language]}')")
        return taken(page)


@guide
def attention(visit: Visit) -> Image.Image:
    with visit.page(as_="finance@tenantry.example", at="console") as page:
        page.goto(f"{visit.site}/console/attention")
        return taken(page)


@guide
def invoices(visit: Visit) -> Image.Image:
    with visit.page(as_="finance@tenantry.example", at="console") as page:
        page.goto(f"{visit.site}/console/invoices")
        return taken(page)


@guide
def invoice(visit: Visit) -> Image.Image:
    with visit.page(as_="finance@tenantry.example", at="console", height=1200) as page:
        page.goto(f"{visit.site}/console/invoices")
        page.click("tr:has-text('한빛도면') [data-row-link]")
        return taken(page)


@guide
def portal(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal") as page:
        page.goto(f"{visit.site}/portal/")
        return taken(page)


@guide
def convert(visit: Visit) -> Image.Image:
    with visit.page(as_=TRIAL, at="portal", height=1400) as page:
        page.goto(f"{visit.site}/portal/plan/convert?method=transfer")
        return taken(page)


@road
def hero(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal") as page:
        _enter(visit, page)
        page.goto(f"{visit.site}/workspace/drawings")
        page.evaluate("() => document.querySelector('main table').scrollIntoView()")
        page.mouse.wheel(0, -92)
        return taken(page)


@road
def apply(visit: Visit) -> Image.Image:
    with visit.page(**CLOSE) as page:
        page.goto(f"{visit.site}/trial")
        if visit.language == "en":
            page.select_option("select[name=country]", "GB")
        for name, text in FORM[visit.language].items():
            page.fill(f"input[name={name}]", text)
        return close_up(page, "label[for$=contact_name]")


@road
def review(visit: Visit) -> Image.Image:
    link = Mailbox(visit.system.addresses["mailbox"]).link(APPLICANT[visit.language], "/status/")
    with visit.page(**CLOSE) as page:
        page.goto(link)
        return close_up(page, "main h1")


@road
def workspace(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal", **CLOSE) as page:
        page.goto(f"{visit.site}/portal/")
        return close_up(page, "main h1")


@road
def invite(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal", **CLOSE) as page:
        _enter(visit, page)
        page.goto(f"{visit.site}/workspace/members")
        return close_up(page, "main table")


def _enter(visit: Visit, page: Page) -> None:
    page.goto(f"{visit.site}/portal/")
    page.click("form[action$='/workspace'] button")
    page.wait_for_url("**/workspace/**")


@road
def usage(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal", **CLOSE) as page:
        page.goto(f"{visit.site}/portal/plan")
        return close_up(page, "main .stat")


@road
def payment(visit: Visit) -> Image.Image:
    with visit.page(as_=PAYING[visit.language], at="portal", **CLOSE) as page:
        page.goto(f"{visit.site}/portal/payment")
        return close_up(page, "main h2")


@road
def paper_invoice(visit: Visit) -> Image.Image:
    paper = _paper(visit, PAYING[visit.language], rf"INV-[0-9-]+-{visit.language}\.pdf")
    return paper.crop((80, 420, 1200, 1120))


@road
def paper_receipt(visit: Visit) -> Image.Image:
    if visit.language == "ko":
        paper = _paper(visit, TRANSFER, r"TAX-[0-9]+-buyer\.pdf", latest=False)
        return paper.crop((80, 40, 1200, 740))
    return _paper(visit, PAYING["en"], r"RCT-[0-9-]+-en\.pdf").crop((80, 80, 1200, 780))


def _paper(visit: Visit, email: str, name: str, *, latest: bool = True) -> Image.Image:
    """The first page of a paper, as the portal hands it out and poppler draws it."""
    with visit.page(as_=email, at="portal") as page:
        page.goto(f"{visit.site}/portal/invoices")
        addresses = [link.get_attribute("href") for link in page.locator("[data-row-link]").all()]
        page.goto(visit.site + str(addresses[0 if latest else -1]))
        for link in page.locator("a[href*='/papers/']").all():
            answer = page.request.get(visit.site + str(link.get_attribute("href")))
            if re.search(name, answer.headers.get("content-disposition", "")):
                return _drawn(answer.body())
    raise SystemExit(f"No paper {name} in the portal of {email}.")


def _drawn(pdf: bytes) -> Image.Image:
    tool = shutil.which("pdftoppm") or sys.exit("Install pdftoppm: apt-get install poppler-utils")
    done = subprocess.run(
        [tool, "-png", "-f", "1", "-l", "1", "-scale-to-x", str(WIDTH), "-scale-to-y", "-1", "-"],
        input=pdf,
        capture_output=True,
        check=True,
    )
    return Image.open(io.BytesIO(done.stdout))


def save(image: Image.Image, path: Path) -> None:
    """Write a picture with few colours: they are pages, and small to load."""
    path.parent.mkdir(parents=True, exist_ok=True)
    few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(CHECKOUT)}  {path.stat().st_size // 1000} kB\n")


def settle(system: System) -> None:
    """Wait until every mail is sent and every paper printed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = re.compile(r'tenantry_rows\{state="due",table="(?:message|document)"\} ([0-9.]+)')
    while time.monotonic() < deadline:
        figures = httpx.get(system.addresses["site"] + "metrics", timeout=10, trust_env=False)
        if not any(float(count) for count in waiting.findall(figures.text)):
            return
        time.sleep(0.5)
    raise SystemExit("Mails and papers did not come to an end.")


def main(wanted: list[str]) -> None:
    """Start the system, take the pictures, stop it."""
    chromium = find_browser() or sys.exit("Install Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="tenantry-screens-") as folder:
        # The demonstration's environment: nobody counts how often we sign in.
        system = start_system(Path(folder), environment="demo", seed=True)
        try:
            settle(system)
            passwords = {entry["email"]: entry["password"] for entry in logins(Path(folder))}
            with sync_playwright() as playwright:
                for language in LANGUAGES:
                    # Date fields speak the browser's own language, whatever the page's is.
                    browser = playwright.chromium.launch(
                        executable_path=str(chromium),
                        args=["--no-sandbox", "--disable-dev-shm-usage", f"--lang={language}"],
                        env={**os.environ, "LANGUAGE": language},
                    )
                    take(Visit(system, browser, language, passwords), wanted)
                    browser.close()
        finally:
            system.stop()


def take(visit: Visit, wanted: list[str]) -> None:
    """Take the wanted pictures in one language."""
    for name, picture in GUIDE_PICTURES.items():
        if not wanted or name in wanted:
            save(picture(visit), GUIDE / f"{name}.{visit.language}.png")
    for name, picture in ROAD_PICTURES.items():
        if not wanted or name in wanted:
            step = name.removeprefix("paper-")
            save(picture(visit), ROAD / f"road-{step}.{visit.language}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
