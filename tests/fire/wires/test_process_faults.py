"""Processes that die, hang, starve or come back late at their work: one version, no lost upload, every end a reason."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.fire.proxy import Proxy, Request
from tests.fire.wires import forked
from tests.fire.wires.mill import STAGES, Mill, told

from tidemill.core import jobs

pytestmark = [
    *(pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)),
    pytest.mark.filterwarnings("ignore:os.fork"),  # JAX, where another test has loaded it; no child here calls it
]
INTERRUPTED = 75  # what local Batch does with a killed attempt: another one
CALLS = {"preprocess": 15, "train": 4, "promote": 10, "job": 15}  # at least so many are survived


def all_failed(event: dict[str, Any]) -> dict[str, Any]:
    """What becomes of the messages of a function that ended: all come back."""
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in event["Records"]]}


@pytest.fixture
def patient(mill: Mill) -> Any:
    """Queues that give a message many tries, one for each death."""
    mill.give_up_after(1000)
    yield
    mill.give_up_after(5)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("stage", [*STAGES, "job"])
def test_killed_at_each_of_its_calls_in_turn_a_process_is_survived(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch, stage: str, moment: str
) -> None:
    deaths = forked.Deaths(stage, moment)
    handle, work = mill.handle, mill.work

    def mortal(name: str, event: dict[str, Any]) -> dict[str, Any]:
        answer = deaths.run(name, lambda: handle(name, event))
        return all_failed(event) if answer is None else dict(answer)

    def mortal_job(job: dict[str, Any]) -> int:
        answer = deaths.run("job", lambda: work(job))
        return INTERRUPTED if answer is None else int(answer)

    monkeypatch.setattr(mill, "handle", mortal)
    monkeypatch.setattr(mill, "work", mortal_job)
    monkeypatch.setattr(proxy, "on_kill", deaths.kill)
    with fire("fault classes", f"kill -9 {moment} each call: {stage}") as case:
        told(mill, proxy, new_model(), deaths.choose)
        case.notes = {"kills": deaths.killed, "at": deaths.names}
        assert deaths.killed >= CALLS[stage], deaths.names


class Held:
    """Stops a child (SIGSTOP) at one of its calls, until it is let go; the call then goes on."""

    def __init__(self, call: str) -> None:
        self.call, self.child = call, None
        self.stopped, self.let_go = threading.Event(), threading.Event()

    def choose(self, request: Request) -> str:
        return "hold" if request.name == self.call and not self.stopped.is_set() else ""

    def hold(self, request: Request) -> None:
        self.stopped.set()
        self.let_go.wait(60)


@pytest.fixture
def held(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Held]:
    """A process that is stopped at a call."""

    def make(call: str) -> Held:
        made = Held(call)
        monkeypatch.setattr(proxy, "on_hold", made.hold)
        return made

    return make


def test_a_job_that_was_stopped_and_wakes_when_another_has_done_its_work_changes_nothing(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sleeper's transaction reaches the table after the other's; only its epoch keeps it out."""
    with fire("fault classes", "SIGSTOP of a job past its lease"):
        sleeper, work = held("dynamodb TransactWriteItems"), mill.work

        def twice(job: dict[str, Any]) -> int:
            child = forked.start(lambda: work(job))
            assert sleeper.stopped.wait(60)
            child.signal(signal.SIGSTOP)
            with monkeypatch.context() as patch:  # the lease of the sleeper has run out
                patch.setattr("tidemill.core.registry.seconds", lambda: forked.later(600))
                assert work({**job, "jobId": job["jobId"] + "-2"}) == 0
            child.signal(signal.SIGCONT)
            sleeper.let_go.set()
            assert child.join() == 0, "it finds that another has the run, and stops"
            return 0

        monkeypatch.setattr(mill, "work", twice)
        told(mill, proxy, new_model(), sleeper.choose)


