"""The embedded PostgreSQL and Valkey, alone and as many commands share them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from app.embedded import accounts, ports, servers
from app.embedded.errors import EmbeddedError
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from tests.patience import PATIENCE_SECONDS, eventually

CODE = Path(__file__).resolve().parents[2]
HOLDER = """
import signal, sys
from pathlib import Path
from app.embedded.servers import hold
held = hold(Path(sys.argv[1]), scratch=True)
sys.stdout.write(held.database_url + "\\n")
sys.stdout.flush()
signal.pause()
"""


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(question).fetchone()  # type: ignore[call-overload]
    return None if row is None else row[0]


def postgres_url(held: servers.Hold) -> str:
    return held.database_url.replace(f"/{servers.CONTROL_DATABASE}", "/postgres")


def keepers_children(held: servers.Hold) -> dict[str, psutil.Process]:
    assert held.state is not None
    found = {}
    for child in psutil.Process(held.state.keeper.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # just being killed
            if child.status() != psutil.STATUS_ZOMBIE:
                found[child.name().split("-")[0]] = child
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the servers' account may enter."""
    directory = tmp_path_factory.mktemp("servers")
    with servers.hold(directory, scratch=True):
        yield accounts.home(directory, scratch=False)


@pytest.fixture
def postgres(home: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    port = ports.first_free(ports.scratch_start())
    made = EmbeddedPostgres(home / tmp_path.name, tmp_path / "password", port, scratch=True)
    yield made
    made.destroy()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[servers.Hold]:
    with servers.hold(tmp_path / "var", scratch=True) as made:
        yield made


class TestPostgres:
    def test_is_postgresql_18_with_a_builtin_locale_and_utc(
        self, postgres: EmbeddedPostgres
    ) -> None:
        url = postgres.start()
        assert str(ask(url, "SHOW server_version")).startswith("18.")
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SHOW timezone") == "UTC"
        locale = (
            "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'template1'"
        )
        assert ask(url, locale) == "bC.UTF-8"

    def test_keeps_its_data_over_a_stop_and_over_a_kill(self, postgres: EmbeddedPostgres) -> None:
        url = postgres.start()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        postgres.stop()
        assert not ports.answers(postgres.port)
        postgres.start()
        postgres.stop(ladder=())  # SIGKILL
        postgres.start()
        assert ask(url, "SELECT answer FROM kept") == 42

    def test_refuses_who_has_no_password_on_either_door(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        for host in (ports.LOOPBACK, str(postgres.sockets)):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(
                    host=host, port=postgres.port, user="postgres", dbname="postgres", passfile=""
                )

    def test_writes_no_row_and_no_statement_to_its_log(self, postgres: EmbeddedPostgres) -> None:
        with psycopg.connect(postgres.start(), autocommit=True) as connection:
            connection.execute("CREATE TABLE person (email text UNIQUE)")
            for add in (
                ("INSERT INTO person VALUES (%s)", ["somebody@customer.example"]),
                ("INSERT INTO person VALUES ('somebody@customer.example')", []),
            ):
                for _again in range(2):
                    with contextlib.suppress(psycopg.errors.UniqueViolation):
                        connection.execute(*add)
        postgres.stop()
        log = postgres.secrets.with_name("postgres.log").read_text()
        assert log.count('violates unique constraint "person_email_key"') == 3
        assert "somebody" not in log

    def test_keeps_the_password_to_its_owner(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        assert stat.S_IMODE(postgres.secrets.stat().st_mode) == 0o600
        assert not (postgres.directory / "password").exists()
        assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700

    def test_starts_over_a_lock_file_that_names_an_unrelated_process(
        self, postgres: EmbeddedPostgres
    ) -> None:
        postgres.start()
        postgres.stop(ladder=())
        lock = postgres.data / "postmaster.pid"
        stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        try:
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert ask(postgres.start(), "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_makes_the_cluster_again_when_the_first_making_was_killed(
        self, postgres: EmbeddedPostgres
    ) -> None:
        accounts.private_directory(postgres.directory, postgres.account)
        half_made = postgres.directory / "data.new"
        half_made.mkdir()
        (half_made / "PG_VERSION").write_text("18\n")
        assert ask(postgres.start(), "SELECT 1") == 1

    def test_says_what_postgres_said_when_its_port_is_taken(
        self, postgres: EmbeddedPostgres
    ) -> None:
        with (
            socket.create_server((ports.LOOPBACK, postgres.port)),
            pytest.raises(EmbeddedError, match="could not bind"),
        ):
            postgres.start()

    def test_leaves_nothing_when_destroyed(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        postgres.destroy()
        assert not postgres.directory.exists()
        assert not postgres.secrets.exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to drop to")
    def test_drops_root(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        assert postgres.account is not None
        owner = (postgres.data / "postmaster.pid").stat().st_uid
        assert owner == postgres.account.uid != 0


class TestValkey:
    def test_wants_its_password_and_starts_again_after_a_kill(
        self, home: Path, tmp_path: Path
    ) -> None:
        port = ports.first_free(ports.scratch_start())
        valkey = EmbeddedValkey(home / "valkey-alone", tmp_path / "secret", port)
        try:
            with redis.from_url(valkey.start()) as client:
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            with (
                redis.Redis(port=port) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
            valkey.stop(ladder=())
            with redis.from_url(valkey.start()) as client:
                assert client.ping()
        finally:
            valkey.destroy()


class TestHolding:
    def test_shares_one_pair_and_stops_it_after_the_last(self, held: servers.Hold) -> None:
        second = servers.hold(held.directory, scratch=True)
        assert second.database_url == held.database_url
        second.release()
        assert ask(postgres_url(held), "SELECT 1") == 1
        held.release()
        assert not ports.answers(int(urlsplit(held.database_url).port or 0))
        assert not ports.answers(int(urlsplit(held.redis_url).port or 0))

    def test_starts_either_server_again_when_it_is_killed(self, held: servers.Hold) -> None:
        for name in ("postgres", "valkey"):
            first = keepers_children(held)[name]
            first.kill()
            eventually(
                lambda first=first, name=name: keepers_children(held).get(name, first) != first,
                f"another {name}",
            )
        with redis.from_url(held.redis_url) as client:
            eventually(lambda: _answers(client), "Valkey answers again")
        eventually(lambda: _selects(postgres_url(held)), "PostgreSQL answers again")

    def test_heals_a_killed_keeper_at_the_same_addresses(self, held: servers.Hold) -> None:
        assert held.state is not None
        url, keeper = postgres_url(held), held.state.keeper
        os.kill(keeper.pid, signal.SIGKILL)
        eventually(lambda: psutil.Process(keeper.pid).status() == "zombie", "the keeper's end")
        held.ensure()
        assert held.state.keeper != keeper
        assert ask(url, "SELECT 1") == 1

    def test_stops_the_servers_of_a_holder_that_was_killed(self, tmp_path: Path) -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(CODE)},
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout is not None
            port = int(urlsplit(holder.stdout.readline().decode().strip()).port or 0)
            assert ports.answers(port)
            holder.kill()
        eventually(lambda: servers.State.read(tmp_path) is None, "the keeper's end")
        assert not ports.answers(port)

    def test_starts_quickly_the_second_time(self, tmp_path: Path) -> None:
        with servers.hold(tmp_path) as first:
            url = first.database_url
        try:
            began = time.monotonic()
            with servers.hold(tmp_path) as second:
                assert time.monotonic() - began < 3
                assert second.database_url == url
        finally:
            _remove_home(tmp_path)

    def test_takes_the_next_free_port_and_remembers_it(self, tmp_path: Path) -> None:
        known = tmp_path / "ports.json"
        start = ports.first_free(ports.scratch_start())
        with socket.create_server((ports.LOOPBACK, start)):
            port, moved = ports.choose(known, "postgres", start)
            assert port > start
            assert moved
        assert ports.choose(known, "postgres", start) == (port, False)

    def test_works_below_a_directory_only_its_owner_may_enter(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        with servers.hold(closed / "checkout" / "var", scratch=True) as made:
            assert ask(postgres_url(made), "SELECT 1") == 1

    def test_leaves_no_scratch_home_behind(self, tmp_path: Path) -> None:
        with servers.hold(tmp_path, scratch=True):
            home = accounts.home(tmp_path, scratch=False)
            assert (home / "postgres" / "data" / "PG_VERSION").exists()
        assert not (home / "postgres").exists()

    def test_does_not_start_what_the_user_names_in_the_environment(self, tmp_path: Path) -> None:
        with servers.hold(tmp_path, needs=frozenset({"valkey"}), scratch=True) as made:
            assert made.database_url == ""
            assert set(keepers_children(made)) == {"valkey"}
            with pytest.raises(EmbeddedError, match="without postgres"):
                servers.hold(tmp_path, scratch=True)


class TestBinFlask:
    def test_holds_the_servers_for_the_command_and_then_lets_them_go(self, tmp_path: Path) -> None:
        ours = ("DATABASE_URL", "REDIS_URL")
        values = {name: value for name, value in os.environ.items() if name not in ours}
        done = subprocess.run(
            [sys.executable, "-m", "app.embedded", "flask", "--version"],
            env={**values, "PYTHONPATH": str(CODE), "TENANTRY_VAR_DIR": str(tmp_path)},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * 3,
            check=False,
        )
        try:
            assert done.returncode == 0, done.stderr
            assert "Flask" in done.stdout
            assert (tmp_path / "log" / "postgres.log").exists()
            eventually(lambda: servers.State.read(tmp_path) is None, "the keeper's end")
        finally:
            _remove_home(tmp_path)


def _remove_home(directory: Path) -> None:
    home = accounts.home(directory, scratch=False)
    EmbeddedPostgres(home / "postgres", directory / "none", 0).destroy()
    EmbeddedValkey(home / "valkey", directory / "none", 0).destroy()
    home.rmdir()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _selects(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False
