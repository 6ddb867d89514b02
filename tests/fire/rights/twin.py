"""A user with exactly the policies of a role: what a function does is done in this process, with its rights alone.

Some of what a function may have to do takes hours on its own clock. With a twin of its role it is done here, against
the deployed stack, which judges every call as it would judge the function's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from tests.fire.rights.policy import mutants

from tidemill.core import clients

PREFIX = "twin-"


def documents(stack: Any, role: str) -> dict[str, Any]:
    """The policies of a role by their names."""
    iam = stack.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def twin(stack: Any, role: str) -> dict[str, str]:
    """The keys of a role's twin, made at its first use; its policies are what the role's are now."""
    iam, name = stack.client("iam"), PREFIX + role
    if name not in [user["UserName"] for user in iam.list_users()["Users"]]:
        iam.create_user(UserName=name)
    for policy, document in documents(stack, role).items():
        iam.put_user_policy(UserName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@contextmanager
def without(stack: Any, role: str, taken: str) -> Iterator[None]:
    """Take one right from a role of the running stack, by the name that `policy.mutants` gives it, for a while."""
    iam = stack.client("iam")
    ((name, document),) = documents(stack, role).items()
    (mutant,) = [
        each for each in mutants(role, document["Statement"]) if re.sub(r"-[0-9A-F]{13}$", "", each.taken) == taken
    ]
    less = {**document, "Statement": list(mutant.left)}
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


@contextmanager
def acting(stack: Any, function: str, **changes: str) -> Iterator[None]:
    """Make this process a function (`Sweep`, say): its environment with these changes, and a twin's rights."""
    told = stack.client("lambda").get_function_configuration(FunctionName=stack.resources[function])
    keys = twin(stack, stack.resources[f"{function}Role"])
    environment = {**told["Environment"]["Variables"], **stack.credentials, **keys, **changes}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        clients.forget()
        boto3.DEFAULT_SESSION = None
        try:
            yield
        finally:
            clients.forget()
            boto3.DEFAULT_SESSION = None
