"""card.html: the facts as one page. No script, no request: the page's own policy forbids both."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tidemill.core.spec import Spec
from tidemill.training.card import bars, chosen, curves, effects, headline, honest, plots, profile, shown, text
from tidemill.training.card.calls import calls
from tidemill.training.card.facts import facts
from tidemill.training.card.marks import signed
from tidemill.training.card.steps import features, steps
from tidemill.training.card.words import modality_of, words_of

Facts = dict[str, Any]
HERE = Path(__file__).parent
GROUPED = ("accuracy", "roc_auc", "precision", "recall", "false_positive_rate", "rmse", "mae", "r2")  # by group
COLUMNS = 200  # rows of a table on the page; card.json has them all


def write_card(
    bundle_dir: Path,
    *,
    schema: Facts,
    profile: Facts,
    spec: Spec,
    metrics: Facts,
    program: Any,
    importance: Sequence[Facts],
    examples: Facts,
    run: Facts,
    search: Facts | None = None,
    dependence: Sequence[Facts] | None = None,
    groups: Sequence[Facts] | None = None,
    outputs: Facts | None = None,
) -> None:
    """Write card.json and card.html into a bundle.

    program: a Program, a PictureProgram or a TextProgram.
    importance: [{"column", "importance"}] (not negative; larger matters more), in any order.
    examples: {"request": {column: value} one row as a client sends it,
               "explanations": [{"row", "actual", "answer", "target", "baseline", "prediction",
                                 "contributions": [{"column", "value", "contribution"}]}]}.
              For pictures and texts explanations, and "mistakes" alike, have "probability" and "of_actual" (of the
              answer and of what is true) and instead of contributions "picture" and "heat" (PNG as data:), or "text",
              "marks": [[start, end, contribution]], "rest" and where it is cut "part": [start, end, length].
    run: {"model", "run", "version", "created", "code", "versions": {library: version}, "seconds",
          "stages": {stage: seconds}, "device", "parity"}; all optional, parity.json stands in for the last.
    search: what search.json says. outputs: what outputs.json says; what was measured stands in metrics["outputs"].
    dependence: [{"column", "kind": number | category | datetime, "target": label or target's name, "values",
                  "answer", "low" | None, "high" | None, "rows"}], lists of equal length; moments in seconds since 1970.
    groups: what core.groups.group_report gives.
    """
    replayed = program.to_json()
    card = facts(
        schema=schema,
        profile=profile,
        spec=spec,
        metrics=metrics,
        steps=steps(replayed),
        features=len(program.names) if hasattr(program, "names") else features(replayed),
        importance=importance,
        examples=examples,
        run={**run, "parity": run.get("parity") or _parity(bundle_dir)},
        search=search,
        dependence=dependence,
        groups=groups,
        outputs=outputs,
    )
    (bundle_dir / "card.json").write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (bundle_dir / "card.html").write_text(render(card), encoding="utf-8")


def _parity(bundle_dir: Path) -> Facts:
    path = bundle_dir / "parity.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def render(card: Facts) -> str:
    """The page of a card: the same card gives the same bytes."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            card=card,
            style=Markup(style),  # noqa: S704 - our own file
            policy=_policy(card, style),
            called=words_of(card),
            plots=_plots(card),
            sparks=[
                bars.spark(column.get("histogram"), column["kind"]) for column in card["data"]["columns"][:COLUMNS]
            ],
            explained=[
                (item, bars.contributions(f"explained-{at}", item)) for at, item in enumerate(card["explanations"])
            ],
            examples=shown.drawn(card),
            profiled=profile.sentences(card),
            smaller=profile.smaller(card),
            mixed=bars.confusions(card["confusion"]),
            effects=[(item, plot, effects.more(item)) for item, plot in effects.pictures(card["dependence"])],
            honest=honest.shown(card),
            states=chosen.STATES,
            folded=chosen.SHOWN,
            shown_metrics=_shown_metrics,
            calls=calls(card),
            most=COLUMNS,
        )
    )


def _policy(card: Facts, style: str) -> str:
    """What the page may load: its own style, and where pictures are shown those it holds in itself."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    pictures = "img-src data:; " if modality_of(card) == "picture" else ""
    return f"default-src 'none'; style-src 'sha256-{digest}'; {pictures}base-uri 'none'; form-action 'none'"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": text.visible,
        "number": text.number,
        "percent": text.percent,
        "duration": text.duration,
        "value_of": text.value_of,
        "json_line": text.json_line,
        "setting_line": chosen.said,
        "signed": signed,
    }
    return environment


def _plots(card: Facts) -> dict[str, Markup | None]:
    area = next((item["value"] for item in card["scores"] if item["name"] == "roc_auc"), None)
    return {
        "learning": plots.learning(card["history"], _unit(card)),
        "trials": curves.curves(card["search"]),
        "blend": chosen.blend(card["search"]),
        "roc": plots.roc(card["curves"], area),
        "calibration": plots.calibration(card["curves"]),
        "predicted": plots.predicted(card["residuals"]),
        "errors": plots.errors(card["residuals"]),
        "confusion": bars.confusion(card["confusion"]),
        "importance": bars.importance(card["importance"]),
        "classes": profile.classes(card),
        "lengths": profile.lengths(card),
    }


def _shown_metrics(part: Facts) -> Facts:
    """The metrics of a table of groups: those a reader compares; card.json has them all."""
    measured: list[Facts] = [group["metrics"] for group in part["groups"] if group.get("metrics")]
    return {name: measured[0][name] for name in GROUPED if name in measured[0]} if measured else {}


def _unit(card: Facts) -> str:
    """What the losses of the learning curves are: the primary metric."""
    return next(
        (headline.label(item, item["name"]) for item in card["scores"] if item["name"] == card["primary"]), "loss"
    )
