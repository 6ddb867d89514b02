"""What goes in and what comes out, as pydantic models: requests are strict and closed, answers are documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Value = str | int | float | bool | None
Row = dict[str, Value]
Why = Annotated[str, Field(max_length=500, description="Why, for the record; shown with the version in service.")]

ROW_EXAMPLE: Any = {"age": 39, "workclass": "Private", "hours_per_week": 40}


class Request(BaseModel):
    """The base of every body we read: no unknown fields, no conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """The base of every answer: more fields may come in later versions."""

    model_config = ConfigDict(extra="allow")


class UploadRequest(Request):
    """Ask for a place to send a file to."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"model": "income", "filename": "adult.csv", "spec": '[data]\ntarget = "income"\n'}
        }
    )
    model: str = Field(
        description="The model to make or to train anew: lower-case letters, digits, hyphens. For a backbone its name."
    )
    filename: str = Field(description="The name of the file, without a folder.")
    size_bytes: int | None = Field(None, ge=1, description="The size of the file, refused early when too large.")
    spec: str | None = Field(None, max_length=65_536, description="The text of a tidemill.toml, checked at once.")
    purpose: Literal["train", "predict", "score", "backbone"] = Field(
        "train",
        description="train: a data set, whose arrival starts a run. score: a file of rows, whose arrival starts a "
        "scoring; GET /models/{model}/scorings?upload=ID finds it. predict: a picture or text too large to be "
        'sent in a request; name its key in {"rows": [{"key": KEY}]} within a day. backbone: model.safetensors or '
        "vocab.txt of a frozen network, which [train] backbone may name.",
    )


class Upload(Shown):
    """A presigned form: POST `fields` and then `file` as multipart/form-data to `url`."""

    upload: str = Field(description="The id of the upload; GET /models/{model}/runs?upload=ID finds its run.")
    key: str
    url: str
    fields: dict[str, str]
    expires: str = Field(description="The form is of no use after this time (ISO 8601, UTC).")
    max_bytes: int


class BackboneFile(Shown):
    """A file of a backbone."""

    name: str
    size_bytes: int


class Backbone(Shown):
    """A frozen network that [train] backbone may name."""

    name: str
    files: list[BackboneFile]
    size_bytes: int
    added: str = Field(description="When the newest of its files came (ISO 8601, UTC).")


class Backbones(Shown):
    """Every backbone."""

    backbones: list[Backbone]


class RowsRequest(Request):
    """The base of the bodies with rows: `rows` for many, `row` for one.

    A row of a table has its columns; a row for a model of pictures has `picture`, the file in base64; one for a model
    of texts has the text under the name of its column. Instead of either, `key` names a file sent by POST /uploads.
    """

    rows: list[Row] | None = None
    row: Row | None = None


class PredictRequest(RowsRequest):
    """Rows to predict: `rows` for many, `row` for one; pictures and texts may come as they are, too."""

    model_config = ConfigDict(json_schema_extra={"example": {"rows": [ROW_EXAMPLE]}})
    interval: float | None = Field(
        None,
        description="For a model of values: add `low` and `high`, between which the truth lies in this share of rows; "
        "0.5, 0.8, 0.9, 0.95 or 0.99.",
    )
    label_set: float | None = Field(
        None,
        alias="set",
        description="For a model of labels: add `set`, the labels among which the truth is in this share of rows; "
        "0.5, 0.8, 0.9, 0.95 or 0.99.",
    )


class ExplainRequest(RowsRequest):
    """Rows to explain, and for which label (the predicted one when left out)."""

    model_config = ConfigDict(json_schema_extra={"example": {"rows": [ROW_EXAMPLE], "target": ">50K"}})
    target: str | None = None


class PromoteRequest(Request):
    """Put a version in service by hand."""

    model_config = ConfigDict(json_schema_extra={"example": {"version": 3, "why": "better on the newest quarter"}})
    version: int = Field(ge=1)
    why: Why = ""
    pin: bool = True


class RollbackRequest(Request):
    """Put the version that served before back in service."""

    model_config = ConfigDict(json_schema_extra={"example": {"why": "complaints since Tuesday", "from": 3}})
    why: Why = ""
    leaving: int | None = Field(default=None, ge=1, alias="from")


class CanaryRequest(Request):
    """Let a version answer a share of the requests beside the one in service, or score them unseen."""

    model_config = ConfigDict(json_schema_extra={"example": {"version": 4, "share": 0.1, "why": "new recipe"}})
    version: int = Field(ge=1)
    share: float = Field(
        0.1,
        ge=0,
        le=1,
        strict=False,
        description="Of the requests; equal values of the header x-tidemill-key get the same version.",
    )
    shadow: bool = Field(False, description="Score the share and compare; the champion answers everybody.")
    why: Why = ""


class StopRequest(Request):
    """Let the version in service answer every request again."""

    model_config = ConfigDict(json_schema_extra={"example": {"why": "seen enough"}})
    why: Why = ""


class Health(Shown):
    """The API answers."""

    status: str
    version: str


class ModelSummary(Shown):
    """A model in a list."""

    model: str
    task: str | None = None
    champion: int | None = Field(None, description="The version in service; null before the first.")
    versions: int = 0
    last_run: str | None = None
    state: str | None = Field(None, description="The state of the last run.")


class Models(Shown):
    """Every model."""

    models: list[ModelSummary]


class Column(Shown):
    """A column that predict and explain read."""

    name: str
    kind: str = Field(description="number, category, datetime, picture (base64 of a file) or text")


class InputSchema(Shown):
    """What a row for predict looks like."""

    modality: str = Field("table", description="table, picture or text")
    columns: list[Column]
    example: dict[str, Any] = Field(description="A row that can be sent as it stands.")


class Alias(Shown):
    """The version in service."""

    version: int
    run: str | None = None
    pinned: bool = Field(False, description="Set by a person: automatic promotion leaves it alone.")
    by: str | None = None
    why: str | None = None
    at: str | None = None
    previous: int | None = None


class Challenger(Shown):
    """A version beside the one in service."""

    version: int
    share: float = Field(description="Of the requests that it answers; in shadow, that it scores unseen.")
    shadow: bool = False
    live: bool = Field(description="False after it was stopped, or became champion.")
    by: str | None = None
    why: str | None = None
    at: str | None = None


class Move(Shown):
    """One move of an alias."""

    alias: str = Field(description="champion or challenger")
    version: int
    by: str | None = None
    why: str | None = None
    at: str | None = None


class Served(Shown):
    """The version in service at a time."""

    version: int
    since: str
    by: str | None = None
    why: str | None = None
    pinned: bool = False


class History(Shown):
    """Which versions served at a time, and every move of the aliases, newest first."""

    model: str
    at: str
    champion: Served | None = None
    challenger: Challenger | None = None
    moves: list[Move]


class Run(Shown):
    """One journey of an upload: from file to version, or to a reason why not."""

    run: str
    model: str
    state: str = Field(
        description="RECEIVED, PREPARED, SUBMITTED, RUNNING, READY, REJECTED, FAILED, SUPERSEDED, CANCELLED"
    )
    upload: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None
    wait: dict[str, Any] | None = Field(
        None, description="Why its job does not run yet: code (NO_CAPACITY, QUEUE_ORDER, IMAGE_PULL, ...) and message."
    )
    reason: dict[str, Any] | None = None
    times: dict[str, Any] | None = None
    estimate: dict[str, Any] | None = Field(None, description="What the job was expected to take and cost.")
    cost: dict[str, Any] | None = Field(None, description="What the job has cost, by the price table's list prices.")
    version: int | None = None
    decision: dict[str, Any] | None = None


class Runs(Shown):
    """Runs, newest first."""

    runs: list[Run]


class Model(Shown):
    """A model with its version in service, its latest runs and the row it reads."""

    model: str
    champion: Alias | None = None
    challenger: Challenger | None = None
    runs: list[Run] = []
    input: InputSchema | None = None


class Version(Shown):
    """A trained version."""

    version: int
    model: str
    run: str
    dataset: str | None = None
    primary: dict[str, Any] | None = Field(None, description="The metric that decides, with its interval and baseline.")
    created: str | None = None
    cost: dict[str, Any] | None = Field(None, description="Of its training, and of a thousand predictions.")
    decision: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = Field(None, description="Everything measured on the test rows.")


class Versions(Shown):
    """Versions, newest first."""

    versions: list[Version]


class LogLine(Shown):
    """A line the training job wrote."""

    at_ms: int
    message: str


class Logs(Shown):
    """A page of a run's log; ask again with `since=next` until `ended` is true and no line comes."""

    lines: list[LogLine]
    next: int
    ended: bool


