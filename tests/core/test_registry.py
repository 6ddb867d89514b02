"""The registry's promises, on the deployed table."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tidemill.core.errors import Conflict, NotFound, UnknownModel
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import LIVE, TERMINAL, Registry
from tidemill.core.storage import Storage

pytestmark = pytest.mark.stack
FIELDS = {"bundle": "bundles/x/", "dataset": "d-1", "task": "binary", "target": "y", "order": "1"}


def running(registry: Registry, model: str, run: str, order: str = "1") -> int:
    """A run that a job has taken; its epoch."""
    registry.receive(model, run, order, {"key": f"uploads/{model}/{run}.csv", "etag": run})
    registry.advance(model, run, "PREPARED", allowed=["RECEIVED"], fingerprint=f"f-{run}")
    taken = registry.lease(model, run, f"job-{run}", f"attempt-{run}")
    assert taken is not None
    return int(taken["epoch"])


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work` in `count` threads that start at the same moment; results or exceptions."""
    barrier, results = threading.Barrier(count), [None] * count

    def one(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_sixteen_runs_of_one_fingerprint_make_one_version(registry: Registry, new_model: Any) -> None:
    model = new_model()
    epochs = [running(registry, model, f"r{index}") for index in range(16)]
    numbers = together(16, lambda index: registry.register(model, f"r{index}", epochs[index], "same", FIELDS))
    assert numbers == [1] * 16
    assert [version["version"] for version in registry.versions(model)] == [1]
    assert {run["state"] for run in registry.runs(model)} == {"READY"}


def test_sixteen_fingerprints_get_sixteen_gapless_versions(registry: Registry, new_model: Any) -> None:
    model = new_model()
    epochs = [running(registry, model, f"r{index}") for index in range(16)]
    numbers = together(16, lambda index: registry.register(model, f"r{index}", epochs[index], f"f{index}", FIELDS))
    assert sorted(numbers) == list(range(1, 17))
    assert registry.model(model)["versions"] == 16


def test_of_sixteen_jobs_for_one_run_one_gets_the_lease(registry: Registry, new_model: Any) -> None:
    model = new_model()
    registry.receive(model, "r", "1", {"key": "k", "etag": "e"})
    registry.advance(model, "r", "PREPARED", allowed=["RECEIVED"])
    taken = together(16, lambda index: registry.lease(model, "r", f"job{index}", f"attempt{index}"))
    assert sum(item is not None for item in taken) == 1


def test_a_job_that_lost_its_lease_cannot_register(registry: Registry, new_model: Any) -> None:
    model = new_model()
    old = running(registry, model, "r")
    newer = registry.lease(model, "r", "job-r", "another attempt of the same job")
    assert newer is not None and newer["epoch"] == old + 1
    with pytest.raises(Conflict):
        registry.register(model, "r", old, "f", FIELDS)
    assert not registry.report(model, "r", old, {"stage": "training"})
    assert registry.register(model, "r", newer["epoch"], "f", FIELDS) == 1


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_an_ended_run_never_moves_again(registry: Registry, new_model: Any, end: str) -> None:
    model = new_model()
    registry.receive(model, "r", "1", {"key": "k", "etag": "e"})
    registry.advance(model, "r", end, allowed=LIVE, reason={"code": "X"})
    with pytest.raises(Conflict, match=end):
        registry.advance(model, "r", "PREPARED", allowed=LIVE)
    assert registry.lease(model, "r", "job", "attempt") is None


def test_receiving_twice_is_receiving_once(registry: Registry, new_model: Any) -> None:
    model = new_model()
    first = registry.receive(model, "r", "1", {"key": "k", "etag": "e"})
    registry.advance(model, "r", "PREPARED", allowed=["RECEIVED"])
    again = registry.receive(model, "r", "1", {"key": "k", "etag": "e"})
    assert again["state"] == "PREPARED" and again["times"]["received"] == first["times"]["received"]


def three_versions(registry: Registry, model: str) -> None:
    for number in (1, 2, 3):
        epoch = running(registry, model, f"r{number}", order=str(number))
        fields = {**FIELDS, "order": str(number), "bundle": f"bundles/{model}/r{number}/"}
        registry.register(model, f"r{number}", epoch, f"f{number}", fields)


def by_gate(registry: Registry, model: str, version: int) -> bool:
    alias = registry.alias(model)
    seen = None if alias is None else alias["rev"]
    return registry.promote_by_gate(model, version, str(version), "", seen_rev=seen)[1]


def test_the_alias_follows_upload_order_not_completion_order(registry: Registry, new_model: Any) -> None:
    model = new_model()
    three_versions(registry, model)
    assert by_gate(registry, model, 3)
    assert not by_gate(registry, model, 1)
    assert not by_gate(registry, model, 2)
    alias = registry.alias(model)
    assert alias is not None and alias["version"] == 3


def test_of_sixteen_gates_with_sixteen_versions_the_latest_upload_wins(registry: Registry, new_model: Any) -> None:
    model = new_model()
    epochs = [running(registry, model, f"r{index:02}", order=f"{index:02}") for index in range(16)]
    for index, epoch in enumerate(epochs):
        registry.register(model, f"r{index:02}", epoch, f"f{index}", {**FIELDS, "order": f"{index:02}"})

    def gate(index: int) -> None:
        for _ in range(60):
            alias = registry.alias(model)
            if alias is not None and alias["order"] >= f"{index:02}":
                return
            seen = None if alias is None else alias["rev"]
            if registry.promote_by_gate(model, index + 1, f"{index:02}", "", seen_rev=seen)[1]:
                return
        raise AssertionError("never settled")

    assert together(16, gate) == [None] * 16
    alias = registry.alias(model)
    assert alias is not None and alias["version"] == 16
    assert [move["rev"] for move in registry.moves(model)] == list(range(alias["rev"], 0, -1))


def test_a_pin_beats_the_gate_until_it_is_lifted(registry: Registry, new_model: Any) -> None:
    model = new_model()
    three_versions(registry, model)
    registry.promote(model, 1, by="ann", why="trusted")
    assert not by_gate(registry, model, 3)
    registry.promote(model, 1, by="ann", why="over", pin=False)
    assert by_gate(registry, model, 3)


def test_rollback_returns_to_the_version_before_and_says_so(registry: Registry, new_model: Any) -> None:
    model = new_model()
    three_versions(registry, model)
    with pytest.raises(Conflict, match="no earlier version"):
        registry.rollback(model, by="ann", why="")
    by_gate(registry, model, 2)
    by_gate(registry, model, 3)
    alias = registry.rollback(model, by="ann", why="complaints")
    assert (alias["version"], alias["pinned"], alias["by"], alias["why"]) == (2, True, "ann", "complaints")
    assert [move["version"] for move in registry.moves(model)] == [2, 3, 2]


def test_a_rollback_repeated_after_a_lost_answer_does_not_undo_itself(registry: Registry, new_model: Any) -> None:
    model = new_model()
    three_versions(registry, model)
    by_gate(registry, model, 2)
    by_gate(registry, model, 3)
    for _ in range(3):
        assert registry.rollback(model, by="ann", why="", leaving=3)["version"] == 2
    assert [move["version"] for move in registry.moves(model)] == [2, 3, 2]
    with pytest.raises(Conflict, match="Version 2 serves, not 1"):
        registry.rollback(model, by="ann", why="", leaving=1)


def test_the_alias_never_points_at_a_version_that_does_not_exist(registry: Registry, new_model: Any) -> None:
    model = new_model()
    three_versions(registry, model)
    with pytest.raises(NotFound, match="no version 9"):
        registry.promote(model, 9, by="ann", why="")
    assert registry.alias(model) is None


def test_a_lost_answer_does_not_lose_the_win(registry: Registry, new_model: Any) -> None:
    """The write happens, its answer is lost, the client tries again and is refused: it is still this writer's."""
    model = new_model()
    epoch = running(registry, model, "r")
    client = registry.table.table.meta.client
    lost = {"left": 1}

    def lose(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        if model.name == "TransactWriteItems" and lost["left"]:
            lost["left"] -= 1
            raise ConnectionError("the answer never came")

    client.meta.events.register("after-call.dynamodb.TransactWriteItems", lose)
    try:
        with pytest.raises(ConnectionError):
            registry.register(model, "r", epoch, "f", FIELDS)
        assert registry.register(model, "r", epoch, "f", FIELDS) == 1
    finally:
        client.meta.events.unregister("after-call.dynamodb.TransactWriteItems", lose)
    assert len(registry.versions(model)) == 1


def test_the_registry_rebuilt_from_s3_equals_the_registry(
    registry: Registry, resource: Any, artifacts: Storage, new_model: Any
) -> None:
    model = new_model()
    three_versions(registry, model)
    by_gate(registry, model, 2)
    registry.challenge(model, 3, share=0.1, shadow=True, by="ann", why="look")
    registry.promote(model, 1, by="ann", why="because")
    registry.put_key("ab" * 32, {"id": "abababab", "role": "predict", "name": "x", "created": "now", "revoked": False})
    name = "rebuilt-" + model
    client = resource.meta.client
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    fresh = Registry(name, None, resource)
    rebuild(fresh, artifacts)

    def unleased(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in run.items() if k not in ("lease_until", "progress")} for run in runs]

    assert fresh.versions(model) == registry.versions(model)
    assert fresh.alias(model) == registry.alias(model)
    assert fresh.moves(model) == registry.moves(model)
    assert unleased(fresh.runs(model)) == unleased(registry.runs(model))
    assert fresh.key("ab" * 32) == registry.key("ab" * 32)
    assert fresh.version_of(model, "f2") == 2
    client.delete_table(TableName=name)


def test_a_rebuild_puts_nothing_back_that_went_on_meanwhile(
    registry: Registry, resource: Any, artifacts: Storage, new_model: Any
) -> None:
    """What it has read of the journal is older than what the mill has done by the time it writes."""
    model = new_model()
    three_versions(registry, model)
    by_gate(registry, model, 1)
    registry.receive(model, "on-its-way", "9", {"key": "k"})
    old = {entry["Key"]: artifacts.read_json(entry["Key"]) for entry in artifacts.keys(f"registry/models/{model}/")}
    registry.advance(model, "on-its-way", "PREPARED", allowed=["RECEIVED"], fingerprint="f")
    registry.lease(model, "on-its-way", "job", "attempt")
    by_gate(registry, model, 2)

    def seen() -> list[Any]:
        runs = [{k: v for k, v in run.items() if k not in ("lease_until", "swept")} for run in registry.runs(model)]
        model_itself = {k: v for k, v in registry.model(model).items() if k != "last_run"}
        return [registry.alias(model), registry.moves(model), runs, model_itself]

    before = seen()
    read = SimpleNamespace(keys=lambda _: [{"Key": key} for key in old], read_json=old.__getitem__)
    rebuild(Registry(registry.table.name, None, resource), read)  # type: ignore[arg-type]
    assert seen() == before


def test_unknown_names_are_named_in_the_error(registry: Registry, new_model: Any) -> None:
    model = new_model()
    with pytest.raises(UnknownModel, match=model):
        registry.model(model)
    with pytest.raises(NotFound, match="no run 'r-none'"):
        registry.run(model, "r-none")


def test_other_errors_of_the_table_are_not_taken_for_refusals(registry: Registry, resource: Any) -> None:
    with pytest.raises(ClientError):
        Registry("no-such-table", None, resource).receive("m", "r", "1", {})
