"""tidemill.toml: what the user wants done with an upload. Every knob, its default and its reason, in one place."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tidemill.core.errors import BadSpec
from tidemill.core.names import RULE, may_name
from tidemill.core.timetable import check_timetable

Section = TypeVar("Section")
MOST_HELD = 0.8  # share of the rows that may be kept from training
LEAST_SIDE = 8  # pixels: what two convolutions with pooling leave something of
HUGE = 10**300  # integers beyond are no floats


@dataclass(frozen=True)
class Data:
    """Which columns mean what."""

    target: str = ""  # the column to predict; empty: a column named target, label, class, y ... else the last one
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    id: tuple[str, ...] = ()  # columns that name a row; kept out of the model
    drop: tuple[str, ...] = ()  # columns to leave out
    groups: tuple[str, ...] = ()  # columns whose groups the scores are shown for; named in drop too, no model input
    size: int = 0  # of pictures, as the model sees them: side in pixels; 0: decided from the data
    text: str = ""  # the column of texts to learn from; empty: the only column beside the target, if it reads as texts


@dataclass(frozen=True)
class Preprocess:
    """The steps between the file and the dataset."""

    missing: Literal["impute", "drop"] = "impute"  # median / own level plus a flag; or quarantine the row
    skew: Literal["log1p", "none"] = "log1p"  # of positive columns with skewness above 1
    duplicates: Literal["keep", "drop"] = "keep"  # equal rows always fall in the same split, so keeping is safe
    leaks: Literal["warn", "drop"] = "warn"  # columns that tell the target
    shuffle: Literal["hash", "none"] = "hash"  # order by row hash, so that upload order cannot matter
    max_bad_fraction: float = 0.05  # more quarantined rows than this and the file is rejected


@dataclass(frozen=True)
class Privacy:
    """What happens to columns in which personal data is recognised."""

    pii: Literal["keep", "drop", "reject"] = "keep"  # keep: said, learned from, never kept of requests


@dataclass(frozen=True)
class Split:
    """Shares of the rows; the rest trains."""

    validation: float = 0.15
    test: float = 0.15
    seed: int = 0  # another number, another division of the same rows


@dataclass(frozen=True)
class Train:
    """How the model is fitted. What is left out (None) is searched; what is given is kept to."""

    # auto tries what is worth it for the kind of data and keeps what validation prefers. Tables: tabm, mlp, linear;
    # pictures: cnn, cnn2, cnn_lstm, resnet, backbone; texts: linear, fasttext, lstm, transformer, backbone.
    family: Literal[
        "auto",
        "tabm",
        "mlp",
        "linear",
        "cnn",
        "cnn2",
        "cnn_lstm",
        "resnet",
        "fasttext",
        "lstm",
        "transformer",
        "backbone",
    ] = "auto"
    backbone: str = ""  # the folder under backbones/ in the data bucket that holds a frozen network's weights
    optimizer: Literal["adamw", "adam", "momentum", "sgd", "gradient_descent"] = "adamw"
    schedule: Literal["constant", "cosine", "step"] = "constant"
    warmup: float = 0.0  # share of the steps in which the step size rises from nothing
    loss: Literal["auto", "softmax", "sigmoid", "mse", "mae", "huber"] = "auto"  # softmax for classes, mse for numbers
    class_weights: Literal["none", "balanced"] = "none"  # balanced: rare classes weigh more; spoils probabilities
    epochs: int = 100  # at most; early stopping usually ends sooner
    patience: int = 12  # epochs without a better validation loss
    batch_size: int = 0  # 0: chosen by the number of rows
    learning_rate: float | None = None
    weight_decay: float | None = None  # the pull of L2; decoupled with adamw (arXiv 1711.05101)
    l1: float | None = None  # the pull of L1, which makes weights exactly zero
    dropout: float | None = None
    width: int | None = None  # units of a hidden layer
    momentum: float = 0.9  # of the momentum optimizer
    members: int | None = None  # networks in one: the k of tabm; seeds trained together for the others
    seed: int = 0


@dataclass(frozen=True)
class Augment:
    """How far pictures are changed in training. What is left out (None) is searched; 0 is not at all."""

    affine: float | None = None  # shifts, turns, zooms and shears; 1: as far as 15 degrees and a tenth of the side
    flip: float | None = None  # chance of a picture to be mirrored left to right
    mixup: float | None = None  # 1: mixed with another picture by shares up to a half (arXiv 1710.09412)


@dataclass(frozen=True)
class Search:
    """How much is tried before a model is chosen."""

    configurations: int = 0  # tried at first; 0: by the number of rows; 1: the defaults alone
    folds: int = 0  # parts the rows are cut into, each left out once; 0: by the number of rows; 1: the validation split
    blend: bool = True  # average several configurations where validation prefers it


@dataclass(frozen=True)
class Decision:
    """What a wrong answer costs, in any unit; with both costs given, a table of two classes gets a threshold."""

    false_positive: float | None = None  # acting where nothing was there
    false_negative: float | None = None  # not acting where something was
    positive: str = ""  # the label one acts on; empty: the rarer one


@dataclass(frozen=True)
class Promote:
    """What happens when a version is ready."""

    auto: bool = True  # move the alias when the gate agrees


@dataclass(frozen=True)
class Job:
    """What a training runs on; not what it makes, so it is no part of a version's fingerprint."""

    nodes: int = 1  # machines that share the work, for data sets that keep one GPU busy for hours; never Spot


