"""What can go wrong with the local stack, by name."""

from __future__ import annotations

from tidemill.core.errors import TidemillError


class PortInUse(TidemillError):
    """The port belongs to another program."""

    code, status, title = "PORT_IN_USE", 409, "The port is taken"


class StackBusy(TidemillError):
    """Another process is starting or stopping the same local stack."""

    code, status, title = "STACK_BUSY", 409, "The local stack is being changed"


class ServerFailed(TidemillError):
    """The server process ended, or never answered."""

    code, status, title = "SERVER_FAILED", 503, "The local stack did not start"


class DeployFailed(TidemillError):
    """CloudFormation refused the template or could not create a resource."""

    code, status, title = "DEPLOY_FAILED", 500, "The template could not be deployed"


class BadTemplate(TidemillError):
    """A template that cannot be read or packaged."""

    code, status, title = "BAD_TEMPLATE", 422, "The template cannot be used"
