"""`flask whatif`: what subscribers would have paid under another price list."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import click
from sqlalchemy import text

from app.base import clock
from app.base.db import control_session, usage_session
from app.base.money import Money
from app.base.spreadsheets import disarmed

if TYPE_CHECKING:
    from invoices.plan_terms import PlanTerms
    from invoices.whatif import Compared

SHOWN = 10
# Bounds of the chart's bars, in percent of what was paid.
_BOUNDS = (-50, -20, -5, 5, 20, 50)
_BAR, _GAP, _HEIGHT, _FOOT = 84, 12, 220, 56


@click.command("whatif")
@click.option("--plan", required=True, help="The code of the plan to compare with.")
@click.option("--currency", default="KRW", show_default=True, help="Whose subscribers.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A catalogue file with the plan's new terms; without it those on offer now.",
)
@click.option("--months", default=6, show_default=True, type=click.IntRange(1, 36))
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write every subscriber.")
@click.option("--chart", type=click.Path(path_type=Path), help="Write a chart (SVG).")
def whatif_command(
    *,
    plan: str,
    currency: str,
    file: Path | None,
    months: int,
    table: Path | None,
    chart: Path | None,
) -> None:
    """Rate past usage anew under a plan's prices: winners, losers and the total.

    Nothing is written to the database. The comparison is at list prices, before tax.
    """
    from invoices import whatif  # noqa: PLC0415 - loaded by this command alone
    from invoices.whatif import Compared, LeftOut  # noqa: PLC0415

    with control_session() as control, usage_session() as usage:
        control.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        found = list(
            whatif.compare(
                control_session=control,
                usage_session=usage,
                terms=_terms(control, plan, currency, file),
                months=months,
                now=clock.now(),
            )
        )
    compared = [each for each in found if isinstance(each, Compared)]
    for left_out in (each for each in found if isinstance(each, LeftOut)):
        click.echo(f"left out: {left_out.tenant_name} ({left_out.why})")
    _show(compared, currency)
    if table is not None:
        _write_table(compared, currency, table)
    if chart is not None:
        chart.write_text(drawn(compared, plan), encoding="utf-8")


def _terms(control: Any, plan: str, currency: str, file: Path | None) -> PlanTerms:
    from invoices import catalogue, catalogue_file  # noqa: PLC0415

    if file is None:
        version = catalogue.newest(control_session=control, plan_code=plan, currency=currency)
        return catalogue.terms_of(version, position=0)
    written = catalogue_file.read(
        file.read_text(encoding="utf-8"), meters=catalogue.meters(control_session=control)
    )
    for terms in written.plans:
        if (terms.plan_code, terms.currency) == (plan, currency):
            return terms
    raise click.ClickException(f"{file} has no plan {plan} in {currency}.")


def _show(compared: Sequence[Compared], currency: str) -> None:
    ranked = sorted(compared, key=lambda each: each.difference_minor)
    shown = ranked if len(ranked) <= 2 * SHOWN else [*ranked[:SHOWN], *ranked[-SHOWN:]]
    for place, each in enumerate(shown):
        if len(shown) < len(ranked) and place == SHOWN:
            click.echo(f"… {len(ranked) - len(shown)} between")
        click.echo(
            f"{each.tenant_name:<30.30} {each.plan_code:<12.12}"
            f" {Money(each.before_minor, currency)!s:>16} →"
            f" {Money(each.after_minor, currency)!s:>16}"
            f" {Money(each.difference_minor, currency)!s:>16}"
        )
    before = Money(sum(each.before_minor for each in compared), currency)
    after = Money(sum(each.after_minor for each in compared), currency)
    less = sum(each.difference_minor < 0 for each in compared)
    more = sum(each.difference_minor > 0 for each in compared)
    click.echo(
        f"{len(compared)} subscribers: {before} → {after} ({after - before});"
        f" {less} would have paid less, {more} more"
    )


def _write_table(compared: Sequence[Compared], currency: str, path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(
            (
                "tenant_id",
                "tenant",
                "plan",
                "from",
                "until",
                "currency",
                "before",
                "after",
                "difference",
            )
        )
        for each in compared:
            rows.writerow(
                (
                    each.tenant_id,
                    disarmed(each.tenant_name),
                    each.plan_code,
                    each.start.isoformat(),
                    each.end.isoformat(),
                    currency,
                    Money(each.before_minor, currency).units,
                    Money(each.after_minor, currency).units,
                    Money(each.difference_minor, currency).units,
                )
            )


def drawn(compared: Sequence[Compared], plan: str) -> str:
    """This function will draw how many would have paid how much less or more, as SVG."""
    names = [
        f"< {_BOUNDS[0]} %",
        *(f"{low} … {high} %" for low, high in pairwise(_BOUNDS)),
        f"≥ {_BOUNDS[-1]} %",
    ]
    counts = [0] * len(names)
    for each in compared:
        counts[sum(_percent(each) >= bound for bound in _BOUNDS)] += 1
    most = max([*counts, 1])
    width = len(names) * (_BAR + _GAP) + _GAP
    bars = []
    for place, (name, many) in enumerate(zip(names, counts, strict=True)):
        left, tall = _GAP + place * (_BAR + _GAP), round(_HEIGHT * many / most)
        colour = "#2f7d4f" if place < 3 else "#6b7280" if place == 3 else "#b45309"
        middle = left + _BAR // 2
        bars.append(
            f'<rect x="{left}" y="{24 + _HEIGHT - tall}" width="{_BAR}" height="{tall}" rx="3"'
            f' fill="{colour}"/>'
            f'<text x="{middle}" y="{18 + _HEIGHT - tall}" text-anchor="middle">{many}</text>'
            f'<text x="{middle}" y="{_HEIGHT + 44}" text-anchor="middle">{escape(name)}</text>'
        )
    title = f"Change of price under {plan}: {len(compared)} subscribers"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" font-family="sans-serif"'
        f' font-size="12" viewBox="0 0 {width} {_HEIGHT + _FOOT}"><title>{escape(title)}</title>'
        f"{''.join(bars)}</svg>\n"
    )


def _percent(each: Compared) -> int:
    """Whole percents, towards less; from nothing to something counts as twice as much."""
    if each.before_minor == 0:
        return 0 if each.after_minor == 0 else 100
    return each.difference_minor * 100 // each.before_minor
