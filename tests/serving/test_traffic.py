"""The request log keeps what it may keep, in few writes, and never costs anybody an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import bundle_factory as factory
from tests.serving.fake_aws import BUCKET, DATA, KEY, TABLE, FakeAws, running
from tests.serving.test_door import HEADERS, ROWS, request

from tidemill.serving import traffic
from tidemill.serving.bundles import Bundles
from tidemill.serving.door import Door
from tidemill.serving.inbox import Inbox
from tidemill.serving.pointers import Pointers
from tidemill.serving.signer import Client
from tidemill.serving.traffic import Seen, Traffic

OPEN = {"enabled": True, "sample": 1.0, "rows": 100, "private": []}
START = 1_800_000_000.25


class World:
    """A door with a request log, and a clock one can turn."""

    def __init__(self, aws: FakeAws, made: Path, cache: Path, monitor: dict[str, Any] | None) -> None:
        aws.put_bundle(made, "income", "r-1", 3)
        if monitor is not None:
            aws.items["MODEL#income", "ALIAS#champion"]["monitor"] = monitor
        self.aws, self.now, self.lines = aws, START, list[dict[str, Any]]()
        self.client = client = Client("us-east-1", aws.url, sleep=lambda _: None)
        log = Traffic(client, BUCKET, clock=lambda: self.now)
        pointers, inbox = Pointers(client, TABLE), Inbox(client, DATA)
        self.door = Door(pointers, Bundles(client, BUCKET, cache), inbox, self.lines.append, traffic=log)

    def ask(self, body: Any = None, request_id: str = "req-1", **event: Any) -> int:
        context = {"http": {"method": "POST"}, "requestId": request_id}
        answer = self.door.handle(request(body, **{"requestContext": context, **event}))
        status: int = answer["statusCode"]
        return status

    def written(self) -> dict[str, list[dict[str, Any]]]:
        """The objects of the log, as records."""
        keys = [key for key in self.aws.objects if key.startswith("traffic/")]
        return {key: [json.loads(line) for line in gzip.decompress(self.aws.objects[key]).splitlines()] for key in keys}

    def records(self) -> list[dict[str, Any]]:
        return [record for records in self.written().values() for record in records]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.make(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with running() as made:
        yield made


@pytest.fixture
def opened(aws: FakeAws, made: Path, tmp_path: Path) -> Iterator[Callable[[Any], World]]:
    """Makes worlds by what may be kept, and closes their connections."""
    worlds: list[World] = []

    def make(monitor: dict[str, Any] | None) -> World:
        worlds.append(World(aws, made, tmp_path, monitor))
        return worlds[-1]

    yield make
    for world in worlds:
        world.client.close()


@pytest.fixture
def world(opened: Callable[[Any], World]) -> World:
    return opened(OPEN)


def test_a_record_says_who_was_answered_what_when_and_by_which_version(world: World) -> None:
    assert world.ask() == 200
    ((key, (record,)),) = world.written().items()
    assert key.startswith("traffic/income/2027-01-15/080000250-") and key.endswith("-1.jsonl.gz")
    assert record["request"] == "req-1" and (record["model"], record["version"]) == ("income", 3)
    assert (record["alias"], record["route"], record["status"], record["rows"]) == ("champion", "predict", 200, 3)
    assert record["at"] == "2027-01-15T08:00:00.250Z" and record["ms"] > 0 and record["index"] == [0, 1, 2]
    assert record["columns"] == {name: [row[name] for row in ROWS] for name in ROWS[0]}
    assert all(len(score) == 2 and abs(sum(score) - 1) < 1e-6 for score in record["scores"])


def test_the_first_request_writes_at_once_and_the_others_every_thirty_seconds(world: World) -> None:
    for second in range(31):
        world.now = START + second
        world.ask()
    assert [len(records) for records in world.written().values()] == [1, 30]


def test_two_hundred_records_are_written_without_waiting(world: World) -> None:
    for _ in range(traffic.DUE_RECORDS + 1):
        world.ask({"row": ROWS[0]})
    assert [len(records) for records in world.written().values()] == [1, 200]


def test_private_columns_never_leave_the_request(opened: Callable[[Any], World]) -> None:
    world = opened({**OPEN, "private": ["work", "hired"]})
    world.ask()
    assert set(world.records()[0]["columns"]) == {"age", "hours"}


@pytest.mark.parametrize("monitor", [None, {}])
def test_of_a_version_nobody_decided_about_only_scores_are_kept(opened: Callable[[Any], World], monitor: Any) -> None:
    world = opened(monitor)
    world.ask()
    assert world.records()[0]["columns"] == {} and len(world.records()[0]["scores"]) == 3


def test_what_no_model_reads_is_not_kept_either(world: World) -> None:
    assert world.ask({"rows": [{**ROWS[0], "id": 17, "income": "<=50K"}]}) == 200
    assert set(world.records()[0]["columns"]) == {"age", "hours", "work", "hired"}


def test_a_switched_off_log_writes_nothing(opened: Callable[[Any], World]) -> None:
    world = opened({**OPEN, "enabled": False})
    world.ask()
    assert world.written() == {}


def test_the_sample_is_a_share_of_requests_and_the_rest_are_counted_without_rows(
    opened: Callable[[Any], World],
) -> None:
    world = opened({**OPEN, "sample": 0.25})
    for number in range(400):
        world.now += 31
        world.ask({"row": ROWS[0]}, f"req-{number}")
    sampled = ["scores" in record for record in world.records()]
    assert len(sampled) == 400 and 60 < sum(sampled) < 140


def test_of_a_large_request_rows_at_equal_distances_are_kept(opened: Callable[[Any], World]) -> None:
    world = opened({**OPEN, "rows": 10})
    world.ask({"rows": [{**ROWS[0], "age": age} for age in range(95)]})
    record = world.records()[0]
    assert record["rows"] == 95 and record["index"] == record["columns"]["age"] == list(range(0, 95, 10))


def test_a_refused_request_is_counted_with_its_code_and_strangers_are_not(world: World) -> None:
    assert world.ask({"rows": [{"age": 3}]}) == 422
    world.now += 31
    assert world.ask(headers={**HEADERS, "x-api-key": "tm_" + "x" * 43}) == 401
    assert world.ask(rawPath="/models/other/predict") == 404
    (record,) = world.records()
    assert (record["status"], record["code"]) == (422, "FEATURE_MISSING") and "columns" not in record


def test_a_write_that_fails_fails_no_request_and_is_tried_again_later(world: World) -> None:
    world.ask()
    world.now += 31
    world.aws.faults = [500]
    assert world.ask() == 200 and world.lines[-1]["traffic"] == "UNAVAILABLE"
    calls = len(world.aws.calls)
    assert world.ask() == 200 and len(world.aws.calls) == calls, "nobody waits for S3 at every request"
    world.now += 31
    assert world.ask() == 200 and "traffic" not in world.lines[-1]
    assert [len(records) for records in world.written().values()] == [1, 3]


def test_what_waits_while_s3_does_not_answer_is_bounded() -> None:
    class Nothing:
        def put_object(self, *_: Any) -> None:
            raise OSError

    log = Traffic(Nothing(), BUCKET, clock=lambda: START)
    rows = [{"text": "x" * 200_000}]
    for _ in range(40):
        note: dict[str, Any] = {"request": "r", "model": "m", "status": 200}
        log.keep(note, Seen(OPEN, "champion", ("text",), rows, [{"value": 1.0}]))
    assert note["traffic"] == "FULL" and log.waiting["m"].size <= traffic.MOST_BYTES


def test_a_record_that_would_be_too_large_keeps_fewer_rows() -> None:
    kept: list[bytes] = []

    class Objects:
        def put_object(self, bucket: str, key: str, body: bytes, content_type: str) -> None:
            kept.append(gzip.decompress(body))

    rows, answers = [{"text": "x" * 60_000}] * 64, [{"value": 1.0}] * 64
    note: dict[str, Any] = {"request": "r", "model": "m", "status": 200, "rows": 64}
    Traffic(Objects(), BUCKET).keep(note, Seen(OPEN, "champion", ("text",), rows, answers))
    assert len(kept[0]) <= traffic.RECORD_BYTES and 1 <= len(json.loads(kept[0])["scores"]) <= 4


def test_the_log_line_still_has_no_row_values(world: World) -> None:
    world.ask()
    assert KEY not in str(world.lines) and "columns" not in world.lines[-1] and "scores" not in world.lines[-1]