@pytest.mark.parametrize("call", ["s3 GetObject", "dynamodb UpdateItem", "events PutEvents"])
def test_a_message_seen_again_while_it_is_worked_on_is_done_once(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, held: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Its visibility ran out: two workers have it, and the first ends last."""
    with fire("fault classes", f"visibility expires mid-work, at {call}"):
        first, handle = held(call), mill.handle

        def twice(stage: str, event: dict[str, Any]) -> dict[str, Any]:
            if stage != "preprocess" or first.stopped.is_set():
                return handle(stage, event)
            child = forked.start(lambda: handle(stage, event))
            if not first.stopped.wait(20):
                return dict(child.join())  # a message that makes no such call
            answer = handle(stage, event)
            first.let_go.set()
            assert child.join() == answer == {"batchItemFailures": []}
            return answer

        monkeypatch.setattr(mill, "handle", twice)
        told(mill, proxy, new_model(), first.choose)
        assert first.stopped.is_set()


def test_a_function_past_its_time_is_ended_and_its_message_comes_back(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fire("fault classes", "time limit of a function"):
        slow, handle, before = held("s3 PutObject"), mill.handle, mill.failures

        def limited(stage: str, event: dict[str, Any]) -> dict[str, Any]:
            answer = forked.start(lambda: handle(stage, event)).join(120 if slow.let_go.is_set() else 3)
            if answer is None:
                slow.let_go.set()
            return all_failed(event) if answer is None else dict(answer)

        def hold(request: Request) -> str:  # every try: the client gives one up after a second and asks again
            return "hold" if request.name == slow.call and not slow.let_go.is_set() else ""

        monkeypatch.setattr(mill, "handle", limited)
        told(mill, proxy, new_model(), hold)
        assert slow.stopped.is_set() and mill.failures > before


def test_a_preprocess_without_disk_loses_nothing(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fire("fault classes", "disk full: preprocess"):
        handle, starved = mill.handle, {"left": 2}

        def worker(stage: str, event: dict[str, Any]) -> dict[str, Any]:
            if stage != "preprocess" or not starved["left"]:
                return handle(stage, event)
            starved["left"] -= 1
            answer = forked.start(lambda: handle(stage, event), {resource.RLIMIT_FSIZE: 1024}).join()
            return all_failed(event) if answer is None else dict(answer)

        before = mill.failures
        monkeypatch.setattr(mill, "handle", worker)
        told(mill, proxy, new_model(), lambda request: "")
        assert mill.failures > before, "the limit was felt"


def test_a_job_whose_disk_is_full_ends_its_run_with_that_reason(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fire("fault classes", "disk full: job"):
        model, work = new_model(), mill.work

        def starved(job: dict[str, Any]) -> int:
            assert forked.start(lambda: work(job), {resource.RLIMIT_FSIZE: 1024}).join() == 70
            return 0

        monkeypatch.setattr(mill, "work", starved)
        mill.upload(model)
        mill.run_until(lambda: bool(mill.registry.runs(model)) and not mill.waiting())
        (run,) = mill.registry.runs(model)
        assert (run["state"], run["reason"]["code"]) == ("FAILED", "DISK_FULL")
        assert run["reason"]["remedy"] and not mill.registry.versions(model)


def test_a_storm_of_ten_cold_workers_with_the_same_bytes_makes_one_version(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fire("fault classes", "cold start storm"):
        model, handle = new_model(), mill.handle
        for number in range(10):
            mill.upload(model, number=number)

        def all_at_once(stage: str, event: dict[str, Any]) -> dict[str, Any]:
            if stage == "promote":
                return handle(stage, event)
            alone = [{"Records": [record]} for record in event["Records"]]
            children = [forked.start(lambda one=one: handle(stage, one)) for one in alone]
            assert [child.join() for child in children] == [{"batchItemFailures": []}] * len(alone)
            return {"batchItemFailures": []}

        monkeypatch.setattr(mill, "handle", all_at_once)
        mill.run_until(lambda: len(mill.registry.runs(model)) == 10 and mill.is_done(model)())
        runs = mill.registry.runs(model)
        assert {(run["state"], run["version"]) for run in runs} == {("READY", 1)}
        assert [item["version"] for item in mill.registry.versions(model)] == [1]
        alias = mill.registry.alias(model)
        assert alias is not None and alias["order"] == max(run["order"] for run in runs)
        assert not list(jobs.alive(mill.batch, "wires-training"))
