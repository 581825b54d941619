"""Secrets at rest: the current key writes, older keys still read, and a lost key is said to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.base import secrets
from app.base.config import settings


@pytest.fixture
def use_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Configures keys for one test, the current one first."""

    def use(keys: str) -> None:
        monkeypatch.setenv("TENANTRY_SECRET_KEYS", keys)
        settings.cache_clear()
        secrets.forget()

    yield use
    monkeypatch.undo()
    settings.cache_clear()
    secrets.forget()


class TestKeysThatAreRotated:
    def test_read_what_the_older_one_wrote_and_write_under_the_newer(
        self, use_keys: Callable[[str], None]
    ) -> None:
        use_keys("the older key of two")
        sealed, signed = secrets.encrypt("a role's password"), secrets.sign("status", "42")
        assert "password" not in sealed
        use_keys("the newer key of two, the older key of two")
        assert secrets.decrypt(sealed) == "a role's password"
        assert secrets.unsign("status", signed) == "42"
        again = secrets.encrypt("another password")
        use_keys("the newer key of two")
        assert secrets.decrypt(again) == "another password"

    def test_say_which_setting_lacks_the_key_of_an_older_secret(
        self, use_keys: Callable[[str], None]
    ) -> None:
        use_keys("the older key of two")
        sealed, signed = secrets.encrypt("a role's password"), secrets.sign("status", "42")
        use_keys("the newer key of two")
        with pytest.raises(secrets.SecretUnreadable, match="TENANTRY_SECRET_KEYS"):
            secrets.decrypt(sealed)
        with pytest.raises(secrets.SignatureWrong):
            secrets.unsign("status", signed)
