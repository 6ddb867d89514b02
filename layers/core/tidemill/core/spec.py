"""tidemill.toml: what the user wants done with an upload. Every knob, its default and its reason, in one place."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tidemill.core.errors import BadSpec

Section = TypeVar("Section")


@dataclass(frozen=True)
class Data:
    """Which columns mean what."""

    target: str = ""  # the column to predict; empty: a column named target, label, class, y ... else the last one
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    id: tuple[str, ...] = ()  # columns that name a row; kept out of the model
    drop: tuple[str, ...] = ()  # columns to leave out


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
class Split:
    """Shares of the rows; the rest trains."""

    validation: float = 0.15
    test: float = 0.15


@dataclass(frozen=True)
class Train:
    """How the model is fitted."""

    family: str = "mlp"
    epochs: int = 100  # at most; early stopping usually ends sooner
    patience: int = 10  # epochs without a better validation loss
    batch_size: int = 0  # 0: chosen by the number of rows
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    dropout: float = 0.1
    members: int = 4  # networks that differ by seed only, trained together and averaged
    seed: int = 0


@dataclass(frozen=True)
class Promote:
    """What happens when a version is ready."""

    auto: bool = True  # move the alias when the gate agrees


@dataclass(frozen=True)
class Spec:
    """A whole tidemill.toml."""

    data: Data = field(default_factory=Data)
    preprocess: Preprocess = field(default_factory=Preprocess)
    split: Split = field(default_factory=Split)
    train: Train = field(default_factory=Train)
    promote: Promote = field(default_factory=Promote)

    @classmethod
    def from_toml(cls, text: str) -> Spec:
        """Read a tidemill.toml; raises BadSpec naming the section, the key, the value and what would be right."""
        try:
            return cls.from_json(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
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
        plain["data"]["id"], plain["data"]["drop"] = list(self.data.id), list(self.data.drop)
        return plain


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
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise BadSpec(f"{where} is {value!r}.", remedy=f"It must be of type {hint.__name__}.")
    return value


_RANGES: dict[str, tuple[float, float]] = {
    "preprocess.max_bad_fraction": (0.0, 1.0),
    "split.validation": (0.01, 0.5),
    "split.test": (0.01, 0.5),
    "train.epochs": (1, 10_000),
    "train.patience": (1, 10_000),
    "train.batch_size": (0, 65_536),
    "train.learning_rate": (1e-8, 10.0),
    "train.weight_decay": (0.0, 10.0),
    "train.dropout": (0.0, 0.9),
    "train.members": (1, 64),
    "train.seed": (0, 2**31 - 1),
}


def _check_ranges(spec: Spec) -> None:
    for path, (low, high) in _RANGES.items():
        section, key = path.split(".")
        value = getattr(getattr(spec, section), key)
        if not low <= value <= high:
            raise BadSpec(f"[{section}] {key} is {value}.", remedy=f"It lies between {low} and {high}.")