@dataclass(frozen=True)
class Budget:
    """What a run may cost."""

    max_usd: float | None = None  # a run that is estimated dearer is refused; its job is stopped before it gets there


@dataclass(frozen=True)
class Canary:
    """How a new version proves itself in service, and what takes it back."""

    share: float = 0.0  # of the requests that a new version answers as challenger; 0: it becomes champion at once
    minutes: int = 60  # a new version is watched, as challenger and again as champion; 0: not at all
    max_error_rate: float = 0.02  # of requests that it fails and the version before does not; 1: whatever happens
    max_latency_ratio: float = 2.0  # of its time to that of the version before, as geometric means
    min_requests: int = 50  # before anything is decided


@dataclass(frozen=True)
class Monitor:
    """What is kept of the requests a version answers, so that drift is noticed."""

    enabled: bool = True  # keep a record of every request
    sample: float = 1.0  # share of the requests whose rows are kept, values and scores
    rows: int = 100  # rows that are kept of a request, at equal distances
    private: tuple[str, ...] = ()  # columns whose values are never kept, beside those with personal data


@dataclass(frozen=True)
class Schedule:
    """What happens by itself while a version of this recipe serves."""

    retrain: str = ""  # rate(7 days) or cron(0 3 ? * MON *), UTC; empty: by no clock
    monitor: str = "rate(1 day)"  # when requests are compared with the training data; empty: by no clock
    on_drift: bool = True  # train again when the monitor sees drift and there is something new to learn from
    min_new_labels: int = 0  # rows labelled by feedback since the last training that start one; 0: they start none
    paused: bool = False  # nothing starts by itself; `tidemill schedule` can switch it without a new version


@dataclass(frozen=True)
class Spec:
    """A whole tidemill.toml."""

    data: Data = field(default_factory=Data)
    preprocess: Preprocess = field(default_factory=Preprocess)
    privacy: Privacy = field(default_factory=Privacy)
    split: Split = field(default_factory=Split)
    train: Train = field(default_factory=Train)
    augment: Augment = field(default_factory=Augment)
    search: Search = field(default_factory=Search)
    decision: Decision = field(default_factory=Decision)
    promote: Promote = field(default_factory=Promote)
    job: Job = field(default_factory=Job)
    budget: Budget = field(default_factory=Budget)
    canary: Canary = field(default_factory=Canary)
    monitor: Monitor = field(default_factory=Monitor)
    schedule: Schedule = field(default_factory=Schedule)

    @classmethod
    def from_toml(cls, text: str) -> Spec:
        """Read a tidemill.toml; raises BadSpec naming the section, the key, the value and what would be right."""
        try:
            return cls.from_json(tomllib.loads(text))
        except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and nesting without end
            raise BadSpec(f"tidemill.toml is not TOML: {error}", remedy="Check the line it names.") from error

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Spec:
        """Read a specification from plain values; missing sections and keys take their defaults."""
        sections = {item.name: item for item in dataclasses.fields(cls)}
        for name in value:
            if name not in sections:
                raise BadSpec(f"[{name}] is not a section.", remedy=f"Sections are {', '.join(sections)}.")
        kinds = get_type_hints(cls)
        spec = cls(**{name: _section(kinds[name], name, body) for name, body in value.items()})
        _check_ranges(spec)
        return spec

    def to_json(self) -> dict[str, Any]:
        """The specification as plain values, defaults included."""
        plain: dict[str, Any] = dataclasses.asdict(self)
        plain["data"] |= {name: list(getattr(self.data, name)) for name in ("id", "drop", "groups")}
        plain["monitor"]["private"] = list(self.monitor.private)
        return plain


