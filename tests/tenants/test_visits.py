from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base import ids
from app.base.errors import Invalid
from tenants import visits
from tenants.visits import VisitRecord, VisitUnreadable


def record(now: datetime, **fields: object) -> VisitRecord:
    values = {"id": ids.uuid7(), "at": now, "visitor_id": uuid4(), "kind": "page", "page": "/"}
    return VisitRecord(**(values | fields))  # type: ignore[arg-type]


class TestStore:
    def test_writes_a_chunk_once_however_often_it_is_drained(
        self, control_session: Session, now: datetime
    ) -> None:
        visitor = uuid4()
        chunk = [
            record(now + timedelta(seconds=n), visitor_id=visitor, page=page)
            for n, page in enumerate(("/", "/pricing", "/trial"))
        ]
        assert visits.store(control_session=control_session, records=chunk) == 3
        assert visits.store(control_session=control_session, records=chunk) == 0
        trail = visits.trail(control_session=control_session, visitor_id=visitor)
        assert [event.page for event in trail] == ["/", "/pricing", "/trial"]

    def test_puts_each_month_in_a_partition_of_its_own(self, control_session: Session) -> None:
        months = [datetime(2026, month, 28, 23, 59, tzinfo=UTC) for month in (3, 4)]
        visits.store(control_session=control_session, records=[record(at) for at in months])
        found = control_session.scalars(
            text("SELECT DISTINCT tableoid::regclass::text FROM visit_event ORDER BY 1")
        ).all()
        assert found == ["visit_event_p202603", "visit_event_p202604"]

    def test_drops_the_months_whose_retention_is_over(self, control_session: Session) -> None:
        old, young = (datetime(2026, month, 2, tzinfo=UTC) for month in (1, 9))
        visits.store(control_session=control_session, records=[record(old), record(young)])
        assert visits.erase_old(control_session=control_session, now=young) == 1
        assert control_session.scalars(text("SELECT at FROM visit_event")).all() == [young]


class TestRecord:
    def test_survives_its_way_through_the_buffer(self, now: datetime) -> None:
        sent = record(now, kind="action", action="start-trial", utm={"source": "news"})
        assert VisitRecord.from_json(sent.as_json()) == sent

    @pytest.mark.parametrize(
        "change", [{"kind": "attack"}, {"id": "x"}, {"at": "2026-03-10"}, {"surplus": 1}]
    )
    def test_that_is_not_ours_is_refused(self, now: datetime, change: dict[str, object]) -> None:
        with pytest.raises(VisitUnreadable):
            VisitRecord.from_json(record(now).as_json() | change)

    def test_is_refused_when_it_is_no_record_at_all(self) -> None:
        for junk in (None, 1, "x", [], {}):
            with pytest.raises(VisitUnreadable):
                VisitRecord.from_json(junk)


class TestWhatIsKept:
    @pytest.mark.parametrize(
        ("path", "kept"),
        [
            ("/", "/"),
            ("/trial", "/trial"),
            ("/trial/confirm/kJ2-secret_Token9", "/trial/confirm"),
            ("/status/0199f0aa-7b.sig", "/status"),
            ("/trial?utm_source=x", "/trial"),
        ],
    )
    def test_of_a_page_is_never_a_secret(self, path: str, kept: str) -> None:
        assert visits.clean_page(path) == kept

    def test_of_a_referrer_is_host_and_path_without_the_query(self) -> None:
        def clean(url: str) -> str | None:
            return visits.clean_referrer(url, own_host="ours.example:8000")

        assert clean("https://news.example/a/b?q=who#x") == "news.example/a/b"
        assert clean("http://user:pw@news.example/") == "news.example/"
        assert clean("https://ours.example/pricing") is None
        assert clean("javascript:alert(1)") is None
        assert clean("https://[broken") is None

    def test_of_a_query_is_the_campaign_alone(self) -> None:
        query = [("utm_source", "n" * 500), ("utm_medium", ""), ("email", "a@b.example")]
        assert visits.clean_utm(query) == {"source": "n" * 200}

    def test_of_a_button_is_a_name_of_ours(self) -> None:
        assert visits.clean_action("hero-trial") == "hero-trial"
        for name in ("", "Hero", "a b", "<b>", "x" * 41):
            with pytest.raises(Invalid):
                visits.clean_action(name)


def test_a_visitor_is_erased_without_touching_another(
    control_session: Session, now: datetime
) -> None:
    one, other = record(now), record(now)
    visits.store(control_session=control_session, records=[one, other, replace(one, id=uuid4())])
    visits.erase(control_session=control_session, visitor_ids=[one.visitor_id])
    assert visits.trail(control_session=control_session, visitor_id=one.visitor_id) == []
    assert len(visits.trail(control_session=control_session, visitor_id=other.visitor_id)) == 1
