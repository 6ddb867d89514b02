"""What can go wrong, by name: every error says the situation, shows the value and names the remedy."""

from __future__ import annotations

from typing import Any, ClassVar

PROBLEM_TYPE = "https://tidemill.dev/problems/"


class TidemillError(Exception):
    """The base of every error a user can meet.

    `message` names the situation and shows the value, `remedy` says what to do, `details` are JSON values
    that a program can read. `code` is stable: it may be relied on, documented and translated.
    """

    code: str = "ERROR"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details
        if code is not None:
            self.code = code

    def reason(self) -> dict[str, Any]:
        """The error as the registry stores it: code, message, remedy and details."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy, **self.details}

    def problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 problem document."""
        return {
            "type": PROBLEM_TYPE + self.code.lower().replace("_", "-"),
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            **({"remedy": self.remedy} if self.remedy else {}),
            **self.details,
        }


class BadTable(TidemillError):
    """An uploaded table that cannot become a dataset."""

    code, status, title = "BAD_TABLE", 422, "The table cannot be used"


class BadPicture(TidemillError):
    """Bytes that are no picture, or one that breaks a limit."""

    code, status, title = "BAD_PICTURE", 422, "The picture cannot be used"


class BadSpec(TidemillError):
    """A tidemill.toml that cannot be followed."""

    code, status, title = "BAD_SPEC", 422, "The specification cannot be followed"


class BadBackbone(TidemillError):
    """Weights of a frozen network that cannot be read, or are of another network."""

    code, status, title = "BAD_BACKBONE", 422, "The backbone cannot be used"


class SchemaMismatch(TidemillError):
    """Rows that do not fit the columns the model was trained on."""

    code, status, title = "SCHEMA_MISMATCH", 422, "The rows do not fit the model"


class BadRequest(TidemillError):
    """A request that cannot be read."""

    code, status, title = "BAD_REQUEST", 400, "The request cannot be read"


class BadBody(TidemillError):
    """A request that can be read but does not say what the route needs."""

    code, status, title = "BAD_BODY", 422, "The request does not say what is needed"


class Unauthorized(TidemillError):
    """No key, or a key nobody knows."""

    code, status, title = "UNAUTHORIZED", 401, "A key is needed"


class Forbidden(TidemillError):
    """A key without the role the route asks for."""

    code, status, title = "FORBIDDEN", 403, "The key may not do this"


class NotFound(TidemillError):
    """A thing that does not exist."""

    code, status, title = "NOT_FOUND", 404, "Not found"


class Superseded(TidemillError):
    """A file that was overwritten before it was read; what replaced it has a run of its own."""

    code, status, title = "SUPERSEDED", 409, "A newer file has taken its place"


class UnknownModel(NotFound):
    """A model nobody has uploaded data for."""

    code, status, title = "UNKNOWN_MODEL", 404, "Unknown model"


class NoChampion(TidemillError):
    """A model that has no version in service yet."""

    code, status, title = "NO_CHAMPION", 409, "No version is in service"


class Conflict(TidemillError):
    """A change that lost against another change."""

    code, status, title = "CONFLICT", 409, "The state has changed"


class TooLarge(TidemillError):
    """A body, file or answer past its limit."""

    code, status, title = "TOO_LARGE", 413, "Too large"


class HeadersTooLarge(TooLarge):
    """Headers past what API Gateway takes."""

    code, status = "HEADERS_TOO_LARGE", 431


class UnsupportedMedia(TidemillError):
    """A body of a type no route reads."""

    code, status, title = "UNSUPPORTED_MEDIA_TYPE", 415, "This content type is not read here"


class BadBundle(TidemillError):
    """A folder of artefacts that is incomplete or does not match its manifest."""

    code, status, title = "BAD_BUNDLE", 500, "The artefact is damaged"


class Unavailable(TidemillError):
    """A part of the system that did not answer; trying again is right."""

    code, status, title = "UNAVAILABLE", 503, "Try again later"
