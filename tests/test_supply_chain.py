"""What Tidemill is made of and what its code may not do: locks, licences, bill of materials, calls, secrets."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.cloud import sbom

PRODUCT = ("layers", "functions", "infra")
REQUESTS = ("functions", "layers/serving", "layers/core")  # what runs while somebody waits, or on strangers' data
LICENCE_WORDS = {
    "MIT": ("MIT",),
    "BSD-3-Clause": ("BSD",),
    "BSD-2-Clause": ("BSD",),
    "Apache-2.0": ("Apache",),
    "MPL-2.0": ("MPL", "Mozilla"),
    "PSF-2.0": ("PSF", "Python"),
}
FORBIDDEN = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "__import__": "loads what a text names",
    "pickle.*": "runs what a file says when it is read",
    "cPickle.*": "the same",
    "marshal.*": "the same",
    "shelve.*": "the same",
    "dill.*": "the same",
    "joblib.*": "reads pickles",
    "torch.load": "reads pickles",
    "pandas.read_pickle": "reads pickles",
    "os.system": "hands a text to a shell",
    "os.popen": "hands a text to a shell",
    "subprocess.getoutput": "hands a text to a shell",
    "*.extractall": "writes where an archive says",
    "shutil.unpack_archive": "writes where an archive says",
    "yaml.load": "makes any object a text names; safe loaders do not",
    "yaml.unsafe_load": "makes any object a text names",
    "yaml.full_load": "makes objects a text names",
    "builtins.*": "hides a name",
    "asyncio.create_subprocess_shell": "hands a text to a shell",
    "tempfile.mktemp": "names a file that somebody else may make first",
}
CLIENTS = ("requests", "httpx", "urllib.request", "http.client", "aiohttp", "urllib3", "ftplib", "socket")
SECRETS = {
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{40}"),
    "a token of a code host": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|glpat-[\w-]{20}|github_pat_\w{40})"),
    "a token of a chat": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{20}"),
    "an address with a password": re.compile(r"https?://[^\s/:@\"'{}<>]+:[^\s/:@\"'{}<>]+@"),
}
EXAMPLES = ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7CANARY0")  # of AWS's documentation; planted by test_canaries


def parsed(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if ".build" not in path.parts:
                yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """A name as it is meant: `os.system` also where it was imported under another name; `?.extractall` of a value."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What each import brings: the name it has here, and what it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name if alias.asname else alias.name.split(".")[0]
                yield alias.name, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def forbidden(name: str) -> str:
    """Why a call is not allowed; empty where it is."""
    for pattern, why in FORBIDDEN.items():
        head, _, tail = pattern.rpartition(".")
        within, ends = tail == "*" and name.startswith(head + "."), head == "*" and name.endswith("." + tail)
        if name == pattern or within or ends:
            return why
    return ""


def offences(tree: ast.Module) -> Iterator[str]:
    """What a module does, or could do by a name it holds, that the product may not."""
    brought = list(imported(tree))
    aliases = dict(brought)
    yield from (f"import {what}" for _, what in brought if forbidden(what) or forbidden(what + ".*"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = dotted(node, aliases)
            if why := forbidden(name):
                yield f"{name}: {why}"
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", True)
                if keyword.arg in ("shell", "allow_pickle") and value is not False:
                    yield f"{keyword.arg}={ast.unparse(keyword.value)}"


def test_the_product_runs_no_text_reads_no_pickle_and_extracts_nothing_where_an_archive_says(root: Path) -> None:
    found = [f"{name} {what}" for name, tree in parsed(root, *PRODUCT) for what in offences(tree)]
    # A SafeLoader that knows CloudFormation's short forms, for templates of this repository.
    assert found == ["infra/tidemill/local/template.py yaml.load: " + FORBIDDEN["yaml.load"]]


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "import pickle",
        "from pickle import loads",
        "from joblib import load",
        "zipfile.ZipFile(x).extractall(y)",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=yes)",
        "yaml.load(x)",
        "import yaml\nyaml.unsafe_load(x)",
        "os.system(x)",
        "from os import system; system(x)",
        "import os as o; o.system(x)",
        "from yaml import load; load(x)",
        "from torch import load; load(x)",
        "from shutil import unpack_archive; unpack_archive(x)",
        "import builtins; builtins.eval(x)",
        "f = eval; f(x)",
        "import asyncio; asyncio.create_subprocess_shell(x)",
    ],
)
def test_the_rule_sees_what_it_forbids(code: str) -> None:
    assert list(offences(ast.parse(code)))