class Predictions(Shown):
    """One prediction a row: a label with probabilities, or a value.

    With `set` or `interval` in the request also `set`, or `low` and `high`; where the model was trained with the costs
    of wrong answers also `decision`: whether to `act` as if the row had `label`, whose probability reaches `threshold`.
    `noticed` names columns of the row whose value was missing, or rare or never seen in training, where training knew
    such columns; the row was answered as training learned it.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "model": "income",
                "version": 3,
                "alias": "champion",
                "predictions": [{"label": "<=50K", "probabilities": {"<=50K": 0.91, ">50K": 0.09}}],
            }
        },
    )
    model: str
    version: int
    alias: str = Field(
        "champion",
        description="By which it answered: champion; challenger, where one answers a share of the requests; previous, "
        "where a new champion failed this request and the version before it did not.",
    )
    predictions: list[dict[str, Any]]


class Explanations(Predictions):
    """Predictions, each with what every column, pixel or word added to it; contributions sum to prediction - baseline.

    Tables: `contributions` by column. Texts: `contributions` by word (`text`, `start`, `end` in characters), and `rest`
    for what stands nowhere. Pictures: `heatmap`, a PNG in base64, red for and blue against, with its `size` [h, w].
    """

    explanations: list[dict[str, Any]] = []


class Problem(Shown):
    """An error (RFC 9457): `code` is stable, `detail` says what happened, `remedy` what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    remedy: str | None = None
