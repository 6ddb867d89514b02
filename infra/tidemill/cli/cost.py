"""tidemill cost: what runs have cost, what a thousand predictions cost, and what the idle stack costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidemill.cli.screen import seconds
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core import costs, prices

Item = dict[str, Any]


@click.command()
@click.argument("model", required=False)
@click.option("--idle", is_flag=True, help="Show what the stack costs in a month in which nobody uses it.")
@click.option(
    "--prices",
    "table",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Use another price table (default: the one in layers/core/tidemill/core/prices.toml).",
)
@json_option
@pass_session
def cost(session: Session, model: str | None, idle: bool, table: Path | None) -> None:
    """Show the cost of every run of MODEL and of a thousand predictions; without MODEL, of all models."""
    known = prices.load(table) if table else prices.load()
    found = _idle(session, known) if idle else _used(session, model, known)
    session.screen.say(f"List prices of {known.date}, {known.region}, without free tiers, discounts and tax.", "dim")
    session.screen.document({**found, "prices": known.date, "currency": known.currency})


def _idle(session: Session, known: prices.Prices) -> Item:
    from tidemill.cloud.idle import bill

    lines = bill(known)
    total = sum(line.usd for line in lines)
    rows = [(line.what, line.count, f"{line.usd:.2f}", line.why) for line in lines]
    session.screen.table(["while idle", "count", f"{known.currency} a month", "assumed"], rows)
    session.screen.say(f"Together {total:.2f} {known.currency} a month, and what is stored.", "bold")
    return {"idle": [vars(line) for line in lines], "total": round(total, 4)}


def _used(session: Session, model: str | None, known: prices.Prices) -> Item:
    api = session.api()
    names = [model] if model else [item["model"] for item in api.get("/models")["models"]]
    found = {name: _of_model(api, name, known) for name in names}
    rows = [
        (run["run"], name, run["state"], seconds(run["seconds"]), _money(run["estimate"]), _money(run["usd"]))
        for name, item in found.items()
        for run in item["runs"]
    ]
    session.screen.table(["run", "model", "state", "job", "expected", f"cost, {known.currency}"], rows)
    for name, item in found.items():
        if thousand := item["thousand_predictions"]:
            each = f"{thousand['usd']:.4g} {known.currency}, {thousand['billed_ms']} ms each"
            session.screen.say(f"{name}: a thousand predictions cost {each}.")
    total = sum(run["usd"] or 0.0 for item in found.values() for run in item["runs"])
    session.screen.say(f"All training jobs together: {total:.2f} {known.currency}.", "bold")
    return {"models": found, "total": round(total, 4)}


def _of_model(api: Any, name: str, known: prices.Prices) -> Item:
    runs = [_of_run(run, known) for run in api.get(f"/models/{name}/runs")["runs"]]
    champion = api.get(f"/models/{name}").get("champion")
    version = api.get(f"/models/{name}/versions/{champion['version']}") if champion else {}
    return {"runs": runs, "thousand_predictions": costs.thousand(version, known)}


def _of_run(run: Item, known: prices.Prices) -> Item:
    spent, estimate = costs.spent(run, known) or {}, run.get("estimate") or {}
    return {
        **{"run": run["run"], "state": run["state"], "seconds": spent.get("seconds"), "usd": spent.get("usd")},
        **{"estimate": estimate.get("usd"), "machine": spent.get("machine")},
    }


def _money(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:.4f}"


def in_words(cost: Item) -> list[str]:
    """What a version's training cost and what its predictions cost, a sentence each."""
    lines = []
    if spent := cost.get("training"):
        lines.append(
            f"Cost of the training job: {spent['usd']:.2f} {spent['currency']} ({spent['seconds']:.0f} s on "
            f"{spent['machine']}; list prices of {spent['prices']})"
        )
    if thousand := cost.get("thousand_predictions"):
        lines.append(f"Cost of a thousand predictions: {thousand['usd']:.4g} {thousand['currency']}")
    return lines
