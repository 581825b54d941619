"""`flask demo`: the main job on real input, in a whole system of its own, over real HTTP."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from app.base.config import CHECKOUT
from app.base.errors import TenantryError
from app.cli.check import check_command
from app.cli.demo import cast, ending, months, road
from app.cli.demo.browser import Browser
from app.cli.demo.mailbox import Mailbox
from app.cli.demo.report import Report
from app.cli.demo.road import Customer, Play
from app.cli.demo.stage import Stage
from app.cli.staff import add_person
from app.embedded.errors import EmbeddedError

RESULTS = CHECKOUT / "var" / "demo"
PROSPECTS = CHECKOUT / "tests" / "data" / "prospects.csv"


@click.command("demo")
@click.option(
    "--prospects",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=PROSPECTS,
    help="The table of prospects to play.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where papers, logs and report go; an earlier demonstration's are replaced.",
)
@click.option("--keep", is_flag=True, help="Keep the scratch folder, to look into its logs.")
def demo_command(*, prospects: Path, results: Path, keep: bool) -> None:
    """Play two months of business, from the trial forms to the tax papers."""
    console = Console()
    report = Report(console)
    _make_room(results)
    scratch = Path(tempfile.mkdtemp(prefix="tenantry-demo-"))
    stage = None
    checked = 1
    try:
        with report.step("start"):
            stage = Stage(scratch)
        play = _play(stage, report, prospects)
        _walk(play, results)
        checked = _check(report)
    except (TenantryError, EmbeddedError) as error:
        report.expect(False, str(error))
    finally:
        if stage is not None:
            with report.step("stop"):
                stage.system.stop()
        _clear(scratch, results, keep=keep or bool(report.problems))
    report.show()
    report.write(results / "report.json", check_exit_code=checked)
    console.print(f"Papers and report: [bold]{os.path.relpath(results)}[/]")
    if report.problems or checked:
        for problem in report.problems:
            console.print(f"[bold red]✗[/] {problem}")
        sys.exit(1)


def _make_room(results: Path) -> None:
    """Only what a demonstration left is thrown away, never somebody's own folder."""
    if results.exists() and any(results.iterdir()):
        if results != RESULTS and not (results / "report.json").exists():
            raise click.ClickException(f"{results} holds something else than a demonstration.")
        shutil.rmtree(results)
    results.mkdir(parents=True, exist_ok=True)


def _play(stage: Stage, report: Report, prospects: Path) -> Play:
    play = Play(
        stage=stage,
        report=report,
        mailbox=Mailbox(stage.system.addresses["mailbox"]),
        customers=[
            Customer(prospect, Browser(stage.site, language=prospect.language))
            for prospect in cast.read(prospects)
        ],
        sales=Browser(stage.site, language="ko"),
        finance=Browser(stage.site, language="en"),
    )
    with report.step("staff") as step:
        for role, email in cast.STAFF.items():
            add_person(email=email, name=role.title(), role=role, password=play.staff_password)
            step.count += 1
    return play


def _walk(play: Play, results: Path) -> None:
    road.apply(play)
    road.confirm(play)
    road.review(play)
    road.provision(play)
    road.welcome(play)
    months.work(play)
    months.convert(play)
    road.sign_in_staff(play, "finance")
    months.live(play)
    months.papers(play, results)
    ending.verify(play)


def _check(report: Report) -> int:
    """`flask check`, in this process, which reads the scratch system's rows already."""
    code = 0
    with report.step("check") as step:
        try:
            check_command.main([], standalone_mode=False)
        except SystemExit as end:
            code = int(end.code or 0)
        step.note(invariants="BROKEN" if code else "hold")
    return code


def _clear(scratch: Path, results: Path, *, keep: bool) -> None:
    """The logs stay where somebody may want to read them: always beside the report."""
    shutil.copytree(scratch / "log", results / "log", dirs_exist_ok=True)
    if not keep:
        shutil.rmtree(scratch, ignore_errors=True)
