"""Each right of each role is there because something is done with it: take it away and a call is refused.

The story is the tests that go through deployed doors, and `tests/pipeline/test_roles.py` for what functions do seldom,
run on a stack whose verdicts are written down; its assertions are theirs. What AWS does in a role's name without the
local stack asking is read off what is deployed. `RIGHTS_RECORDED=FOLDER` judges what was recorded before instead of
telling the story again.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.fire.rights import policy
from tests.fire.rights.story import Story, plain, read, tell
from tests.fire.rights.twin import acting, without
from tests.pipeline.conftest import Service, service
from tests.pipeline.test_roles import model, wind
from tests.serving import bundle_factory

from tidemill.core import clients
from tidemill.core.errors import Unavailable
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.sweep import Sweep

__all__ = ["model", "service"]

pytestmark = [pytest.mark.fire, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """What every role did while the pipeline's tests ran."""
    recorded = os.environ.get("RIGHTS_RECORDED")
    return read(Path(recorded)) if recorded else tell(tmp_path_factory.mktemp("rights"))


def test_the_recorded_story_is_one_whose_every_test_passed(story: Story) -> None:
    assert story.ended == 0, story.output


def test_our_judge_says_what_the_stack_said_of_every_call(story: Story, fire: Any) -> None:
    with fire("policy mutants", "the judge agrees with the stack", count=len(story.calls)):
        wrong = [call for call in story.calls if call.passes(story.policies[call.role]) != call.allowed]
        assert len(story.calls) > 100 and not wrong, wrong[:5]


def test_what_aws_asks_for_beside_the_calls_is_allowed(story: Story) -> None:
    refused = [call for call in story.implied if not call.passes(story.policies[call.role])]
    assert len(story.implied) > 40 and not refused, refused[:5]


def test_a_right_less_is_noticed(story: Story, fire: Any) -> None:
    everything = story.mutants()
    with fire("policy mutants", "one right less", count=len(everything)) as case:
        survived = Counter(plain(mutant) for mutant in everything if not story.killed(mutant))
        case.notes = {"mutants": len(everything), "survivors": sorted(survived)}
        assert len(everything) > 200 and not survived, f"nothing needs {', '.join(sorted(survived))}"


def test_every_function_did_something_in_its_own_role(story: Story) -> None:
    """A story that reaches fewer roles than this would prove less than the table says."""
    roles = {call.role.split("-")[1] for call in story.calls}
    assert roles >= {"ApiRole", "JobRole", "PredictRole", "PreprocessRole", "PromoteRole", "TrainRole", "SweepRole",
                     "ScoreRole", "ScoringJobRole", "RetrainRole", "MonitorRole"}  # fmt: skip


def predicts(stack: Any, registry: Registry, service: Service, model: str) -> bool:
    """Whether Predict answers for a model that it has not seen."""
    body = {"rows": bundle_factory.rows_of(bundle_factory.columns(1, seed=3))}
    return service.http.post(f"/models/{model}/predict", headers=service.predict, json=body).status_code == 200


def shows(path: str) -> Any:
    """Whether Api answers for a path."""

    def ask(stack: Any, registry: Registry, service: Service, model: str) -> bool:
        return service.http.get(path.format(model=model), headers=service.operate).status_code == 200

    return ask


def winds(stack: Any, registry: Registry, service: Service, model: str) -> bool:
    """Whether Retrain can make clocks and take them away."""
    try:
        wind(stack, registry, model)
    except ClientError as error:
        assert "not authorized" in str(error)
        return False
    return True


def sweeps(stack: Any, registry: Registry, service: Service, model: str) -> bool:
    """Whether Sweep can look after what is there."""
    with acting(stack, "Sweep"):
        here = Settings.from_environment()
        artifacts = Storage(here.artifacts_bucket)
        sweep = Sweep(Registry(here.table, artifacts), Storage(here.data_bucket), artifacts, here,
                      clients.client("sqs"), clients.client("batch"))  # fmt: skip
        try:
            sweep.run()
        except (Unavailable, ClientError):
            return False
    return True


@pytest.mark.stack
@pytest.mark.parametrize(
    ("role", "taken", "does"),
    [
        ("PredictRole", "ReadBundles", predicts),
        ("PredictRole", "ReadPointers", predicts),
        ("ApiRole", "ListBackbones", shows("/backbones")),
        ("ApiRole", "ManageRegistry: dynamodb:Query", shows("/models/{model}/runs")),
        ("ApiRole", "ManageRegistry: dynamodb:GetItem", shows("/models/{model}")),
        ("RetrainRole", "SetClocks: scheduler:DeleteSchedule", winds),
        ("RetrainRole", "SetClocks: scheduler:UpdateSchedule", winds),
        ("SweepRole", "FindUploads", sweeps),
    ],
)
def test_a_right_taken_from_the_running_stack_is_missed(
    stack: Any, registry: Registry, service: Service, model: str, fire: Any, role: str, taken: str, does: Any
) -> None:
    """What the judge says of mutants, said by the stack itself of some."""
    with fire("policy mutants", f"on the stack: {role} {taken}"):
        with without(stack, stack.resources[role], taken):
            assert not does(stack, registry, service, model)
        assert does(stack, registry, service, model), "and with it all is well"


ONE = {"Sid": "One", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["a/*", "b/*"]}


def test_a_statement_of_two_actions_and_two_resources_has_five_mutants() -> None:
    assert [mutant.taken for mutant in policy.mutants("r", [ONE])] == [
        "One", "One: s3:GetObject", "One: s3:PutObject", "One: a/*", "One: b/*",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringLike": {"s3:prefix": "x/*"}}, {"s3:prefix": "x/1"}, True),
        ({"StringLike": {"s3:prefix": ["x/*"]}}, {"s3:Prefix": "y/1"}, False),
        ({"StringLike": {"s3:prefix": "x/*"}}, {}, False),
        ({"StringEqualsIfExists": {"k": "v"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "v"}}, {"k": "w"}, False),
        ({"ForAllValues:StringLike": {"k": ["H#*"]}}, {"k": ["H#1", "M#1"]}, False),
        ({"ForAllValues:StringLike": {"k": ["H#*"]}}, {"k": ["H#1", "H#2"]}, True),
    ],
)
def test_a_condition_is_read_as_iam_reads_it(condition: Any, context: dict[str, Any], allowed: bool) -> None:
    assert policy.allows([{**ONE, "Condition": condition}], "s3:GetObject", "a/1", context) is allowed


def test_a_denial_outweighs_what_allows() -> None:
    assert not policy.allows([ONE, {**ONE, "Effect": "Deny"}], "s3:GetObject", "a/1", {})
