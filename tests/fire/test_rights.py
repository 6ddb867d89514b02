"""Each right of each role is there because something is done with it: take it away and a recorded call is refused.

The story is the tests of the pipeline, run on a stack whose verdicts are written down; its assertions are theirs.
`RIGHTS_RECORDED=FOLDER` judges what was recorded before instead of telling the story again.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.fire.rights import policy
from tests.fire.rights.story import Story, plain, read, tell
from tests.fire.rights.survivors import SURVIVORS

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


def test_a_right_less_is_noticed_or_listed_with_its_reason(story: Story, fire: Any) -> None:
    everything = story.mutants()
    with fire("policy mutants", "one right less", count=len(everything)) as case:
        survived = Counter(plain(mutant) for mutant in everything if not story.killed(mutant))
        case.notes = {"mutants": len(everything), "survivors": sum(survived.values())}
        assert not set(survived) - set(SURVIVORS), "new: " + ", ".join(sorted(set(survived) - set(SURVIVORS)))
        assert not set(SURVIVORS) - set(survived), "killed: " + ", ".join(sorted(set(SURVIVORS) - set(survived)))


def test_every_function_did_something_in_its_own_role(story: Story) -> None:
    """A story that reaches fewer roles than this would prove less than the table says."""
    roles = {call.role.split("-")[1] for call in story.calls}
    assert roles >= {"ApiRole", "JobRole", "PredictRole", "PreprocessRole", "PromoteRole", "TrainRole", "SweepRole"}


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
