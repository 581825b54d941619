"""Mails are laid out by their files alone; what strangers typed into a value stays text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.base import messages

LINK = "https://tenantry.example/workspace/welcome/x"


def invitation(**names: str) -> tuple[str, str, str]:
    context: dict[str, Any] = {
        "slug": "x",
        "company": "한빛정밀",
        "member_name": "새 사람",
        "invited_by": "관리자",
        "link": LINK,
        "valid_days": 7,
    }
    return messages.render(
        room="tenants", name="member_invited", language="ko", context=context | names
    )


class TestAValue:
    @pytest.mark.parametrize(
        "name",
        [
            "-> Sign in | https://evil.example/",
            " -> Sign in | https://evil.example/",
            "x\n\n-> Sign in | https://evil.example/",
            "x\r\n \r\n-> Sign in | https://evil.example/",
            "{{ s.secret_keys }}-> {% raw %} | https://evil.example/",
        ],
    )
    @pytest.mark.parametrize("field", ["invited_by", "member_name", "company"])
    def test_never_becomes_a_button(self, field: str, name: str) -> None:
        _subject, text, html = invitation(**{field: name})
        assert html.count("<a ") == 1
        assert f'<a href="{LINK}"' in html
        assert "https://evil.example/" in text

    def test_with_markup_is_shown_as_it_was_typed(self) -> None:
        _subject, text, html = invitation(member_name="<a href=//evil.example>& me")
        assert "<a href=//evil" not in html
        assert "&lt;a href=//evil.example&gt;&amp; me" in html
        assert "<a href=//evil.example>& me" in text

    def test_with_a_line_break_makes_no_second_line_of_the_subject(self) -> None:
        subject, _text, _html = invitation(company="x\nBcc: a@b.example")
        assert subject.splitlines() == [subject]


def test_a_reason_is_quoted_in_both_forms() -> None:
    application = SimpleNamespace(reference="A-1", contact_name="새 사람", company="한빛정밀")
    _subject, text, html = messages.render(
        room="tenants",
        name="application_rejected",
        language="ko",
        context={"application": application, "reason": "하나\n<둘>", "link": LINK},
    )
    assert "> 하나\n> <둘>" in text
    assert "&gt; " not in html
    assert ">하나</span>" in html
    assert ">&lt;둘&gt;</span>" in html
