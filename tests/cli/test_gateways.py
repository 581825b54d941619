"""`flask gateways`: accounts from a file, named without their credentials, and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.embedded import simulators
from tests.fakes.portone.__main__ import API_SECRET, STORE_ID, WEBHOOK_SECRET
from tests.fakes.portone.running import running

ACCOUNT = {
    "code": "second",
    "gateway": "sandbox",
    "title_ko": "두 번째",
    "title_en": "The second",
    "use": "default",
    "credentials": {
        "base_url": "http://127.0.0.1:9",
        "secret_key": "sk_of_the_second",
        "webhook_secret": "whsec_c2Vjb25k",
    },
}


def written(path: Path, told: Any) -> str:
    path.write_text(json.dumps(told), encoding="utf-8")
    return str(path)


class TestGateways:
    def test_are_added_from_a_file_and_listed_without_credentials(
        self, scenario: Any, tmp_path: Path
    ) -> None:
        file = written(tmp_path / "accounts.json", [ACCOUNT])
        for _ in range(2):  # the second time these are its new credentials
            added = scenario.flask("gateways", "add", file)
            assert added.returncode == 0, added.stderr
            assert "/hooks/second" in added.stdout
        listed = scenario.flask("gateways", "list")
        assert "second" in listed.stdout
        assert "default" in listed.stdout
        assert "sk_of" not in listed.stdout
        asked = scenario.flask("gateways", "check", "second")
        assert (asked.returncode, "no answer" in asked.stdout) == (1, True)

    def test_with_a_fault_say_which(self, scenario: Any, tmp_path: Path) -> None:
        lacking = ACCOUNT | {"credentials": {"base_url": "http://127.0.0.1:9"}}
        answer = scenario.flask("gateways", "add", written(tmp_path / "a.json", lacking))
        assert answer.returncode == 1
        assert "secret_key" in answer.stderr
        answer = scenario.flask("gateways", "add", written(tmp_path / "b.json", {"code": "x"}))
        assert answer.returncode == 1
        assert scenario.flask("gateways", "check", "second").returncode == 1

    def test_at_every_simulator_are_those_that_it_lets_in(
        self, scenario: Any, tmp_path: Path
    ) -> None:
        public_url = "http://127.0.0.1:8000"
        with running(directory=tmp_path / "portone") as portone:
            port = int(portone.url.rsplit(":", 1)[1])
            chosen = {**simulators.DEFAULT_PORTS, "portone": port}
            names = simulators.named("stripe, toss,portone")
            file = simulators.write_accounts(
                names, chosen=chosen, directory=tmp_path, public_url=public_url
            )
            added = scenario.flask("gateways", "add", str(file))
            assert added.returncode == 0, added.stderr
            asked = scenario.flask("gateways", "check", "naverpay")
            assert asked.returncode == 0, asked.stdout
        told = json.loads(file.read_text())
        assert [row["code"] for row in told] == ["stripe", "toss", "kakaopay", "naverpay", "paypal"]
        keys = told[-1]["credentials"]
        assert (keys["store_id"], keys["api_secret"]) == (STORE_ID, API_SECRET)
        assert keys["webhook_secret"] == WEBHOOK_SECRET
