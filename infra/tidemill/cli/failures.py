"""What a command can end with: exit codes, and the errors that lead to them."""

from __future__ import annotations

from tidemill.core.errors import TidemillError

OK, UNEXPECTED, USAGE, NOT_FOUND, REFUSED, UNREACHABLE, TIMEOUT, NOT_AUTHORISED = range(8)

EXIT_CODES = """\b
Exit codes:
  0  done
  1  something unexpected
  2  wrong usage
  3  not found: a file, a model, a run, a version
  4  refused: bad data, a bad specification, or the gate kept the old version
  5  no stack is running, or it does not answer
  6  it took longer than --timeout
  7  the key is missing, unknown, or has the wrong role"""


class Unreachable(TidemillError):
    """Nobody answers."""

    code, status, title = "UNREACHABLE", 503, "No answer"


class NoStack(TidemillError):
    """There is no stack to talk to."""

    code, status, title = "NO_STACK", 503, "No stack"


class TookTooLong(TidemillError):
    """The wait is over, the work is not."""

    code, status, title = "TIMEOUT", 504, "It takes longer"


class NoFile(TidemillError):
    """A file that is not there or cannot be read."""

    code, status, title = "NO_FILE", 404, "No such file"


class Missing(TidemillError):
    """A program, key or setting that a command needs."""

    code, status, title = "MISSING", 424, "Something is missing"


class Answer(TidemillError):
    """A problem document of the API, as the error it describes."""

    title = "The API refused"

    def __init__(self, problem: dict[str, object], status: int) -> None:
        known = {"type", "title", "status", "detail", "code", "remedy"}
        super().__init__(
            str(problem.get("detail") or f"The API answered {status}."),
            remedy=str(problem.get("remedy") or ""),
            code=str(problem.get("code") or "ERROR"),
            **{name: value for name, value in problem.items() if name not in known},
        )
        self.answered = status


_BY_CODE = {
    "PORT_IN_USE": UNREACHABLE,
    "STACK_BUSY": UNREACHABLE,
    "SERVER_FAILED": UNREACHABLE,
    "UNAUTHORIZED": NOT_AUTHORISED,
}
_BY_STATUS = {
    **dict.fromkeys((400, 409, 413, 415, 422), REFUSED),
    **dict.fromkeys((401, 403), NOT_AUTHORISED),
    **dict.fromkeys((404, 424), NOT_FOUND),
    503: UNREACHABLE,
    504: TIMEOUT,
}


def exit_code(error: TidemillError) -> int:
    """The exit code of an error: by its code where that says more, else by its status."""
    status = error.answered if isinstance(error, Answer) else error.status
    return _BY_CODE.get(error.code, _BY_STATUS.get(status, UNEXPECTED))
