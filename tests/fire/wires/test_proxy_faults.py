"""Every kind of call of the loop lost, doubled, delayed, cut short or refused on the wire: one version, no lost upload.

The first try of each call suffers, or every try of a delivery, so that the client's own retries and the queue's are
both needed. Handlers and jobs are the product's, unchanged; they only have another AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fire.proxy import ACTS, Proxy, Request
from tests.fire.wires.mill import Mill, dataset_ready, told

from tidemill.core import clock

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)]
# What the loop calls while it makes a version, as a run without faults shows (asserted below).
CALLS = (
    "s3 GetObject",
    "s3 PutObject",
    "s3 ListObjectsV2",
    "dynamodb GetItem",
    "dynamodb PutItem",
    "dynamodb UpdateItem",
    "dynamodb Query",
    "dynamodb TransactWriteItems",
    "events PutEvents",
    "batch SubmitJob",
)
REFUSED = (
    *(("throttle", call) for call in CALLS if call.startswith("dynamodb")),
    ("conflict", "dynamodb UpdateItem"),
    ("cancel", "dynamodb TransactWriteItems"),
)
TRIES = 5  # of the client, in one call


def test_without_a_fault_the_loop_makes_exactly_these_calls(mill: Mill, proxy: Proxy, new_model: Any) -> None:
    model, seen, before = new_model(), [], mill.failures
    told(mill, proxy, model, lambda request: seen.append(request.name))
    assert set(seen) == set(CALLS)
    assert mill.failures == before


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("call", CALLS)
def test_the_first_try_of_each_such_call_fails(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, act: str, call: str
) -> None:
    cut: set[str] = set()

    def choose(request: Request) -> str:
        """A body that breaks off is asked for by a new call, not by a further try of the same: once for each key."""
        first = request.attempt == 1 and not (act == "truncate" and request.path in cut)
        cut.update([request.path] if call.startswith("s3") else [])
        return act if request.name == call and first else ""

    with fire("fault classes", f"{act}: {call}"):
        told(mill, proxy, new_model(), choose)
        assert proxy.faults, "nothing happened"


@pytest.mark.parametrize(("act", "call"), REFUSED)
def test_the_table_refuses_the_first_try(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, act: str, call: str
) -> None:
    """A conflict is no throttle: the client does not try it again, the registry or the queue does."""
    hurt: set[str] = set()

    def choose(request: Request) -> str:
        first = request.name == call and len(hurt) < 3
        hurt.update([str(request.number)] if first else [])
        return act if first else ""

    with fire("fault classes", f"{act}: {call}"):
        told(mill, proxy, new_model(), choose)
        assert proxy.faults


@pytest.mark.parametrize("call", CALLS)
def test_a_call_fails_until_the_delivery_is_given_up(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, call: str
) -> None:
    with fire("fault classes", f"out for a whole delivery: {call}"):
        left = iter(range(TRIES))
        told(mill, proxy, new_model(), lambda request: "503" if request.name == call and next(left, -1) >= 0 else "")
        assert len(proxy.faults) == TRIES


@pytest.mark.parametrize("act", ["drop before", "drop after", "duplicate"])
def test_every_call_of_the_loop_suffers_at_once(fire: Any, mill: Mill, proxy: Proxy, new_model: Any, act: str) -> None:
    with fire("fault classes", f"{act}: everything"):
        told(mill, proxy, new_model(), lambda request: act if request.attempt == 1 else "")
        assert {request.name for _, request in proxy.faults} >= set(CALLS)


@pytest.mark.parametrize("skew_s", [600, -600])
def test_workers_whose_clocks_are_ten_minutes_apart(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch, skew_s: int
) -> None:
    """Every other worker is wrong by ten minutes."""
    turns = {"wrong": False}

    def wrong() -> int:
        return skew_s if turns["wrong"] else 0

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=wrong())

    def alternating(do: Callable[..., Any]) -> Callable[..., Any]:
        def worker(*given: Any) -> Any:
            turns["wrong"] = not turns["wrong"]
            return do(*given)

        return worker

    monkeypatch.setattr(clock, "datetime", Skewed)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: time.time() + wrong()))
    monkeypatch.setattr(mill, "handle", alternating(mill.handle))
    monkeypatch.setattr(mill, "work", alternating(mill.work))
    with fire("fault classes", f"clocks {skew_s:+} s apart"):
        told(mill, proxy, new_model(), lambda request: "duplicate" if request.name == "batch SubmitJob" else "")


def test_one_poison_in_ten_goes_to_the_dead_letters_and_its_redrive_changes_nothing(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any
) -> None:
    with fire("fault classes", "poison in a batch, redriven twice"):
        models = [new_model() for _ in range(9)]
        for model in models:
            mill.uploads.write_bytes(f"uploads/{model}/u1/table.csv", b"<!doctype html><html></html>")
        mill.run_until(lambda: all(mill.registry.runs(model) for model in models) and not mill.waiting())
        poison = mill.poison()
        for model in models:
            mill.send("train", dataset_ready(model, mill.registry.runs(model)[0]["run"]))
        mill.send("train", poison)
        mill.run_until(lambda: not mill.waiting())
        ends = [mill.registry.runs(model) for model in models]
        assert [(run["state"], bool(run["reason"]["remedy"])) for (run,) in ends] == [("REJECTED", True)] * 9
        assert mill.dead_letters() == [poison]
        for _ in range(2):
            mill.send("train", poison)
            mill.run_until(lambda: not mill.waiting())
            assert mill.dead_letters() == [poison]
        assert ends == [mill.registry.runs(model) for model in models]


def test_a_message_redriven_twice_after_its_fault_has_passed_makes_one_version(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any
) -> None:
    with fire("fault classes", "redriven twice after the fault"):
        model = new_model()
        with proxy.faulty(lambda request: "503" if request.name == "batch SubmitJob" else ""):
            mill.upload(model)
            mill.run_until(lambda: bool(mill.registry.runs(model)) and not mill.waiting())
        (message,) = mill.dead_letters()
        assert mill.registry.runs(model)[0]["state"] == "PREPARED"
        mill.send("train", message)
        mill.send("train", message)
        mill.run_until(mill.is_done(model))
        mill.check(model)
