"""card.html: the facts as one page. No script, no request: the page's own policy forbids both."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tidemill.core.features import Program
from tidemill.core.spec import Spec
from tidemill.training.card import bars, chosen, curves, effects, headline, honest, plots, text
from tidemill.training.card.facts import facts
from tidemill.training.card.steps import steps

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
    program: Program,
    importance: Sequence[Facts],
    examples: Facts,
    run: Facts,
    search: Facts | None = None,
    dependence: Sequence[Facts] | None = None,
    groups: Sequence[Facts] | None = None,
    outputs: Facts | None = None,
) -> None:
    """Write card.json and card.html into a bundle.

    importance: [{"column", "importance"}] (not negative; larger matters more), in any order.
    examples: {"request": {column: value} one row as a client sends it,
               "explanations": [{"row", "actual", "answer", "target", "baseline", "prediction",
                                 "contributions": [{"column", "value", "contribution"}]}]}.
    run: {"model", "run", "version", "created", "code", "versions": {library: version}, "seconds",
          "stages": {stage: seconds}, "device", "parity"}; all optional, parity.json stands in for the last.
    search: what search.json says. outputs: what outputs.json says; what was measured stands in metrics["outputs"].
    dependence: [{"column", "kind": number | category | datetime, "target": label or target's name, "values",
                  "answer", "low" | None, "high" | None, "rows"}], lists of equal length; moments in seconds since 1970.
    groups: what core.groups.group_report gives.
    """
    card = facts(
        schema=schema,
        profile=profile,
        spec=spec,
        metrics=metrics,
        steps=steps(program.to_json()),
        features=len(program.names),
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
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            card=card,
            style=Markup(style),  # noqa: S704 - our own file
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            plots=_plots(card),
            sparks=[
                bars.spark(column.get("histogram"), column["kind"]) for column in card["data"]["columns"][:COLUMNS]
            ],
            explained=[
                (item, bars.contributions(f"explained-{at}", item)) for at, item in enumerate(card["explanations"])
            ],
            mixed=bars.confusions(card["confusion"]),
            effects=[(item, plot, effects.more(item)) for item, plot in effects.pictures(card["dependence"])],
            honest=honest.shown(card),
            states=chosen.STATES,
            folded=chosen.SHOWN,
            shown_metrics=_shown_metrics,
            calls=_calls(card),
            most=COLUMNS,
        )
    )


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


def _calls(card: Mapping[str, Any]) -> dict[str, str]:
    """The commands that ask the model; a quoted here-document, so that no value can leave its place in the shell."""
    row = text.json_line({"row": card["request"]}, indent=1)
    return {
        verb: f'curl "$TIDEMILL_URL/models/{text.visible(card["model"], 63)}/{verb}" \\\n'
        f'  -H "x-api-key: $TIDEMILL_KEY" -H "content-type: application/json" \\\n'
        f"  --data-binary @- <<'JSON'\n{row}\nJSON"
        for verb in ("predict", "explain")
    }
