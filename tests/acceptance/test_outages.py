"""Redis away, emptied or restarted: what was accepted is sent all the same, once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.acceptance.redis_server import RedisServer
from tests.acceptance.running import Service, ahead, eventually


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server of `stranded`; not there at first."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(scope="module")
def stranded(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Service]:
    """A service that was started while its Redis was away."""
    with Service(tmp_path_factory.mktemp("stranded"), {"REDIS_URL": redis.url}) as service:
        yield service


def assert_sent_once(service: Service, email_id: str, subject: str) -> None:
    """The e-mail is completed after one run, and in the inbox once."""
    service.wait_for(email_id, "completed", timeout=30)
    assert service.event_types(email_id) == ["scheduled", "sending", "completed"]
    assert len(service.inbox(subject)) == 1


def test_accepted_while_redis_is_away(stranded: Service, redis: RedisServer) -> None:
    """201 at once; /readyz tells of Redis and is ready nevertheless; the e-mail goes out once Redis is there."""
    ids = []
    for number in range(5):
        began = time.monotonic()
        ids.append(stranded.accept(subject=f"no redis {number}")["id"])
        assert time.monotonic() - began < 2
    unwanted = stranded.accept(subject="unwanted")["id"]
    assert stranded.http.post(f"/v1/emails/{unwanted}/cancel").json()["status"] == "cancelled"
    ready = stranded.http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["redis"]["reachable"] is False
    assert ready.json()["redis"]["error"]
    assert {stranded.email(email_id)["status"] for email_id in ids} == {"scheduled"}
    redis.start()
    for number, email_id in enumerate(ids):
        assert_sent_once(stranded, email_id, f"no redis {number}")
    assert stranded.inbox("unwanted") == []
    eventually(lambda: stranded.http.get("/readyz").json()["redis"]["reachable"], "a ready Redis")


def test_redis_emptied(stranded: Service, redis: RedisServer) -> None:
    """FLUSHALL loses nothing, be it due soon or later."""
    soon = stranded.accept(subject="soon", scheduled_at=ahead(1))["id"]
    late = stranded.accept(subject="late", scheduled_at=ahead(4))["id"]
    far = stranded.accept(subject="far", scheduled_at=ahead(3600))["id"]
    redis.flush()
    assert_sent_once(stranded, soon, "soon")
    assert_sent_once(stranded, late, "late")
    assert stranded.email(far)["status"] == "scheduled"
    eventually(lambda: stranded.http.get("/readyz").json()["redis"]["scheduled"] == 1, "the far one in the queue")


def test_redis_restarted_empty(stranded: Service, redis: RedisServer) -> None:
    """A Redis that dies and comes back without its data delays e-mails until then, and loses none."""
    before = stranded.accept(subject="before", scheduled_at=ahead(1))["id"]
    redis.stop()
    meanwhile = stranded.accept(subject="meanwhile")["id"]
    eventually(lambda: not stranded.http.get("/readyz").json()["redis"]["reachable"], "a Redis that is away")
    redis.start()
    assert_sent_once(stranded, before, "before")
    assert_sent_once(stranded, meanwhile, "meanwhile")


def test_nothing_of_it_is_a_traceback(stranded: Service) -> None:
    """Through all of that the log has sentences, no tracebacks, and nobody had to be started again."""
    assert "Traceback" not in stranded.logged
    assert "started again" not in stranded.logged
