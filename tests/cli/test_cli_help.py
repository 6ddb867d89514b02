"""Every command explains itself, takes --json, and every exit code is written down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from tidemill.cli import failures
from tidemill.cli.main import main
from tidemill.core.version import VERSION


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


ALL = sorted(commands(main))


def command_of(path: tuple[str, ...]) -> click.Command:
    found: click.Command = main
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


def test_the_list_of_commands_is_complete() -> None:
    assert {" ".join(path) for path in ALL} == {
        *("up", "down", "status", "demo", "doctor", "deploy"),
        *("push", "models", "runs", "logs", "card", "predict", "explain", "score"),
        *("promote", "rollback", "pin", "unpin", "canary", "history"),
        *("retrain", "schedule"),
        *("keys create", "keys list", "keys revoke", "backbone add", "backbone list", "cost"),
        *("drift", "feedback", "why"),
    }


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_and_json(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout
    command = command_of(path)
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (path, parameter.name)


def test_the_help_of_the_tool_names_every_command_and_every_exit_code() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for path in ALL:
        assert path[0] in shown
    codes = (failures.OK, failures.UNEXPECTED, failures.USAGE, failures.NOT_FOUND, failures.REFUSED)
    for code in (*codes, failures.UNREACHABLE, failures.TIMEOUT, failures.NOT_AUTHORISED):
        assert f"\n    {code}  " in shown


def test_the_version_is_that_of_the_code() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout.strip() == VERSION


def test_a_wrong_option_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["models", "--nope"]).exit_code == failures.USAGE
    assert CliRunner().invoke(main, ["nope"]).exit_code == failures.USAGE


def test_a_command_does_not_load_what_it_does_not_need() -> None:
    heavy = "{'boto3', 'botocore', 'jax', 'onnxruntime', 'fastapi', 'numpy', 'ministack'}"
    code = f"import sys; import tidemill.cli.main; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