def to_toml(spec: Spec) -> str:
    """A specification as TOML: JSON writes its strings, numbers, booleans and lists the same way.

    TOML has no null: what is None is left out, which reads back as None.
    """
    lines = []
    for section, values in spec.to_json().items():
        lines.append(f"[{section}]")
        given = {key: value for key, value in values.items() if value is not None}
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    return "\n".join(lines).replace("\x7f", "\\u007f") + "\n"


def _section(kind: type[Section], name: str, body: Any) -> Section:
    if not isinstance(body, dict):
        raise BadSpec(f"[{name}] is {body!r}.", remedy=f"Write it as a table: [{name}] and keys below.")
    hints = get_type_hints(kind)
    for key in body:
        if key not in hints:
            raise BadSpec(f"[{name}] {key} is not a setting.", remedy=f"[{name}] takes {', '.join(hints)}.")
    return kind(**{key: _value(hints[key], f"[{name}] {key}", item) for key, item in body.items()})


def _value(hint: Any, where: str, value: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise BadSpec(f"{where} is {value!r}.", remedy=f"It is one of {', '.join(map(repr, get_args(hint)))}.")
        return value
    if get_origin(hint) is tuple:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise BadSpec(f"{where} is {value!r}.", remedy='It is a list of column names: ["a", "b"].')
        return tuple(items)
    if isinstance(hint, UnionType):  # only "or None" is used: a setting that may be left to the search
        if value is None:
            return None
        hint = get_args(hint)[0]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < HUGE else math.inf
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise BadSpec(f"{where} is {value}.", remedy="Give a finite number.")
    if type(value) is not hint:
        raise BadSpec(f"{where} is {value!r}.", remedy=f"It must be of type {hint.__name__}.")
    return value


_RANGES: dict[str, tuple[float, float]] = {
    "data.size": (0, 512),
    "preprocess.max_bad_fraction": (0.0, 1.0),
    "split.validation": (0.01, 0.5),
    "split.test": (0.01, 0.5),
    "split.seed": (0, 2**31 - 1),
    "train.warmup": (0.0, 0.9),
    "train.epochs": (1, 10_000),
    "train.patience": (1, 10_000),
    "train.batch_size": (0, 65_536),
    "train.learning_rate": (1e-8, 10.0),
    "train.weight_decay": (0.0, 10.0),
    "train.l1": (0.0, 10.0),
    "train.dropout": (0.0, 0.9),
    "train.width": (1, 4096),
    "train.momentum": (0.0, 0.999),
    "train.members": (1, 64),
    "train.seed": (0, 2**31 - 1),
    "augment.affine": (0.0, 2.0),
    "augment.flip": (0.0, 1.0),
    "augment.mixup": (0.0, 1.0),
    "search.configurations": (0, 512),
    "search.folds": (0, 20),
    "decision.false_positive": (0.0, 1e12),
    "decision.false_negative": (0.0, 1e12),
    "job.nodes": (1, 16),
    "budget.max_usd": (0.0, 1e9),
    "canary.share": (0.0, 1.0),
    "canary.minutes": (0, 43_200),
    "canary.max_error_rate": (0.0, 1.0),
    "canary.max_latency_ratio": (1.0, 1000.0),
    "canary.min_requests": (1, 1_000_000),
    "monitor.sample": (0.0, 1.0),
    "monitor.rows": (0, 10_000),
    "schedule.min_new_labels": (0, 10_000_000),
}


def _check_ranges(spec: Spec) -> None:
    for key in ("retrain", "monitor"):
        check_timetable(getattr(spec.schedule, key), f"[schedule] {key}")
    for path, (low, high) in _RANGES.items():
        section, key = path.split(".")
        value = getattr(getattr(spec, section), key)
        if value is not None and not low <= value <= high:
            raise BadSpec(f"[{section}] {key} is {value}.", remedy=f"It lies between {low} and {high}.")
    if 0 < spec.data.size < LEAST_SIDE:
        raise BadSpec(f"[data] size is {spec.data.size}.", remedy=f"It is 0, or {LEAST_SIDE} pixels or more.")
    if spec.train.backbone and not may_name(spec.train.backbone):
        raise BadSpec(f"[train] backbone is {spec.train.backbone[:80]!r}.", remedy=RULE)
    if spec.split.validation + spec.split.test > MOST_HELD:
        raise BadSpec(
            f"[split] validation {spec.split.validation} and test {spec.split.test} leave too little to train on.",
            remedy=f"Together they may be {MOST_HELD} at most.",
        )
