"""The other commands: lists, logs, cards, hands on the alias, keys, the stack, doctor and deploy."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.doubles.plane import InProcess

from tidemill.cli import deploy as deploying

REPOSITORY = Path(__file__).parents[2]


def test_models_and_runs_are_listed(run: Any) -> None:
    shown = run("models").stdout
    assert "income" in shown
    assert "REJECTED" in shown
    shown = run("runs", "income").stdout
    for text in ("r-two", "r-bad", "40 of 100 rows cannot be read.", "Better than version 1."):
        assert text in shown
    assert [item["run"] for item in run.json("runs", "income")["runs"]] == ["r-bad", "r-two", "r-one"]


def test_a_run_is_shown_by_its_id_alone(run: Any) -> None:
    run.plane.registry.rows["income"]["runs"][0]["run"] = "r-00000000beef"
    shown = run("runs", "r-00000000beef")
    assert shown.exit_code == 0
    for text in ("REJECTED", "TOO_MANY_BAD_ROWS", "Correct the rows", "s3://artifacts-bucket/rejections"):
        assert text in shown.stdout
    assert run.json("runs", "r-00000000beef")["state"] == "REJECTED"
    assert run("runs", "r-00000000dead").exit_code == 3


def test_logs_are_printed_once_each_and_followed_to_the_end(run: Any) -> None:
    assert run("logs", "r-two").stdout.split("\n")[:-1] == [f"epoch {step}" for step in range(5)]
    item = next(item for item in run.plane.registry.rows["income"]["runs"] if item["run"] == "r-two")
    item["state"] = "RUNNING"
    stream = run.plane.logs.streams["job/r-two"]
    more = iter([{"timestamp": 1004, "message": "same moment"}, {"timestamp": 2000, "message": "last"}])

    def write() -> None:
        line = next(more, None)
        if line:
            stream.append(line)
        else:
            item["state"] = "READY"

    run.pipeline.step = write
    lines = run("logs", "r-two", "--follow").stdout.split("\n")[:-1]
    assert lines == [*(f"epoch {step}" for step in range(5)), "same moment", "last"]
    assert len(run.json("logs", "r-two")["lines"]) == 7


def test_a_card_is_saved_and_opened(run: Any, tmp_path: Path) -> None:
    assert run("card", "income").exit_code == 0
    path = tmp_path / ".tidemill/cards/income.html"
    assert "income 2" in path.read_text()
    assert run.opened == [path.as_uri()]
    out = tmp_path / "card.html"
    assert run("card", "income", "--version", "1", "--no-open", "-o", str(out)).exit_code == 0
    assert "income 1" in out.read_text()
    assert len(run.opened) == 1
    assert run("card", "income", "--no-open", "-o", "/proc/none/card.html").exit_code == 3


def test_promote_and_rollback_need_a_reason(run: Any) -> None:
    assert run("promote", "income", "1").exit_code == 2
    assert "serves version 1 (before: version 2)" in run("promote", "income", "1", "--why", "calmer").stdout
    assert run.json("rollback", "income", "--why", "no")["version"] == 2
    assert run("promote", "income", "9", "--why", "x").exit_code == 3


def test_a_pin_keeps_what_serves_and_unpin_lets_go(run: Any) -> None:
    assert "version 2 stays in service" in run("pin", "income", "--why", "audit").stdout
    assert run.plane.registry.alias("income")["pinned"] is True
    assert "version 2 serves until" in run("unpin", "income", "--why", "over").stdout
    assert run.plane.registry.alias("income")["pinned"] is False


def test_a_canary_is_begun_shown_and_stopped(run: Any) -> None:
    assert "version 1 answers 10.0% of the requests" in run("canary", "income", "1").stdout
    assert run.json("canary", "income", "1", "--shadow")["share"] == 1.0
    assert "Beside it version 1 scores unseen 100.0%" in run("history", "income").stdout
    assert "version 2 answers every request" in run("canary", "income", "--stop", "--why", "enough").stdout
    for wrong in (("income",), ("income", "1", "--stop"), ("income", "1", "--share", "2")):
        assert run("canary", *wrong).exit_code == 2


def test_the_history_names_who_and_why(run: Any) -> None:
    run("promote", "income", "1", "--why", "complaints since Tuesday")
    shown = run("history", "income").stdout
    for text in ("version 1 of income served, pinned", "complaints since Tuesday", "test operate", "version 2 serves"):
        assert text in shown
    assert "no version of income was in service" in run("history", "income", "--at", "2020-01-01").stdout
    assert [move["version"] for move in run.json("history", "income")["moves"]] == [1, 2, 1]


def test_keys_are_shown_once_listed_without_secrets_and_revoked(run: Any) -> None:
    made = run.json("keys", "create", "--role", "predict", "--name", "Ada")
    assert made["key"].startswith("tm_")
    listed = run("keys", "list").stdout
    assert made["id"] in listed
    assert made["key"] not in listed
    run.environment["TIDEMILL_KEY"] = made["key"]
    assert run("models").exit_code == 0
    assert run("runs", "income").exit_code == 7
    assert run("keys", "revoke", made["id"]).exit_code == 0
    assert run("models").exit_code == 7
    assert run("keys", "revoke", "00000000").exit_code == 3


def test_up_makes_keys_for_the_owner_alone_and_keeps_them(run: Any, tmp_path: Path) -> None:
    run.environment.clear()
    found = run.json("up")
    assert found["keys_made"] == ["predict", "operate"]
    path = tmp_path / ".tidemill/keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = json.loads(path.read_text())
    assert run.json("up")["keys_made"] == []
    assert json.loads(path.read_text()) == secrets
    assert run("models").exit_code == 0
    shown = run("up").stdout
    assert "/docs" in shown
    assert not any(secret in shown for secret in secrets.values())
    run.plane.registry.secrets.clear()
    assert run.json("up")["keys_made"] == ["predict", "operate"]


def test_up_after_a_crash_brings_the_registry_back(run: Any) -> None:
    run.environment.clear()
    run.clean = False
    assert run.json("up")["recovered"] == {"run": 2, "resumed": 1}
    assert "not clean" in run("up").stdout


def test_down_says_whether_something_ran(run: Any) -> None:
    assert run.json("down")["stopped"] is True
    run.local.down = lambda state, report: False
    assert "No stack was running" in run("down").stdout


def test_status_tells_a_stack_that_answers_from_one_that_does_not(run: Any) -> None:
    assert "answers" in run("status").stdout
    assert run.json("status")["models"][0]["model"] == "income"
    run.transport = httpx.MockTransport(_refuse)
    result = run("status")
    assert result.exit_code == 5
    assert "tidemill up" in result.stdout


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def test_without_a_stack_every_command_says_how_to_get_one(run: Any) -> None:
    run.environment.clear()
    result = run("models")
    assert result.exit_code == 5
    assert "tidemill up" in result.stderr
    assert run.json("models", code=5)["error"]["code"] == "NO_STACK"


@pytest.mark.parametrize(
    ("answer", "code", "shown"),
    [
        (httpx.ConnectError("no"), 5, "does not answer"),
        (httpx.ReadTimeout("slow"), 6, "did not answer within"),
        (httpx.Response(502, text="<html>"), 1, "answered 502 without a reason"),
        (httpx.Response(503, json={"code": "UNAVAILABLE", "detail": "Busy."}), 5, "Busy."),
    ],
)
def test_an_api_that_fails_is_one_sentence(run: Any, answer: Any, code: int, shown: str) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    run.transport = httpx.MockTransport(reply)
    result = run("models")
    assert result.exit_code == code
    assert shown in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_key_is_said_with_its_remedy(run: Any) -> None:
    run.environment["TIDEMILL_KEY"] = "wrong"
    result = run("models")
    assert result.exit_code == 7
    assert "UNAUTHORIZED" in result.stderr
    assert "What to do:" in result.stderr
    assert run.json("models", code=7)["error"]["status"] == 401


def test_a_remote_address_never_gets_the_local_keys(run: Any) -> None:
    run.environment.clear()
    run("up")
    run.environment["TIDEMILL_URL"] = "https://somewhere.example"
    result = run("models")
    assert result.exit_code == 7
    assert "TIDEMILL_KEY" in result.stderr


def test_a_bug_is_one_line_and_a_file_never_a_traceback(run: Any, tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("a bug")

    run.transport = httpx.MockTransport(fail)
    result = run("models")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "ZeroDivisionError: a bug" in (tmp_path / ".tidemill/logs/last-error.txt").read_text()


def test_demo_goes_from_nothing_to_a_prediction(run: Any, tmp_path: Path) -> None:
    run.environment.clear()
    (tmp_path / "tests/data").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests/data/adult-3000.csv", tmp_path / "tests/data")
    result = run("demo")
    assert result.exit_code == 0, result.output
    for text in ("From upload to first prediction", "curl -sS http://plane", "/explain", "adult-demo.html"):
        assert text in result.stdout
    secrets = json.loads((tmp_path / ".tidemill/keys.json").read_text())
    assert not any(secret in result.output for secret in secrets.values())
    found = run.json("demo")
    assert found["predictions"]["predictions"]
    assert found["run"]["state"] == "READY"
    assert Path(found["card"]).is_file()


def test_demo_without_its_data_says_so(run: Any) -> None:
    assert run("demo").exit_code == 3


def test_doctor_names_every_check_and_a_remedy(run: Any, tmp_path: Path) -> None:
    found = {check["name"]: check for check in run.json("doctor", "--port", "0", code=1)["checks"]}
    assert found["Python"]["result"] == found["Packages"]["result"] == found["Stack"]["result"] == "good"
    assert found["Repository"]["result"] == "bad"
    (tmp_path / "template.yaml").write_text("")
    assert run("doctor", "--port", "0").exit_code == 0
    for check in found.values():
        assert check["result"] == "good" or check["remedy"]


def test_doctor_sees_open_keys_and_a_killed_stack(run: Any, tmp_path: Path) -> None:
    run.environment.clear()
    state = tmp_path / ".tidemill"
    state.mkdir()
    (state / "keys.json").write_text("{}")
    (state / "keys.json").chmod(0o644)
    (state / "running.json").write_text('{"pid": 4194999, "port": 1}')
    found = {check["name"]: check for check in run.json("doctor", "--port", "0", code=1)["checks"]}
    assert "chmod 600" in found["Keys"]["remedy"]
    assert "not clean" in found["State"]["found"]


def test_doctor_sees_a_port_that_is_taken(run: Any, tmp_path: Path) -> None:
    import socket

    (tmp_path / "template.yaml").write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("doctor", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "--port" in result.stdout


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")


@pytest.mark.usefixtures("bare_machine")
def test_deploy_prints_its_commands_and_names_what_is_missing(run: Any) -> None:
    found = run.json("deploy", "--dry-run", "--stack-name", "mine", "--email", "a@b.c", "--jwt-issuer", "https://i")
    assert found["ran"] is False
    assert [command.split()[:2] for command in found["commands"]] == [["sam", "build"], ["sam", "deploy"]]
    assert "--stack-name mine" in found["commands"][1]
    assert "AlarmEmail=a@b.c" in found["commands"][1]
    assert "JwtIssuer=https://i" in found["commands"][1]
    assert {item["what"] for item in found["missing"]} == {
        *("the program sam", "the program make", "template.yaml"),
        *("AWS credentials", "an AWS region", "the training image"),
    }
    result = run("deploy")
    assert result.exit_code == 3
    assert "pip install aws-sam-cli" in result.stdout


def test_deploy_runs_build_and_then_deploy_and_stops_at_a_failure(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    codes = iter([0, 1])

    def fake(command: list[str], **more: Any) -> Any:
        ran.append(command[1])
        return type("Ended", (), {"returncode": next(codes)})

    monkeypatch.setattr(deploying, "missing", lambda *given: [])
    monkeypatch.setattr("subprocess.run", fake)
    result = run("deploy", "--image", "x")
    assert ran == ["build", "deploy"]
    assert result.exit_code == 1


def test_a_transport_of_the_app_is_all_these_tests_talk_to(run: Any) -> None:
    assert isinstance(run.transport, InProcess)


class _Queues:
    """SQS and CloudWatch Logs of a local stack."""

    class exceptions:  # noqa: N801 - the name boto3 gives it
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, counts: dict[str, int], lines: list[str]) -> None:
        self.counts, self.lines = counts, lines

    def get_queue_attributes(self, **get: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.counts.get(get["QueueUrl"], 0))}}

    def filter_log_events(self, **get: Any) -> Any:
        if not get["logGroupName"].endswith("/train"):
            raise self.exceptions.ResourceNotFoundException
        return {"events": [{"message": line} for line in self.lines]}


@pytest.mark.parametrize(
    ("counts", "result", "shown"),
    [
        ({}, "good", "empty"),
        ({"http://q": 2}, "note", "2 in TrainQueue"),
        ({"http://q": 2, "http://d": 1}, "bad", "1 in TrainDeadLetters"),
    ],
)
def test_doctor_sees_messages_that_wait_and_that_gave_up(
    run: Any, tmp_path: Path, counts: dict[str, int], result: str, shown: str
) -> None:
    run.environment.clear()
    (tmp_path / "template.yaml").write_text("")
    fault = {"level": "ERROR", "error": "KeyError", "stack_trace": {"value": "'age'"}}
    outside = _Queues(counts, ["START", '{"level": "INFO"}', json.dumps(fault)])
    resources = {"TrainQueue": "http://q", "TrainDeadLetters": "http://d", "Table": "t"}
    stack = SimpleNamespace(name="tidemill", state=tmp_path, resources=resources, client=lambda service: outside)
    run.local.status = lambda state: stack
    code = 1 if result == "bad" else 0
    found = {check["name"]: check for check in run.json("doctor", "--port", "0", code=code)["checks"]}
    assert found["Queues"]["result"] == result
    assert shown in found["Queues"]["found"]
    assert "Train: KeyError: 'age' (1x)" in found["Functions"]["found"]
