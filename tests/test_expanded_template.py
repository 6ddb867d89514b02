"""The templates as CloudFormation sees them keep our rules, and the rules have teeth."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.cloud import expand, lint, rules
from tidemill.cloud.expand import settle

Template = dict[str, Any]
FUNCTIONS = {"Preprocess", "Train", "Promote", "Predict", "Score", "Retrain", "Api", "Monitor", "Sweep"}
FLAWED = Path(__file__).parent / "data" / "flawed-template.yaml"
NOT_ON_A_LAPTOP = {"a_bucket_speaks_tls_only"}  # the local stack speaks plain HTTP on loopback


@pytest.fixture(scope="module")
def expanded(root: Path) -> Template:
    """template.yaml without SAM."""
    return expand.expand(root / "template.yaml")


@pytest.fixture(scope="module")
def aws(expanded: Template) -> Template:
    """What goes to AWS."""
    return settle(expanded, Stage="aws")


@pytest.fixture(scope="module")
def flawed() -> Template:
    """The template with a flaw for every rule."""
    return settle(expand.expand(FLAWED))


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_system_keeps_the_rule_on_aws(aws: Template, rule: str) -> None:
    assert list(rules.RULES[rule](aws)) == []


@pytest.mark.parametrize("rule", [rule for rule in rules.RULES if rule not in NOT_ON_A_LAPTOP])
def test_the_system_keeps_the_rule_on_a_laptop(expanded: Template, rule: str) -> None:
    assert list(rules.RULES[rule](settle(expanded, Stage="local"))) == []


@pytest.mark.parametrize("name", ["batch", "network", "alarms"])
def test_the_nested_stacks_keep_every_rule(root: Path, name: str) -> None:
    assert rules.check(settle(expand.expand(root / "infra" / f"{name}.yaml"))) == []


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_rule_finds_its_flaw(flawed: Template, rule: str) -> None:
    assert list(rules.RULES[rule](flawed))


def test_the_flawed_template_has_many_findings(flawed: Template) -> None:
    found = rules.check(flawed)
    assert len(found) >= 30 and len({rule for rule, _, _ in found}) == len(rules.RULES)


def test_cfn_lint_sees_in_the_expansion_what_sam_hides() -> None:
    """In SAM form cfn-lint sees neither the function's timeout beside the queue nor the rights."""
    found = lint.findings([FLAWED], ["cfn-lint"])
    assert "E3505" in {item.rule for item in found}, found


def test_cfn_lint_has_nothing_to_say_about_the_system(root: Path) -> None:
    assert lint.findings([root / name for name in lint.TEMPLATES], ["cfn-lint"]) == []


def test_the_expansion_is_about_every_function_queue_and_layer(aws: Template) -> None:
    of = {kind: set(rules.reading.of_type(aws, kind)) for kind in ("Lambda::Function", "SQS::Queue", "IAM::Role")}
    assert of["Lambda::Function"] == FUNCTIONS
    assert of["IAM::Role"] == {f"{name}Role" for name in FUNCTIONS} | {"JobRole", "ScoringJobRole", "SchedulerRole"}
    read = {function: queue for _, _, function, queue in rules.reading.mappings(aws)}
    assert read == {
        name: f"{name}Queue" for name in ("Preprocess", "Train", "Promote", "Monitor", "Score", "Retrain", "Sweep")
    }
    assert of["SQS::Queue"] == set(read.values()) | {f"{name}DeadLetters" for name in read}


def test_only_uploads_requests_and_labels_wake_anybody(aws: Template) -> None:
    assert list(rules.delivery._listeners(aws)) == [
        ("DataBucket", "uploads/", "Preprocess"),
        ("DataBucket", "requests/", "Score"),
        ("ArtifactsBucket", "labels/", "Retrain"),
    ]


