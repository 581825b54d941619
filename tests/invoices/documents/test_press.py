"""The press: what a document may not fetch, what it may not cost, and who survives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from app.base.errors import Invalid, Unavailable
from invoices.documents import press
from invoices.documents.limits import (
    DocumentOverdue,
    DocumentRefused,
    DocumentTooCostly,
    PressUnavailable,
    RenderLimits,
)
from tests.invoices.documents.reading import fonts, text

PLAIN = "<p>still printing</p>"
HEAVY = "<p>" + "<b>x</b> " * 200_000


@pytest.fixture
def listener():
    """A real listening socket that no document may ever reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def visited(server) -> bool:
    """Whether anybody has connected. A connection is accepted by the kernel before any answer."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def still_prints() -> bool:
    return "still printing" in text(press.render(PLAIN).pdf)


class TestADocumentThatFetches:
    @pytest.mark.parametrize(
        "html",
        [
            '<link rel="attachment" href="{url}">',
            '<img src="{url}">',
            '<link rel="stylesheet" href="{url}">',
            "<style>@import url({url})</style>",
            '<style>p {{ background: url("{url}") }}</style><p>x',
            '<style>@font-face {{ font-family: f; src: url("{url}") }}</style><p>x',
            '<object data="{url}"></object>',
            '<embed src="{url}">',
            '<a rel="attachment" href="{url}">x</a>',
            '<base href="{url}"><img src="x.png">',
            '<svg><image href="{url}" width="9" height="9"/></svg>',
            '<p style="list-style-image: url({url}); display: list-item">x',
            '<p style="content: url({url})">x',
        ],
    )
    def test_reaches_neither_files_nor_the_network(self, html, listener):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for url in ("file:///etc/passwd", address, "ftp://127.0.0.1/x", "data:text/css,p{}"):
            try:
                printed = press.render(html.format(url=url))
            except DocumentRefused:
                continue
            # Where WeasyPrint does not even ask, nothing may have come in either.
            assert b"root:" not in printed.pdf
            assert b"EmbeddedFile" not in printed.pdf
        assert not visited(listener)
        assert still_prints()

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "http://127.0.0.1:9/", "data:image/png;base64,AA=="]
    )
    @pytest.mark.parametrize("html", ['<link rel="attachment" href="{}">', '<img src="{}">'])
    def test_is_refused_by_name_of_the_scheme_only(self, html, url):
        with pytest.raises(DocumentRefused) as refusal:
            press.render(html.format(url))
        assert isinstance(refusal.value, Invalid)
        assert f"({url.partition(':')[0]}:)" in str(refusal.value)
        assert "passwd" not in str(refusal.value)

    @pytest.mark.parametrize(
        "name", ["../limits.py", "styles/../weasy.py", "fonts/fonts.conf", "", "/etc/passwd"]
    )
    def test_gets_no_asset_outside_the_table(self, name):
        with pytest.raises(DocumentRefused):
            press.render(f'<link rel="attachment" href="tenantry-asset:{name}">')

    def test_gets_our_own_asset(self):
        html = '<link rel="stylesheet" href="tenantry-asset:styles/paper.css">' + PLAIN
        assert any("Tenantry-Paper" in name for name in fonts(press.render(html).pdf))
        assert not any("Tenantry-Paper" in name for name in fonts(press.render(PLAIN).pdf))


class TestADocumentThatIsGreedy:
    def test_with_time_is_ended_by_its_processor_limit(self):
        started = time.monotonic()
        with pytest.raises(DocumentTooCostly, match="processor"):
            press.render(HEAVY, limits=RenderLimits(cpu_seconds=1))
        assert time.monotonic() - started < 10
        assert still_prints()

    @pytest.mark.parametrize("kib", [64, 448, 17824])
    def test_with_memory_is_ended_by_its_memory_limit(self, kib):
        """Memory may run out while Python, C or our own answer is at work: all say it alike."""
        with pytest.raises(DocumentTooCostly, match="memory"):
            press.render("<p><b>x</b>" * 20_000, limits=RenderLimits(memory_bytes=kib * 1024))
        assert still_prints()

    def test_with_pages_is_ended(self):
        bomb = '<div style="break-after: page">x</div>' * 100_000
        with pytest.raises(DocumentTooCostly):
            press.render(bomb, limits=RenderLimits(cpu_seconds=1))

    def test_with_nesting_is_refused(self):
        with pytest.raises(DocumentRefused, match="RecursionError"):
            press.render("<div>" * 2_000)
        assert still_prints()

    def test_in_bytes_is_not_even_sent(self):
        with pytest.raises(DocumentTooCostly, match="bytes"):
            press.render("x" * 101, limits=RenderLimits(html_bytes_max=100))

    def test_in_printed_bytes_is_refused(self):
        with pytest.raises(DocumentTooCostly, match="PDF"):
            press.render(PLAIN, limits=RenderLimits(pdf_bytes_max=100))

    def test_that_hangs_is_overdue_and_worth_another_try(self):
        with pytest.raises(DocumentOverdue) as late:
            press.render(HEAVY, limits=RenderLimits(wall_seconds=0.3))
        assert isinstance(late.value, Unavailable)
        assert still_prints()


class TestThePress:
    def test_prints_for_many_threads_at_once(self):
        with ThreadPoolExecutor(12) as threads:
            printed = list(threads.map(lambda n: press.render(f"<p>number {n}"), range(24)))
        assert all(f"number {n}" in text(each.pdf) for n, each in enumerate(printed))

    def test_that_was_killed_is_started_again(self):
        press.start()
        before = press._held.press
        before.process.kill()
        before.process.wait()
        assert still_prints()
        assert press._held.press is not before

    def test_that_is_killed_while_printing_leaves_a_clear_error(self):
        press.start()
        victim = psutil.Process(press._held.press.process.pid)
        until(lambda: not victim.children())  # an earlier test's document may still be ending
        failures = []

        def wait_for_it():
            try:
                press.render(HEAVY, limits=RenderLimits(cpu_seconds=20))
            except Unavailable as failure:
                failures.append(failure)

        printing = threading.Thread(target=wait_for_it)
        printing.start()
        children = until(victim.children)
        victim.kill()
        for child in children:
            child.kill()
        printing.join(timeout=10)
        assert len(failures) == 1
        assert isinstance(failures[0], PressUnavailable)
        assert still_prints()

    def test_knows_no_setting_of_ours(self, monkeypatch):
        monkeypatch.setenv("TENANTRY_SECRET_KEYS", "very-secret")
        press.stop()
        press.start()
        environment = psutil.Process(press._held.press.process.pid).environ()
        assert "very-secret" not in str(environment)
        assert not [name for name in environment if name.startswith(("TENANTRY", "DATABASE"))]

    def test_serves_a_fork_of_its_starter(self):
        press.start()
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if still_prints() else 1)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
        assert still_prints()

    def test_leaves_when_its_starter_is_killed(self):
        script = (
            "import os, signal\n"
            "from invoices.documents import press\n"
            "press.start()\n"
            "print(press._held.press.process.pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert run.returncode == -signal.SIGKILL
        orphan = int(run.stdout)
        assert until(lambda: not psutil.pid_exists(orphan) or zombie(orphan))

    def test_without_pango_names_the_packages_to_install(self, monkeypatch, tmp_path):
        for name in ("libpango-1.0.so.0", "libpango-1.0.so", "libpango-1.0-0.so"):
            (tmp_path / name).write_bytes(b"no library")
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        press.stop()
        with pytest.raises(PressUnavailable, match="apt-get install -y libpango") as missing:
            press.render(PLAIN)
        assert isinstance(missing.value, Unavailable)
        monkeypatch.delenv("LD_LIBRARY_PATH")
        assert still_prints()


def zombie(pid: int) -> bool:
    """An orphan that ended but whose adopter has not collected it yet."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def until(found, seconds: float = 20.0):
    """What `found` returns as soon as it is true; the deadline fails the test."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in time")
