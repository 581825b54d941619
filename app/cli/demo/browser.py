"""A person's browser, as far as the demonstration needs one: pages, forms, links, cookies."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx

from app.base import authorities
from app.base.errors import TenantryError

TIMEOUT_SECONDS = 30.0


class DidNotWork(TenantryError):
    """A page did not do what a person there would expect of it."""


@dataclass
class Form:
    """A form as it stands on a page: where it goes and what it holds before anybody types."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """An answer: its address, status, text, forms and links."""

    url: str
    status: int
    text: str
    content: bytes
    forms: list[Form]
    links: list[str]

    def form(self, *, action: str = "", having: str = "") -> Form:
        """This function will find the form whose action holds `action` and that has a field.

        Raises: DidNotWork when the page has none.
        """
        for found in self.forms:
            if action in found.action and (not having or having in found.fields):
                return found
        raise DidNotWork(f"{self.url} ({self.status}) has no form {action or having!r}")

    def link(self, part: str) -> str:
        """This function will return the first link whose address holds `part`."""
        for found in self.links:
            if part in found:
                return found
        raise DidNotWork(f"{self.url} has no link to {part!r}")


class Browser:
    """One person's cookies and language; every answer of 5xx is a failure of the demonstration."""

    def __init__(self, site: str, *, language: str = "ko") -> None:
        self.site = site.rstrip("/")
        self.requests = 0
        self._client = httpx.Client(
            verify=authorities.trusted(at=site),
            follow_redirects=True,
            timeout=TIMEOUT_SECONDS,
            headers={"Accept-Language": language, "User-Agent": "Tenantry-demo"},
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def open(self, address: str, *, expect: int | tuple[int, ...] = 200, **query: Any) -> Page:
        """This function will open a page and follow where it leads.

        Raises: DidNotWork when the answer's status is none of those expected.
        """
        url = urljoin(self.site + "/", address)
        return self._page(self._client.get(url, params=query or None), expect)

    def send(
        self,
        page: Page,
        values: dict[str, Any],
        *,
        action: str = "",
        having: str = "",
        files: dict[str, Any] | None = None,
        expect: int = 200,
    ) -> Page:
        """This function will fill in a form of a page, send it and follow where it leads.

        Raises: DidNotWork when there is no such form or the answer is not as expected.
        """
        form = page.form(action=action, having=having)
        target = urljoin(page.url, form.action or page.url)
        body = {**form.fields, **{name: str(value) for name, value in values.items()}}
        if form.method == "get":
            return self._page(self._client.get(target, params=body), expect)
        headers = {"Referer": page.url}
        return self._page(
            self._client.post(target, data=body, files=files, headers=headers), expect
        )

    def _page(self, answer: httpx.Response, expect: int | tuple[int, ...]) -> Page:
        self.requests += 1
        expected = (expect,) if isinstance(expect, int) else expect
        html = "html" in answer.headers.get("content-type", "")
        reader = _Reader()
        if html:
            reader.feed(answer.text)
        if answer.status_code not in expected:
            said = " ".join(reader.words)[:400] if html else answer.text[:400]
            raise DidNotWork(
                f"{answer.request.method} {answer.request.url.path} answered "
                f"{answer.status_code}, expected {' or '.join(map(str, expected))}: {said}"
            )
        return Page(
            url=str(answer.url),
            status=answer.status_code,
            text=answer.text if html else "",
            content=answer.content,
            forms=reader.forms,
            links=[urljoin(str(answer.url), link) for link in reader.links],
        )


class _Reader(HTMLParser):
    """Collects forms with their preset values, links, and the words of the main part."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._select: str | None = None
        self._textarea: str | None = None
        self._main = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "main":
            self._main = True
        elif self._form is not None and values.get("name"):
            self._field(tag, values)
        elif tag == "option" and self._select and self._form is not None:
            first = self._select not in self._form.fields
            if first or "selected" in values:
                self._form.fields[self._select] = values.get("value", "")

    def _field(self, tag: str, values: dict[str, str]) -> None:
        assert self._form is not None
        name, kind = values["name"], values.get("type", "text")
        if tag == "select":
            self._select = name
        elif tag == "textarea":
            self._textarea = name
            self._form.fields[name] = ""
        elif tag == "input" and kind in ("checkbox", "radio"):
            if "checked" in values:
                self._form.fields[name] = values.get("value", "on")
        elif tag == "input" and kind not in ("submit", "file", "button"):
            self._form.fields[name] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None
        elif tag == "main":
            self._main = False

    def handle_data(self, data: str) -> None:
        if self._textarea and self._form is not None:
            self._form.fields[self._textarea] += data
        elif self._main and data.strip():
            self.words.append(data.strip())
