from typing import Any

import pytest

from tests.web.portal.parts import customer, sign_in

PAGES = (
    "/portal/",
    "/portal/plan",
    "/portal/plan/convert",
    "/portal/invoices",
    "/portal/payment",
    "/portal/account",
)


class TestPages:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_all_open(self, client: Any, language: str) -> None:
        sign_in(client, customer())
        for page in PAGES:
            answer = client.get(page, query_string={"lang": language})
            assert answer.status_code == 200, (page, answer.text)
