"""The workers of documents at work: how fast one prints, how much faster two are, against a floor.

Each worker is a process of its own with a warm press, and does what the workers of a running
system do: claim a chunk of due papers, render each, store its bytes, write down that it is ready.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO
from uuid import UUID

from app.base import clock, ids
from app.base.db import control_session
from invoices.documents import bench, shelf
from invoices.documents.papers import Paper
from invoices.models import Document
from jobs.documents import CHUNK
from tenants.models import Tenant

WORKERS = 2
ROUND = 500
WARM_UP = 4


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds for as many papers each way."""

    plain: float
    one: float
    two: float
    papers: int


def compare_workers(n: int) -> Took:
    """This function will print n papers by one worker, by two, and plainly, taking turns.

    A round holds as many whole chunks for each worker, so that none is idle at its end; a quick
    look of less than a chunk each does not.
    """
    sizes = [_whole(min(ROUND, n - done)) for done in range(0, n, ROUND)]
    tenant_id = _tenant()
    plain = one = two = 0.0
    pages = [bench.plain_html(paper) for paper in bench.mixed(1, 2)]
    with bench.floor(pages, style=None) as printed, _workers() as workers:
        for _ in range(min(WARM_UP, n)):
            printed()
        for place, size in enumerate(sizes):
            papers = bench.mixed(place * 2 * ROUND + 1, size)
            _lay_out(tenant_id, papers)
            one += _work(workers[:1])
            plain += sum(printed() for _ in range(size))
            _lay_out(tenant_id, papers)
            two += _work(workers)
    return Took(plain, one, two, sum(sizes))


def _whole(papers: int) -> int:
    share = CHUNK * WORKERS
    return papers if papers < share else -(-papers // share) * share


def _tenant() -> UUID:
    now = clock.now()
    tenant = Tenant(
        id=ids.uuid7(),
        state="approved",
        slug="bench",
        name="한빛정밀",
        country="KR",
        language="ko",
        timezone="Asia/Seoul",
        currency="KRW",
        plan_code="team",
        limits={},
        billing_profile={},
        trial_days=14,
        created_at=now,
    )
    with control_session() as session:
        session.add(tenant)
        session.flush()
        return tenant.id


def _lay_out(tenant_id: UUID, papers: Sequence[Paper]) -> None:
    with control_session() as session:
        session.add_all(
            Document(
                tenant_id=tenant_id,
                kind=shelf.kind_of(paper),
                subject_id=ids.uuid7(),
                language="ko",
                file_name=f"{paper.number}.pdf",
                data=shelf.to_json(paper),
                data_sha256=shelf.content_sha256(paper),
                created_at=clock.now(),
            )
            for paper in papers
        )


@dataclass(frozen=True, slots=True)
class _Worker:
    to: IO[str]
    back: IO[str]


@contextmanager
def _workers() -> Iterator[list[_Worker]]:
    with ExitStack() as stack:
        started = []
        for _ in range(WORKERS):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "app.cli.bench_documents"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=os.environ.copy(),
                    text=True,
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            started.append(_Worker(process.stdin, process.stdout))
            stack.callback(process.stdin.close)
        for each in started:
            _answer(each)
        yield started


def _work(workers: Sequence[_Worker]) -> float:
    """This function will let the workers go at once, and return when the last one has nothing."""
    began = time.perf_counter()
    for each in workers:
        each.to.write("go\n")
        each.to.flush()
    for each in workers:
        _answer(each)
    return time.perf_counter() - began


def _answer(worker: _Worker) -> None:
    if not worker.back.readline():
        raise RuntimeError("a worker of documents ended: its own words are above")


def _serve() -> None:
    """This function will print what is due whenever it is told to go, until nothing is left."""
    from invoices.documents import press  # noqa: PLC0415 - the workers' own
    from jobs import documents  # noqa: PLC0415 - likewise

    press.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        while documents.work():
            pass
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
