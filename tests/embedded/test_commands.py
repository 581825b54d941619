"""bin/ and the machine's own libraries, as a fresh user meets them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import doctor
from app.embedded import environment, ports, system_libraries
from tests.patience import PATIENCE_SECONDS

CODE = Path(__file__).resolve().parents[2]


class TestBinFlask:
    @pytest.mark.parametrize("home", [None, "", "/nonexistent"])
    def test_runs_from_any_folder_and_with_no_home(self, tmp_path: Path, home: str | None) -> None:
        values = {
            "PATH": os.environ["PATH"],
            "TENANTRY_VAR_DIR": str(tmp_path),
            # Named, so that nothing has to be started for a question about versions.
            "DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        }
        if home is not None:
            values["HOME"] = home
        # A folder whose own «app» must not be taken for ours.
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('a stranger')\n")
        done = subprocess.run(
            [CODE / "bin" / "flask", "--version"],
            env=values,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * 3,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Python 3.")


class TestEnvironment:
    def test_prefers_what_the_user_has_set(self, tmp_path: Path) -> None:
        values = environment.complete(
            {"TENANTRY_PUBLIC_URL": "https://tenantry.example", "REDIS_URL": "redis://there:1/0"},
            directory=tmp_path,
            environment="dev",
            held=None,
            chosen=environment.DEFAULT_PORTS,
        )
        assert values["TENANTRY_PUBLIC_URL"] == "https://tenantry.example"
        assert values["REDIS_URL"] == "redis://there:1/0"
        assert values["TENANTRY_SMTP_PORT"] == "1025"

    def test_makes_the_secret_keys_once_and_keeps_them_to_their_owner(self, tmp_path: Path) -> None:
        first = environment.secret_keys(tmp_path)
        assert len(first) == 44
        assert environment.secret_keys(tmp_path) == first
        assert (tmp_path / "secret_keys").stat().st_mode & 0o077 == 0

    def test_never_leads_a_scratch_system_to_the_users_servers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://production/tenantry")
        monkeypatch.setenv("REDIS_URL", "redis://production/0")
        monkeypatch.setenv("TENANTRY_SMTP_HOST", "mail.production")
        kept = environment.inherited(scratch=True)
        assert "production" not in " ".join(kept.values())
        assert environment.missing_servers(kept) == {"postgres", "valkey"}

    def test_gives_the_demo_no_server_but_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://production/tenantry")
        monkeypatch.setenv("TENANTRY_VAR_DIR", str(tmp_path))
        values = environment.for_command("demo")
        assert values["DATABASE_URL"] == "postgresql://127.0.0.1:1/none"
        assert values["TENANTRY_ENVIRONMENT"] == "demo"


class TestPorts:
    def test_gives_two_names_two_ports_also_before_either_listens(self, tmp_path: Path) -> None:
        start = ports.first_free(ports.scratch_start())
        first, _ = ports.choose(tmp_path / "ports.json", "web", start)
        second, moved = ports.choose(tmp_path / "ports.json", "gateway", start)
        assert second > first == start
        assert moved

    def test_survives_a_half_written_memory(self, tmp_path: Path) -> None:
        (tmp_path / "ports.json").write_text('{"web": 80')
        port, _ = ports.choose(tmp_path / "ports.json", "web", ports.scratch_start())
        assert ports.remembered(tmp_path / "ports.json") == {"web": port}


class TestSystemLibraries:
    def test_names_a_missing_library_its_effect_and_the_line_to_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        absent = system_libraries.Library(("libnowhere-9.so.0",), "libnowhere-9-0")
        monkeypatch.setattr(system_libraries, "FOR_PAPERS", (absent,))
        (found,) = system_libraries.missing()
        assert found.what == "libnowhere-9.so.0"
        assert "PDF" in found.why
        assert found.install.endswith("libnowhere-9-0")
        assert system_libraries.debian_packages(browser=False) == ["libnowhere-9-0"]

    def test_is_named_by_the_doctor_who_finds_the_rest_well(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        absent = system_libraries.Library(("libnowhere-9.so.0",), "libnowhere-9-0")
        monkeypatch.setattr(system_libraries, "FOR_PAPERS", (absent,))
        papers = [check for check in doctor.CHECKS if check[0] == "libraries for papers"]
        monkeypatch.setattr(doctor, "CHECKS", papers)
        told = CliRunner().invoke(doctor.doctor_command)
        (found,) = system_libraries.missing()
        assert told.output.splitlines() == [
            "FAIL libraries for papers",
            f"     libnowhere-9.so.0 is missing: {found.why}.",
            f"     -> {found.install}",
            "all well",
        ]
        assert told.exit_code == 0, "a machine without papers still does all else"

    def test_finds_what_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = system_libraries.Library(("libc.so.6", "libSystem.dylib"), "libc6")
        monkeypatch.setattr(system_libraries, "FOR_PAPERS", (there,))
        assert system_libraries.missing() == []

    def test_names_the_browser_only_where_it_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(system_libraries, "FOR_PAPERS", ())
        monkeypatch.setattr(system_libraries, "find_browser", lambda: None)
        assert system_libraries.missing() == []
        (found,) = system_libraries.missing(browser=True)
        assert "chromium" in found.install
