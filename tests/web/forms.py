"""What a person does with a form: open the page, fill it in, send it with its hidden token."""

from __future__ import annotations

import re
from typing import Any

from app.base import accounts, clock
from app.base.audit import SYSTEM
from app.base.db import control_session

PASSWORD = "correct horse battery staple"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def csrf_token(client: Any, page: str) -> str:
    """This function will open a page and return the token of its forms."""
    found = _TOKEN.search(client.get(page).text)
    assert found, f"{page} has no form"
    return found.group(1)


def send(client: Any, page: str, fields: dict[str, Any], *, to: str | None = None) -> Any:
    """This function will send a form of `page` (to another address when `to` is given)."""
    return client.post(
        to or page, data={"csrf_token": csrf_token(client, page), **fields}, follow_redirects=False
    )


def admit(page: Any, door: str, *, email: str, password: str) -> None:
    """This function will sign a browser's reader in without drawing the form nor what follows it.

    For walks, which say themselves where they begin; whoever tells a story types.
    """
    found = _TOKEN.search(page.request.get(f"{door}/sign-in").text())
    assert found, f"{door} has no form to sign in"
    fields = {"csrf_token": found.group(1), "email": email, "password": password}
    answer = page.request.post(f"{door}/sign-in", form=fields, max_redirects=0)
    assert answer.status == 303, answer.text()


def staff_member(role: str = "admin", email: str | None = None) -> str:
    """This function will make a member of staff with PASSWORD and return their e-mail."""
    address = email or f"{role}@tenantry.example"
    with control_session() as session:
        staff = accounts.add_staff(
            control_session=session,
            email=address,
            name=f"The {role}",
            role=role,
            actor=SYSTEM,
            now=clock.now(),
        )
        accounts.set_staff_password(
            control_session=session, staff_id=staff.id, password=PASSWORD, now=clock.now()
        )
    return address


def sign_in_staff(client: Any, role: str = "admin") -> Any:
    """This function will sign a new member of staff in and return the client."""
    email = staff_member(role)
    answer = send(client, "/console/sign-in", {"email": email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return client
