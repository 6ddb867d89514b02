"""tidemill deploy: the same template on AWS, by `sam build` and `sam deploy`, after looking whether that can work."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tidemill.cli.failures import UNEXPECTED, Missing
from tidemill.cli.session import Session, json_option, pass_session

PROGRAMS = {
    "sam": "Install the AWS SAM CLI: pip install aws-sam-cli",
    "make": "Install make: the layers are built by their Makefiles.",
}


@click.command(epilog="Exit code 3: something that a deployment needs is missing; the output names it.")
@click.option("--stack-name", default="tidemill", show_default=True, help="The CloudFormation stack.")
@click.option("--region", help="The AWS region (default: that of your AWS configuration).")
@click.option("--image", default="", help="The training image, built from infra/training.Dockerfile and pushed.")
@click.option("--email", default="", help="Who is told when something stays broken.")
@click.option("--jwt-issuer", default="", help="Whose tokens open the API, instead of keys: an https address.")
@click.option("--jwt-audience", default="", help="Whom those tokens are made for; several with commas between.")
@click.option("--dry-run", is_flag=True, help="Print the commands and what is missing; run nothing.")
@json_option
@pass_session
def deploy(session: Session, /, stack_name: str, region: str | None, image: str, dry_run: bool, **options: str) -> None:
    """Deploy the system to your AWS account with the AWS SAM CLI."""
    root = session.places.root
    commands = plan(root, stack_name, region, image, options)
    lacking = missing(root, region, image)
    for command in commands:
        session.screen.say("$ " + shlex.join(command))
    found: dict[str, Any] = {"commands": [shlex.join(command) for command in commands], "missing": lacking}
    for item in lacking:
        session.screen.say(f"Missing: {item['what']}. {item['remedy']}", "yellow")
    if not dry_run:
        if lacking:
            raise Missing(
                f"Cannot deploy yet: {', '.join(item['what'] for item in lacking)}.",
                remedy="See the lines above; --dry-run shows the commands without running them.",
                missing=lacking,
            )
        _run_all(session, commands, root)
        _tell(session, stack_name)
    session.screen.document({**found, "ran": not dry_run})


def plan(root: Path, stack_name: str, region: str | None, image: str, options: dict[str, str]) -> list[list[str]]:
    """The commands of a deployment, in order; `options` are email, jwt_issuer and jwt_audience."""
    where = ["--region", region] if region else []
    values = {"Stage": "aws", "TrainingImage": image, "AlarmEmail": options["email"]}
    values |= {"JwtIssuer": options["jwt_issuer"], "JwtAudience": options["jwt_audience"]}
    return [
        ["sam", "build", "--template-file", str(root / "template.yaml"), "--parallel", "--cached", *where],
        [
            *("sam", "deploy", "--stack-name", stack_name, "--resolve-s3", "--no-fail-on-empty-changeset"),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
            *where,
            *("--parameter-overrides", *(f"{name}={value}" for name, value in values.items() if value)),
        ],
    ]


def missing(root: Path, region: str | None, image: str) -> list[dict[str, str]]:
    """What a deployment needs and does not have."""
    lacking = [
        {"what": f"the program {name}", "remedy": remedy} for name, remedy in PROGRAMS.items() if not shutil.which(name)
    ]
    if not (root / "template.yaml").is_file():
        lacking.append({"what": "template.yaml", "remedy": "Run the command inside the repository."})
    lacking += _account(region)
    if not image:
        build = "docker build -f infra/training.Dockerfile -t REPOSITORY:TAG . && docker push REPOSITORY:TAG"
        lacking.append({"what": "the training image", "remedy": f"{build}, then --image REPOSITORY:TAG."})
    return lacking


def _account(region: str | None) -> list[dict[str, str]]:
    """Credentials and region, as every AWS program finds them. Nothing is sent."""
    import boto3

    own = boto3.session.Session()
    lacking = []
    if own.get_credentials() is None:
        lacking.append({"what": "AWS credentials", "remedy": "Run `aws configure` or `aws sso login`."})
    if not region and not own.region_name:
        lacking.append({"what": "an AWS region", "remedy": "Give --region, for instance eu-central-1."})
    return lacking


def _run_all(session: Session, commands: Sequence[Sequence[str]], root: Path) -> None:
    for command in commands:
        # with --json our stdout carries one document, so the programs' own lines go to stderr
        ended = subprocess.run(command, cwd=root, check=False, stdout=2 if session.screen.as_json else None)
        if ended.returncode:
            session.screen.say(f"`{command[0]} {command[1]}` ended with {ended.returncode}.", "red")
            session.screen.document({"failed": shlex.join(command), "exit_code": ended.returncode})
            raise click.exceptions.Exit(UNEXPECTED)


def _tell(session: Session, stack_name: str) -> None:
    session.screen.say("Deployed. Next, with the outputs of the stack:", "bold green")
    session.screen.say(f"  aws cloudformation describe-stacks --stack-name {stack_name} --query 'Stacks[0].Outputs'")
    session.screen.say("  TIDEMILL_TABLE=TableName TIDEMILL_ARTIFACTS_BUCKET=ArtifactsBucketName \\")
    session.screen.say("    tidemill keys create --role operate --name me")
    session.screen.say("  export TIDEMILL_URL=ApiUrl TIDEMILL_KEY=the key")
