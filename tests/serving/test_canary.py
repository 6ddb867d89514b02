"""Two versions in service: who answers, what a bad one costs callers (nothing), and what is counted and told of it."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import bundle_factory as factory
from tests.serving.fake_aws import BUCKET, DATA, TABLE, FakeAws, running
from tests.serving.test_door import HEADERS, ROWS, request

from tidemill.core.errors import SchemaMismatch
from tidemill.serving.bundles import Bundles
from tidemill.serving.door import KEY_HEADER, Door
from tidemill.serving.health import FLUSH_S, Health
from tidemill.serving.inbox import Inbox
from tidemill.serving.pointers import ALIAS_S, Pointers
from tidemill.serving.predictor import Predictor
from tidemill.serving.signer import Client
from tidemill.serving.traffic import Traffic

LIMITS = {"min_requests": 10, "max_error_rate": 0.02, "max_latency_ratio": 2.0}


class World:
    """A door before a model with versions 1 and 2, a clock one can turn, and the log."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        self.aws, self.now, self.log, self.folder = aws, 0.0, list[dict[str, Any]](), folder
        self.client = Client("us-east-1", aws.url, sleep=lambda _: None)
        self.bundles = Bundles(self.client, BUCKET, folder / "cache")
        health = Health(self.client, TABLE, "bus", clock=lambda: self.now)
        pointers = Pointers(self.client, TABLE, clock=lambda: self.now)
        self.door = Door(pointers, self.bundles, Inbox(self.client, DATA), self.log.append, health)
        self.prefix = {
            number: aws.put_bundle(factory.make(folder / str(number), seed=number), "income", f"r-{number}", number)
            for number in (2, 1)
        }
        self.alone = {number: self._alone(number) for number in (1, 2)}

    def _alone(self, version: int) -> Any:
        self.alias(version)
        return self.ask()[1]["predictions"]

    def damage(self) -> None:
        """Version 2 cannot be loaded from now on, and was not before."""
        self.aws.objects[self.prefix[2] + "model.onnx"] = b"no model"
        self.bundles.opened.clear()
        shutil.rmtree(self.folder / "cache")

    def before_each_prediction(self, version: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
        """Let something happen whenever this version predicts."""
        predict, folder = Predictor.predict, self.bundles.opened[self.prefix[version]].predictor.folder

        def changed(predictor: Predictor, rows: Any) -> Any:
            if predictor.folder == folder:
                do()
            return predict(predictor, rows)

        monkeypatch.setattr(Predictor, "predict", changed)

    def alias(self, champion: int = 1, **more: Any) -> None:
        pointed = {"version": champion, "bundle": self.prefix[champion], "rev": 5}
        self.aws.items["MODEL#income", "ALIAS#champion"] = {**pointed, **more}
        self.now += ALIAS_S + FLUSH_S + 1

    def canary(self, share: float = 1.0, **more: Any) -> None:
        told = {"version": 2, "bundle": self.prefix[2], "share": share, "shadow": False, "live": True, "rev": 5}
        self.alias(challenger={**told, "limits": LIMITS, **more})

    def watch(self, until: float | None = None, **limits: Any) -> None:
        instead = {"version": 1, "bundle": self.prefix[1]}
        until = time.time() + 60 if until is None else until
        self.alias(2, watch={"rev": 5, "until": until, "limits": {**LIMITS, **limits}, "instead": instead})

    def ask(self, key: str = "", body: Any = None, verb: str = "predict") -> tuple[int, Any]:
        headers = {**HEADERS, **({KEY_HEADER: key} if key else {})}
        answer = self.door.handle(request(body, verb, headers=headers))
        return answer["statusCode"], json.loads(answer["body"])

    def counted(self, alias: str = "challenger") -> dict[str, Any]:
        return self.aws.items.get(("HEALTH#income", f"{alias}#000005#all"), {})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running() as aws:
        world = World(aws, tmp_path)
        yield world
        world.client.close()


def test_each_answer_is_one_versions_and_says_which(world: World) -> None:
    world.canary(0.5)
    for key in map(str, range(40)):
        status, body = world.ask(key)
        assert status == 200 and body["alias"] == {1: "champion", 2: "challenger"}[body["version"]]
        assert body["predictions"] == world.alone[body["version"]]
        assert world.ask(key)[1] == body, "the same key gets the same version"
    assert {line["version"] for line in world.log[-80:]} == {1, 2}


def test_two_versions_stay_in_memory_and_warm_requests_only_write_counts(world: World) -> None:
    world.canary(0.5)
    for key in map(str, range(20)):
        world.ask(key)
    world.aws.calls.clear()
    for key in map(str, range(20)):
        world.ask(key)
    assert world.aws.calls == [], "within the seconds between two writes"
    world.now += FLUSH_S + 0.1
    for key in map(str, range(20)):
        world.ask(key)
    assert [call.split()[0] for call in world.aws.calls] == ["UpdateItem", "UpdateItem"]


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_challenger_that_cannot_be_loaded_costs_no_request(world: World, damage: str) -> None:
    if damage == "missing":
        del world.aws.objects[world.prefix[2] + "MANIFEST.json"]
        world.bundles.opened.clear()
    else:
        world.damage()
    world.canary()
    for key in map(str, range(10)):
        world.now += FLUSH_S + 0.1
        status, body = world.ask(key)
        assert (status, body["version"], body["alias"]) == (200, 1, "champion")
        assert world.log[-1]["failed"] == {"version": 2, "code": "BAD_BUNDLE"}
    assert (world.counted()["requests"], world.counted()["errors"]) == (10, 10)
    ((name, detail),) = world.aws.events
    assert name == "HealthBroken" and "10 of 10" in detail["why"]
    assert {key: detail[key] for key in ("model", "alias", "version", "rev")} == {
        **{"model": "income", "alias": "challenger", "version": 2, "rev": 5}
    }


def test_a_bundle_that_failed_is_not_fetched_again_with_every_request(world: World) -> None:
    world.damage()
    world.canary()
    world.ask()
    world.aws.calls.clear()
    for _ in range(10):
        assert world.ask()[1]["version"] == 1
    assert not [call for call in world.aws.calls if call.startswith("GetObject")]
    world.door.unopened.clear()  # ten seconds later
    world.aws.objects[world.prefix[2] + "model.onnx"] = (world.folder / "2" / "model.onnx").read_bytes()
    assert world.ask()[1]["version"] == 2


def test_what_both_versions_refuse_counts_against_neither(world: World) -> None:
    world.canary()
    for _ in range(12):
        world.now += FLUSH_S + 0.1
        assert world.ask(body={"row": {"age": 3}})[0] == 422
    assert not world.counted() and not world.aws.events
    assert world.ask()[1]["version"] == 2


def test_a_new_champion_that_fails_is_helped_out_by_the_one_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.watch()
    assert world.ask()[1]["alias"] == "champion"

    def fails() -> None:
        raise SchemaMismatch("It wants a column nobody sends.", code="FEATURE_MISSING")

    world.before_each_prediction(2, fails, monkeypatch)
    for _ in range(10):
        world.now += FLUSH_S + 0.1
        status, body = world.ask()
        assert (status, body["version"], body["alias"]) == (200, 1, "previous")
    assert world.aws.events[-1][1]["alias"] == "champion" and "10 of" in world.aws.events[-1][1]["why"]


def test_a_champion_whose_watch_is_over_answers_for_itself(world: World) -> None:
    world.watch(until=time.time() - 1)
    world.aws.calls.clear()
    assert world.ask()[1]["version"] == 2
    assert not [call for call in world.aws.calls if call.startswith("UpdateItem")]


def test_a_challenger_many_times_slower_is_told_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.alias(1)
    for key in map(str, range(40)):  # what is usual
        world.ask(key)
    world.canary()
    world.ask()
    world.before_each_prediction(2, lambda: time.sleep(0.02), monkeypatch)
    world.now += FLUSH_S + 0.1
    for key in map(str, range(30)):
        world.ask(key)
    world.now += FLUSH_S + 0.1
    assert world.ask()[0] == 200
    ((name, detail),) = world.aws.events
    assert name == "HealthBroken" and "times as long" in detail["why"] and world.counted()["errors"] == 0


def test_a_shadow_is_scored_and_seen_in_the_log_alone(world: World) -> None:
    world.canary(shadow=True)
    for verb in ("predict", "explain"):
        status, body = world.ask(verb=verb)
        assert (status, body["version"], body["alias"]) == (200, 1, "champion")
        assert body["predictions"] == world.alone[1] and "shadow" not in body
        labels = [[item["label"] for item in world.alone[number]] for number in (1, 2)]
        same = sum(old == new for old, new in zip(*labels, strict=True)) / len(ROWS)
        assert world.log[-1]["shadow"] == {"version": 2, "same": same}


def test_a_failing_shadow_fails_no_request_and_is_counted(world: World) -> None:
    world.damage()
    world.canary(shadow=True)
    for _ in range(10):
        world.now += FLUSH_S + 0.1
        assert world.ask()[0] == 200
        assert world.log[-1]["shadow"] == {"version": 2, "code": "BAD_BUNDLE"}
    assert [name for name, _ in world.aws.events] == ["HealthBroken"]


def test_a_canary_that_lasted_without_a_broken_limit_is_told_of(world: World) -> None:
    world.canary(promotes=True, until=int(time.time()) - 1)
    for _ in range(9):
        world.now += FLUSH_S + 0.1
        world.ask()
    assert world.aws.events == []
    world.now += FLUSH_S + 0.1
    world.ask()
    ((name, detail),) = world.aws.events
    assert (name, detail["version"], detail["rev"]) == ("CanaryEnded", 2, 5)


def test_a_canary_by_hand_lasts_until_somebody_ends_it(world: World) -> None:
    world.canary(until=None)
    for _ in range(20):
        world.now += FLUSH_S + 0.1
        world.ask()
    assert world.aws.events == [] and world.counted()["requests"] == 20


@pytest.mark.parametrize("fault", [500, 400, "close"])
def test_counts_that_cannot_be_written_wait_and_fail_no_request(world: World, fault: int | str) -> None:
    world.canary()
    world.ask()
    world.aws.calls.clear()
    for _ in range(3):
        world.now += FLUSH_S + 0.1
        for held in (world.door.pointers.aliases.held, world.door.pointers.keys.held):
            held.update({name: (world.now, value) for name, (_, value) in held.items()})
        world.aws.faults = [fault] * (2 if fault == "close" else 1)  # a kept connection is replaced at once
        assert world.ask()[0] == 200 and "health" in world.log[-1], world.log[-1]
    world.aws.faults = []
    world.now += FLUSH_S + 0.1
    world.ask()
    assert world.counted()["requests"] == 5


KEPT = {"enabled": True, "sample": 1.0, "rows": 100, "private": []}


def kept(world: World) -> list[dict[str, Any]]:
    """What the request log holds."""
    keys = [key for key in world.aws.objects if key.startswith("traffic/")]
    return [json.loads(line) for key in keys for line in gzip.decompress(world.aws.objects[key]).splitlines()]


def test_what_a_challenger_scores_unseen_is_kept_by_its_own_rules(world: World) -> None:
    world.door.traffic = Traffic(world.client, BUCKET, clock=lambda: world.now)
    challenger = {"version": 2, "bundle": world.prefix[2], "share": 1.0, "shadow": True, "live": True, "rev": 5}
    world.alias(challenger={**challenger, "limits": LIMITS, "monitor": {**KEPT, "private": ["age"]}}, monitor=KEPT)
    world.ask()
    world.now += 60
    world.ask()
    found = {(record["alias"], record["version"]): set(record["columns"]) for record in kept(world)}
    assert set(found) == {("champion", 1), ("shadow", 2)}
    assert "age" in found["champion", 1] and "age" not in found["shadow", 2]


def test_what_the_champion_answers_for_a_challenger_is_kept_by_the_champions_rules(world: World) -> None:
    world.door.traffic = Traffic(world.client, BUCKET, clock=lambda: world.now)
    challenger = {"version": 2, "bundle": world.prefix[2], "share": 1.0, "shadow": False, "live": True, "rev": 5}
    private = {**KEPT, "private": ["age"]}
    world.alias(challenger={**challenger, "limits": LIMITS, "monitor": KEPT}, monitor=private)
    world.damage()
    status, body = world.ask()
    assert (status, body["version"]) == (200, 1)
    (record,) = kept(world)
    assert (record["alias"], record["version"]) == ("champion", 1)
    assert "age" not in record["columns"] and record["columns"]