def test_a_schedule_may_wake_and_nothing_else_and_only_retrain_makes_one(aws: Template) -> None:
    roles = rules.reading.of_type(aws, "IAM::Role")
    (wake,) = rules.reading.of_role(roles["SchedulerRole"])
    assert wake["Action"] == "sqs:SendMessage"
    assert roles["SchedulerRole"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
    makers = {
        name: item
        for name, role in roles.items()
        for item in rules.reading.of_role(role)
        if "iam:PassRole" in rules.reading.as_list(item["Action"])
    }
    assert list(makers) == ["RetrainRole"]
    assert rules.reading.target(makers["RetrainRole"]["Resource"]) == "SchedulerRole"
    assert makers["RetrainRole"]["Condition"]["StringEquals"]["iam:PassedToService"] == "scheduler.amazonaws.com"


def test_retrain_sets_the_clocks_of_this_stack_alone(aws: Template) -> None:
    role = rules.reading.of_type(aws, "IAM::Role")["RetrainRole"]
    (clocks,) = [item for item in rules.reading.of_role(role) if item["Sid"] == "SetClocks"]
    assert "schedule/${Group}/*" in str(clocks["Resource"]) and "{'Ref': 'Schedules'}" in str(clocks["Resource"])


def test_retrain_writes_uploads_of_its_own_and_nobody_elses(aws: Template) -> None:
    role = rules.reading.of_type(aws, "IAM::Role")["RetrainRole"]
    written = {
        rules.reading.text(item["Resource"]) for item in rules.reading.of_role(role) if item["Action"] == "s3:PutObject"
    }
    assert written == {
        "${DataBucket.Arn}/uploads/*/retrain/*",
        "${ArtifactsBucket.Arn}/registry/*",
        "${ArtifactsBucket.Arn}/labelled/*",
    }


def test_the_hot_path_reads_counts_and_tells_and_may_move_no_alias(aws: Template) -> None:
    role = rules.reading.of_type(aws, "IAM::Role")["PredictRole"]
    may = {item["Sid"]: item for item in rules.reading.of_role(role)}
    actions = {action for item in may.values() for action in rules.reading.as_list(item["Action"])}
    reading = {"logs:CreateLogStream", "logs:PutLogEvents", "s3:GetObject", "dynamodb:GetItem"}
    assert actions == reading | {"dynamodb:UpdateItem", "events:PutEvents", "s3:PutObject"}
    log = str(may["LogRequests"]["Resource"])
    assert log.count("/traffic/*") == 1 and "ArtifactsBucket" in log
    assert may["CountHealth"]["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["HEALTH#*"]}}
    told = may["TellHealth"]["Condition"]["StringEqualsIfExists"]
    assert told == {"events:source": "tidemill", "events:detail-type": ["HealthBroken", "CanaryEnded"]}


def test_the_hot_path_reads_bundles_and_files_to_be_predicted_and_nothing_else(aws: Template) -> None:
    role = rules.reading.of_type(aws, "IAM::Role")["PredictRole"]
    read = {
        str(resource)
        for item in rules.reading.of_role(role)
        if "s3:GetObject" in rules.reading.as_list(item["Action"])
        for resource in rules.reading.as_list(item["Resource"])
    }
    assert len(read) == 2
    assert any("ArtifactsBucket" in place and "/bundles/*" in place for place in read)
    assert any("DataBucket" in place and "/inbox/*" in place for place in read)


def test_files_to_be_predicted_are_gone_after_a_day(aws: Template) -> None:
    bucket = rules.reading.of_type(aws, "S3::Bucket")["DataBucket"]
    (rule,) = [item for item in bucket["LifecycleConfiguration"]["Rules"] if item.get("Prefix") == "inbox/"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 1)
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}, "the bucket keeps old versions"


def test_nobody_may_delete_data_or_versions(aws: Template) -> None:
    for name, role in rules.reading.of_type(aws, "IAM::Role").items():
        for statement in rules.reading.of_role(role):
            for action in rules.reading.as_list(statement["Action"]):
                assert not action.startswith(("s3:Delete", "dynamodb:Delete")), f"{name} may {action}"


def test_on_a_laptop_the_network_batch_and_alarms_are_left_out(expanded: Template) -> None:
    kinds = [item["Type"] for item in settle(expanded, Stage="local")["Resources"].values()]
    assert "AWS::CloudFormation::Stack" not in kinds and "AWS::S3::BucketPolicy" not in kinds
    assert [item["Type"] for item in settle(expanded, Stage="aws")["Resources"].values()].count(
        "AWS::CloudFormation::Stack"
    ) == 3


def _set(*path: str | int, to: Any) -> Callable[[Template], None]:
    def change(template: Template) -> None:
        node: Any = template["Resources"]
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = to

    return change


def _drop(*path: str | int) -> Callable[[Template], None]:
    def change(template: Template) -> None:
        node: Any = template["Resources"]
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return change


STAR = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": {"Fn::GetAtt": ["Table", "Arn"]}}
SELF = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": {"Fn::Sub": "${DataBucket.Arn}/*"}}
MUTANTS = {
    "a_queue_hides_a_message_for_six_timeouts": _set("TrainQueue", "Properties", "VisibilityTimeout", to=359),
    "a_queue_has_dead_letters_that_last_longer": _set(
        "PromoteDeadLetters", "Properties", "MessageRetentionPeriod", to=345_600
    ),
    "a_mapping_is_bounded_and_reports_single_failures": _drop("PreprocessUpload", "Properties", "ScalingConfig"),
    "an_event_target_retries_and_has_dead_letters": _drop("JobEndedRule", "Properties", "Targets", 0, "RetryPolicy"),
    "who_sends_to_a_queue_may": _set(
        "PreprocessQueuePolicy",
        "Properties",
        "PolicyDocument",
        "Statement",
        0,
        "Principal",
        to={"Service": "sns.amazonaws.com"},
    ),
    "a_queue_is_encrypted": _drop("TrainDeadLetters", "Properties", "SqsManagedSseEnabled"),
    "a_bucket_is_closed_encrypted_and_versioned": _set(
        "DataBucket", "Properties", "VersioningConfiguration", "Status", to="Suspended"
    ),
    "a_bucket_speaks_tls_only": _drop("ArtifactsBucketPolicy"),
    "state_outlives_the_stack": _drop("Table", "DeletionPolicy"),
    "a_function_never_writes_where_it_listens": _set(
        "PreprocessRole", "Properties", "Policies", 0, "PolicyDocument", "Statement", 1, to=SELF
    ),
    "a_function_logs_where_logs_end": _drop("ApiLogs", "Properties", "RetentionInDays"),
    "a_function_runs_on_a_runtime_that_loads_the_wheels": _set("Predict", "Properties", "Runtime", to="python3.11"),
    "an_api_function_answers_before_the_gateway_gives_up": _set("Api", "Properties", "Timeout", to=29),
    "an_api_is_throttled_and_logged": _drop("HttpStage", "Properties", "DefaultRouteSettings"),
    "only_this_system_may_invoke": _drop("ApiPermission", "Properties", "SourceArn"),
    "every_function_has_a_role_of_its_own": _set(
        "Predict", "Properties", "Role", to={"Fn::GetAtt": ["ApiRole", "Arn"]}
    ),
    "rights_are_named": _set("ApiRole", "Properties", "Policies", 0, "PolicyDocument", "Statement", 0, to=STAR),
    "nobody_else_may_take_a_role_or_use_a_policy": _set(
        "JobRole", "Properties", "AssumeRolePolicyDocument", "Statement", 0, "Principal", to="*"
    ),
    "nothing_carries_a_secret_in_the_clear": _set(
        "Api", "Properties", "Environment", "Variables", "ADMIN_TOKEN", to="hunter2"
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_one_flaw_planted_in_the_system_is_found_by_its_rule_alone(aws: Template, rule: str) -> None:
    mutant = copy.deepcopy(aws)
    MUTANTS[rule](mutant)
    assert {name for name, _, _ in rules.check(mutant)} == {rule}


def test_settling_decides_conditions_and_looks_up_mappings() -> None:
    template = {
        "Parameters": {"Stage": {"Default": "aws"}, "Mail": {"Default": ""}},
        "Mappings": {"M": {"aws": {"T": 9}, "local": {"T": 3}}},
        "Conditions": {
            "Aws": {"Fn::Equals": [{"Ref": "Stage"}, "aws"]},
            "Mailed": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Mail"}, ""]}]},
            "Both": {"Fn::And": [{"Condition": "Aws"}, {"Condition": "Mailed"}]},
        },
        "Resources": {
            "A": {"Type": "X", "Condition": "Aws", "T": {"Fn::FindInMap": ["M", {"Ref": "Stage"}, "T"]}},
            "B": {"Type": "X", "Condition": "Both"},
            "C": {"Type": "X", "If": {"Fn::If": ["Aws", {"Ref": "Q"}, {"Ref": "AWS::NoValue"}]}},
        },
    }
    assert settle(template)["Resources"] == {
        "A": {"Type": "X", "Condition": "Aws", "T": 9},
        "C": {"Type": "X", "If": {"Ref": "Q"}},
    }
    assert settle(template, Stage="local")["Resources"] == {"C": {"Type": "X"}}
    assert set(settle(template, Mail="a@b")["Resources"]) == {"A", "B", "C"}


def test_a_template_that_is_not_one_is_refused_with_its_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("Resources: [")
    with pytest.raises(expand.BadTemplate, match=r"broken\.yaml"):
        expand.expand(broken)
    broken.write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources: { F: { Type: 'AWS::Serverless::Function', Properties: {} } }"
    )
    with pytest.raises(expand.BadTemplate, match="broken"):
        expand.expand(broken)


def test_every_waiver_gives_a_reason_and_explains_something_that_exists(root: Path, expanded: Template) -> None:
    """Whether each still explains a finding is asked by the lint itself, which runs checkov."""
    resources = {"template": expanded["Resources"]}
    resources |= {
        name: expand.expand(root / "infra" / f"{name}.yaml")["Resources"] for name in ("batch", "network", "alarms")
    }
    for waiver in lint.read_waivers(root / "infra" / "waivers.toml"):
        assert waiver.tool == "checkov", "our own rules and cfn-lint are kept, not waived"
        for place in waiver.at:
            file, resource = place.split(":")
            assert resource in resources[file], place


def test_a_finding_without_a_waiver_and_a_waiver_without_a_finding_both_fail() -> None:
    found = [lint.Finding("checkov", "CKV_1", "template:A", "x"), lint.Finding("checkov", "CKV_1", "template:B", "x")]
    waivers = [
        lint.Waiver("CKV_1", ("template:A", "template:C"), "because"),
        lint.Waiver("E1001", ("template:A",), "b"),
    ]
    wrong, unused = lint.judge(found, waivers)
    assert wrong == [found[1]] and unused == ["CKV_1 at template:C", "E1001 at template:A"]
    assert lint.judge(found, waivers, ["checkov"])[1] == ["CKV_1 at template:C"], "what did not run cannot match"


def test_a_waiver_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text('[[waiver]]\nrule = "CKV_1"\nat = ["template:A"]\nreason = "no"\n')
    with pytest.raises(lint.LintFailed, match="not complete"):
        lint.read_waivers(path)


def test_the_command_fails_on_the_flawed_template_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main(["--skip-checkov", str(FLAWED)]) == 1
    said = capsys.readouterr().out
    assert said.count("WRONG") >= 30 and "checkov was NOT run" in said


@pytest.mark.slow
@pytest.mark.skipif(not (lint.CHECKOV / "bin" / "checkov").is_file(), reason="make lint has not made .venv-checkov")
def test_checkov_has_teeth_too() -> None:
    assert len(lint.findings([FLAWED], ["checkov"])) >= 15
