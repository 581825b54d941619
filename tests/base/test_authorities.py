import ssl

from app.base import authorities


class TestWhomAClientTrusts:
    def test_is_read_once_and_shared(self) -> None:
        first = authorities.trusted(at="https://api.one.example/v1")
        assert first is authorities.trusted(at="https://api.two.example")
        assert first is authorities.trusted(at="")

    def test_is_the_authorities_of_the_web_for_the_host_it_asked(self) -> None:
        context = authorities.trusted(at="https://api.one.example")
        assert context.cert_store_stats()["x509_ca"] > 50
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)

    def test_is_nobody_on_plain_http(self) -> None:
        for address in ("http://127.0.0.1:8010", "HTTP://127.0.0.1:8010"):
            context = authorities.trusted(at=address)
            assert context.cert_store_stats()["x509"] == 0
            assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
