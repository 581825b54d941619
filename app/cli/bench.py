"""`flask bench NAME`: how fast we are, against a floor or a limit measured in the same run.

Each bench works in a control database made for it, in the same cluster, and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click
import psycopg

from app.base import clock
from app.base.db import control_session
from app.cli.bench_scratch import scratch_control, turn_to


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: `ratio` is ours over the floor; `bar` is what the ratio must keep to."""

    name: str
    ours: float
    floor: float
    ratio: float
    bar: float
    better: str
    unit: str
    n: int

    @property
    def holds(self) -> bool:
        """True when the bar is kept."""
        return self.ratio <= self.bar if self.better == "lower" else self.ratio >= self.bar


@dataclass(frozen=True, slots=True)
class Asked:
    """How large a bench is to be; each reads what concerns it."""

    n: int | None
    months: int
    stored: int
    events: int
    calls: int = 0
    tenants: int = 0
    subscriptions: int = 0
    schedules: int = 0
    seeds: int = 0
    first_seed: int = 0
    jobs: int | None = None


@click.command("bench")
@click.argument(
    "name",
    type=click.Choice(
        [
            *("provision", "documents", "papers", "pages", "ingest", "rollup", "live-usage"),
            *("entitlements", "webhooks", "model", "billing", "crash-billing", "crash"),
        ]
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--n", type=click.IntRange(1, 10_000), help="How often each thing is done.")
@click.option(
    "--months",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    help="pages only: months of a thousand subscriptions; less is a quick look.",
)
@click.option(
    "--stored",
    type=click.IntRange(1_000, 100_000_000),
    default=5_000_000,
    show_default=True,
    help="ingest only: events that lie there before; less is a quick look.",
)
@click.option(
    "--calls",
    type=click.IntRange(4, 10_000),
    default=150,
    show_default=True,
    help="ingest only: calls a round; less is a quick look.",
)
@click.option(
    "--tenants",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="entitlements only: tenants that are asked for; less is a quick look.",
)
@click.option(
    "--events",
    type=click.IntRange(1_000, 100_000_000),
    default=10_000_000,
    show_default=True,
    help="rollup and live-usage only: raw events; less is a quick look.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10_000_000),
    default=500,
    show_default=True,
    help="model only: how many drawn histories engine and model are compared over.",
)
@click.option("--first-seed", type=click.IntRange(0), default=0, help="model and the crashes only.")
@click.option(
    "--subscriptions",
    type=click.IntRange(100, 1_000_000),
    default=10_000,
    show_default=True,
    help="billing only: with five lines each; it also runs a tenth and five times as many.",
)
@click.option(
    "--schedules",
    type=click.IntRange(1, 1_000_000),
    default=30,
    show_default=True,
    help="crash-billing and crash only: drawn histories, whose workers are killed.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="model only; all cores without it.")
def bench_command(*, name: str, as_json: bool, **asked: Any) -> None:
    """Measure NAME, against a floor or a limit of its own."""
    try:
        for figure in BENCHES[name](Asked(**asked)):
            if as_json:
                click.echo(json.dumps(asdict(figure), ensure_ascii=False))
            else:
                verdict = "ok  " if figure.holds else "OVER"
                click.echo(
                    f"{verdict} {figure.name:<48} {figure.ours:9.2f} {figure.unit}"
                    f"  floor {figure.floor:.2f}  ratio {figure.ratio:.2f} (bar {figure.bar})"
                )
    except psycopg.OperationalError as error:
        raise click.ClickException(
            "A bench makes a database of its own: DATABASE_URL must name the administrator "
            f"({type(error).__name__})."
        ) from error


def provision(asked: Asked) -> Iterator[Figure]:
    """This function will compare making a tenant with a bare CREATE DATABASE … TEMPLATE, and hold
    the whole way from an approval to the trial to its limit.
    """
    from app.cli.bench_approval import LIMIT_SECONDS, approvals_to_trials  # noqa: PLC0415
    from tenants.bench import compare_provisioning  # noqa: PLC0415 - each bench loads its own

    times = asked.n or 20
    with scratch_control():
        ours, floor = compare_provisioning(n=times, transaction=control_session, now=clock.now())
        whole = approvals_to_trials(n=times)
    yield compared(
        "provision", statistics.median(ours) * 1000, statistics.median(floor) * 1000, 3.0, times
    )
    name = "provision: approval to trial, by dispatcher and worker"
    yield compared(name, statistics.median(whole) * 1000, LIMIT_SECONDS * 1000, 1.0, times)


def documents(asked: Asked) -> Iterator[Figure]:
    """This function will compare printing with a bare warm render of the same HTML, and workers
    with one of a plain template, and two of them with one.
    """
    from app.cli.bench_documents import compare_workers  # noqa: PLC0415 - likewise
    from invoices.documents.bench import compare_render  # noqa: PLC0415 - likewise

    times = asked.n or 50
    ours, floor = compare_render(times)
    yield compared("documents", ours * 1000, floor * 1000, 1.3, times)
    with scratch_control():
        took = compare_workers(asked.n or 1000)
    each_ms = 1000 / took.papers
    name = "documents: a worker, against a plain template"
    yield compared(name, took.one * each_ms, took.plain * each_ms, 0.7, took.papers)
    one, two = took.papers / took.one, took.papers / took.two
    yield Figure(
        "documents: two workers, against one",
        *(round(two, 2), round(one, 2), round(two / one, 3)),
        bar=1.7,
        better="higher",
        unit="papers/s",
        n=took.papers,
    )


def papers(asked: Asked) -> Iterator[Figure]:
    """This function will compare making tax invoices with the bare signature of the same bytes."""
    from invoices.tax_papers.bench import compare_signing  # noqa: PLC0415 - likewise

    times = asked.n or 1000
    ours, floor = compare_signing(times)
    yield compared(
        "papers: tax invoices built, signed and verified",
        statistics.median(ours) * 1000,
        statistics.median(floor) * 1000,
        2.0,
        times,
    )


def pages(asked: Asked) -> Iterator[Figure]:
    """This function will measure pages over a control database of realistic size."""
    from app.cli.bench_memory import LIMIT_MB  # noqa: PLC0415 - likewise
    from app.cli.bench_pages import PAGE_LIMIT_MS, measure, measure_memory  # noqa: PLC0415

    times = asked.n or 30
    with scratch_control() as database:
        for path, median_ms in measure(database=database, times=times, months=asked.months):
            yield compared(f"pages {path}", median_ms, PAGE_LIMIT_MS, 1.0, times)
        held = measure_memory()
    name = "pages: a web process that has served them all"
    ratio = round(held / LIMIT_MB, 3)
    yield Figure(name, round(held, 1), LIMIT_MB, ratio, 1.0, "lower", "MB", times)


def ingest(asked: Asked) -> Iterator[Figure]:
    """This function will push events over HTTP, in turn with one bare connection.

    Two databases stand beside each other, one empty and one with years of events in it, so that
    what else the machine does at the time weighs on both alike.
    """
    from app.cli.bench_ingest import LATENCY_LIMIT_MS, fill, in_turn, opened  # noqa: PLC0415

    rounds = asked.n or 12
    with scratch_control(), opened() as empty, scratch_control():
        fill(asked.stored)
        with opened() as filled:
            measured = in_turn(empty=empty, filled=filled, rounds=rounds, calls=asked.calls)
    yield rates("ingest", measured.ours, measured.floor, 0.6, rounds)
    yield compared("ingest p99 of a call", measured.p99_ms, LATENCY_LIMIT_MS, 1.0, rounds)
    name = f"ingest with {asked.stored} stored, against none"
    yield rates(name, measured.filled, measured.ours, 0.75, rounds)


def rollup(asked: Asked) -> Iterator[Figure]:
    """This function will compare rolling up all raw events with one GROUP BY over them."""
    from app.cli.bench_usage import compare_rebuild  # noqa: PLC0415 - likewise

    times = asked.n or 3
    with scratch_control():
        ours, floor = compare_rebuild(events=asked.events, n=times)
    yield rates(
        f"rollup of {asked.events}",
        asked.events / statistics.median(ours),
        asked.events / statistics.median(floor),
        0.5,
        times,
    )


def live_usage(asked: Asked) -> Iterator[Figure]:
    """This function will measure looks at one meter of one tenant among very many events."""
    from app.cli.bench_usage import LIVE_LIMIT_MS, read_live  # noqa: PLC0415 - likewise

    times = asked.n or 50
    with scratch_control():
        for name, seconds in read_live(events=asked.events, n=times):
            median_ms = statistics.median(seconds) * 1000
            yield compared(f"live usage, {name}", median_ms, LIVE_LIMIT_MS, 1.0, times)


def entitlements(asked: Asked) -> Iterator[Figure]:
    """This function will measure asking what tenants may use, at a steady rate of calls."""
    from app.cli.bench_entitlements import CALLS_A_SECOND, LIMIT_MS, ask_steadily  # noqa: PLC0415

    seconds = asked.n or 20
    with scratch_control():
        took = ask_steadily(seconds=seconds, tenants=asked.tenants)
    name = f"entitlements p99 at {CALLS_A_SECOND} calls a second"
    yield compared(name, statistics.quantiles(took, n=100)[98], LIMIT_MS, 1.0, seconds)


def webhooks(asked: Asked) -> Iterator[Figure]:
    """This function will measure taking in gateways' messages, duplicates and forgeries too."""
    from app.cli.bench_webhooks import CALLS_A_SECOND, LIMIT_MS, call_in  # noqa: PLC0415

    seconds = asked.n or 20
    with scratch_control():
        took = call_in(seconds=seconds)
    name = f"webhooks p99 at {CALLS_A_SECOND} a second"
    yield compared(name, statistics.quantiles(took, n=100)[98], LIMIT_MS, 1.0, seconds)


def rates(name: str, ours: float, floor: float, bar: float, n: int) -> Figure:
    """This function will put two rates of events side by side."""
    return Figure(
        name, round(ours), round(floor), round(ours / floor, 3), bar, "higher", "events/s", n
    )


def model(asked: Asked) -> Iterator[Figure]:
    """This function will count where the engine bills otherwise than a slow model of it."""
    from app.cli.bench_model import differences  # noqa: PLC0415 - likewise

    tried = differing = 0
    for seeds, found in differences(first=asked.first_seed, seeds=asked.seeds, jobs=asked.jobs):
        tried += seeds
        differing += len(found)
        for each in found:
            click.echo(each, err=True)
    yield Figure("model", differing, 0, differing, 0, "lower", "differing", tried)


def billing(asked: Asked) -> Iterator[Figure]:
    """This function will compare a billing run with a bare one, and with itself at other sizes."""
    from app.cli.bench_billing import figures  # noqa: PLC0415 - likewise

    for name, ours, floor, bar, n in figures(
        subscriptions=asked.subscriptions, scratch=scratch_control
    ):
        yield compared(name, ours, floor, bar, n)


def crash_billing(asked: Asked) -> Iterator[Figure]:
    """This function will count what killed billing runs missed or billed twice."""
    from app.cli.bench_crash import differences  # noqa: PLC0415 - likewise

    yield _killed("crash-billing, {} runs killed", differences, asked)


def crash(asked: Asked) -> Iterator[Figure]:
    """This function will count what killed collectors charged twice, lost or left a gap in."""
    from app.cli.bench_charge_crash import differences  # noqa: PLC0415 - likewise

    yield _killed("crash, {} workers killed", differences, asked)


def _killed(
    name: str, differences: Callable[..., Iterator[tuple[int, list[str]]]], asked: Asked
) -> Figure:
    killed = differing = 0
    with scratch_control():
        before = os.environ.get("TENANTRY_ENVIRONMENT")
        turn_to({"TENANTRY_ENVIRONMENT": "test"})  # where the clock may be set
        for ended, found in differences(schedules=asked.schedules, first=asked.first_seed):
            killed += ended
            differing += len(found)
            for each in found:
                click.echo(each, err=True)
        turn_to({"TENANTRY_ENVIRONMENT": before})
    return Figure(
        name.format(killed), differing, 0, differing, 0, "lower", "differing", asked.schedules
    )


def compared(name: str, ours: float, floor: float, bar: float, n: int) -> Figure:
    """This function will put two medians in milliseconds side by side."""
    return Figure(
        name, round(ours, 3), round(floor, 3), round(ours / floor, 3), bar, "lower", "ms", n
    )


BENCHES: dict[str, Callable[[Asked], Iterator[Figure]]] = {
    "provision": provision,
    "documents": documents,
    "papers": papers,
    "pages": pages,
    "ingest": ingest,
    "rollup": rollup,
    "live-usage": live_usage,
    "entitlements": entitlements,
    "webhooks": webhooks,
    "model": model,
    "billing": billing,
    "crash": crash,
    "crash-billing": crash_billing,
}
