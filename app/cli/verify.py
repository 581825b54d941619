"""`flask verify`: issued invoices worked out again; ends with 1 and names what differs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from sqlalchemy import text

from app.base.db import control_session
from app.base.errors import NotFound
from invoices import verifying
from invoices.verifying import Verdict


@click.command("verify")
@click.argument("invoice", required=False)
@click.option("--all", "every", is_flag=True, help="Every invoice that was ever issued.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def verify_command(*, invoice: str | None, every: bool, as_json: bool) -> None:
    """Work issued invoices out again from their evidence, to the minor unit.

    INVOICE is a number such as INV-2026-000123, or an id.
    """
    if bool(invoice) == every:
        raise click.UsageError("Name one invoice, or say --all.")
    counts = {"invoices": 0, "different": 0, "apart": 0, "old_lines": 0}
    # One snapshot: an invoice that is issued meanwhile is either wholly there or not at all.
    with control_session() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        if invoice is None:
            verdicts = verifying.verify_all(control_session=session)
        else:
            try:
                found = verifying.find(control_session=session, name=invoice)
            except NotFound as error:
                raise click.ClickException(error.message) from error
            verdicts = iter(verifying.verify(control_session=session, invoice_ids=[found]))
        for verdict in verdicts:
            counts["invoices"] += 1
            counts["different"] += bool(verdict.differences)
            counts["apart"] += bool(verdict.apart)
            counts["old_lines"] += verdict.old_lines
            if verdict.differences or verdict.apart or not every:
                click.echo(_json(verdict) if as_json else _words(verdict))
    click.echo(json.dumps(counts) if as_json else _summary(counts))
    sys.exit(1 if counts["different"] else 0)


def _json(verdict: Verdict) -> str:
    shown = asdict(verdict) | {"invoice_id": str(verdict.invoice_id)}
    return json.dumps(shown, ensure_ascii=False)


def _words(verdict: Verdict) -> str:
    if not verdict.differences:
        return f"{verdict.number} ok{_apart(verdict)}"
    side = "what it was made from was changed" if verdict.as_issued else "the invoice was changed"
    lines = [f"{verdict.number} DIFFERS: {side}{_apart(verdict)}"]
    for each in verdict.differences:
        place = f"line {each.line}, " if each.line else ""
        lines.append(f"    {place}{each.what}: expected {each.expected}, found {each.found}")
    return "\n".join(lines)


def _apart(verdict: Verdict) -> str:
    return f" ({verdict.apart})" if verdict.apart else ""


def _summary(counts: dict[str, int]) -> str:
    said = f"{counts['invoices']} invoices verified, {counts['different']} differ"
    if counts["apart"]:
        said += f"; {counts['apart']} of erased tenants, as far as what is set apart tells"
    if counts["old_lines"]:
        said += f"; {counts['old_lines']} lines from before steps were kept, by what they keep"
    return said