def fetching(tree: ast.Module) -> list[str]:
    """The imports that could open a connection."""
    return sorted({what for _, what in imported(tree) if any(f"{what}.".startswith(one + ".") for one in CLIENTS)})


@pytest.mark.parametrize(
    "code",
    [
        "import requests",
        "from urllib import request",
        "from http import client",
        "import urllib3.util",
        "import aiohttp.client",
        "import socket",
        "from http.client import HTTPConnection",
    ],
)
def test_the_rule_sees_what_could_fetch(code: str) -> None:
    assert fetching(ast.parse(code))


def test_nothing_that_answers_requests_or_reads_uploads_can_fetch_an_address(root: Path) -> None:
    found = {name: fetching(tree) for name, tree in parsed(root, *REQUESTS)}
    # Predict signs and sends its own calls to AWS, because boto3 takes 330 ms to load; to endpoints of AWS only. Core
    # knows the error that botocore lets through.
    assert {name: what for name, what in found.items() if what} == {
        "layers/core/tidemill/core/clients.py": ["urllib3.exceptions.HTTPError"],
        "layers/serving/tidemill/serving/signer.py": ["http.client"],
    }


def test_the_bill_of_materials_is_that_of_the_locks(root: Path) -> None:
    assert (root / sbom.DOCUMENT).read_text() == sbom.written(root), "run make sbom"


def test_every_requirement_is_pinned_with_hashes(root: Path) -> None:
    assert len(sbom.components(root)) > 100  # it raises for a line without a hash
    wishes = [
        *root.glob("layers/*/requirements*.in"),
        *(root / name / "requirements.in" for name in ("infra", "tests")),
    ]
    assert len(wishes) >= 7 and all(path.with_suffix(".txt").exists() for path in wishes)
    assert "--require-hashes" in (root / "Makefile").read_text()


def test_every_licence_is_known_and_allowed_and_no_gpu_library_is_in_a_layer(root: Path) -> None:
    table = tomllib.loads((root / sbom.LICENCES).read_text())
    known = sbom.licences(root)
    for component in sbom.components(root):
        names = set(re.split(r" (?:AND|OR) ", known[component.name]))
        if names <= set(table["gpu_image_only"]):
            assert component.locks == {"layers/training/requirements-cuda.txt"}, component.name
        else:
            assert names <= set(table["allowed"]), (component.name, known[component.name])
    assert set(known) == {component.name for component in sbom.components(root)}, "the table names what is not locked"


def test_the_table_of_licences_says_what_the_packages_say(root: Path) -> None:
    table = tomllib.loads((root / sbom.LICENCES).read_text())["read"]
    for name, licence in table.items():
        about = importlib.metadata.metadata(name)
        said = about.get("License-Expression")
        if said:
            assert said == licence, name
            continue
        classified = " ".join(text for text in about.get_all("Classifier") or [] if text.startswith("License"))
        words = classified or (about.get("License") or "")
        for one in re.split(r" (?:AND|OR) ", licence):
            assert any(word in words for word in LICENCE_WORDS.get(one, (one,))), (name, licence, words[:100])


def test_no_secret_lies_in_the_repository(root: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.split(b"\0")
    found = []
    for name in filter(None, (path.decode() for path in tracked)):
        text = (root / name).read_bytes().decode("utf-8", "replace") if (root / name).is_file() else ""
        for example in EXAMPLES:
            text = text.replace(example, "")
        found += [f"{name}: {what}" for what, pattern in SECRETS.items() if pattern.search(text)]
    assert found == []


def test_every_file_that_the_security_policy_names_is_there(root: Path) -> None:
    named = re.findall(r"`((?:tests|layers|infra)/[\w./-]+\.\w+)`", (root / "SECURITY.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (root / name).exists()] == []
