"""tidemill promote, rollback, pin, unpin, canary, history: which version serves, and which one served when."""

from __future__ import annotations

from typing import Any

import click

from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core.errors import NoChampion

Item = dict[str, Any]
SHARE = 0.1  # of the requests, where neither --share nor --shadow says otherwise


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--why", required=True, help="The reason, for the record.")
@click.option("--unpin", is_flag=True, help="Let later uploads move it again.")
@json_option
@pass_session
def promote(session: Session, model: str, version: int, why: str, unpin: bool) -> None:
    """Put VERSION of MODEL in service by hand; pinned, so that uploads leave it alone, unless --unpin is given."""
    _tell(session, _promote(session, model, version, why, pin=not unpin))


@click.command()
@click.argument("model")
@click.option("--why", required=True, help="The reason, for the record.")
@json_option
@pass_session
def rollback(session: Session, model: str, why: str) -> None:
    """Put the version of MODEL that served before back in service."""
    champion = session.api().get(f"/models/{model}").get("champion") or {}
    leaving = {"from": champion["version"]} if champion else {}
    _tell(session, session.api().post(f"/models/{model}/rollback", {"why": why, **leaving}))


@click.command()
@click.argument("model")
@click.option("--why", required=True, help="The reason, for the record.")
@json_option
@pass_session
def pin(session: Session, model: str, why: str) -> None:
    """Keep the version of MODEL that serves now in service: no upload moves it until `tidemill unpin`."""
    _pin(session, model, why, pin=True)


@click.command()
@click.argument("model")
@click.option("--why", required=True, help="The reason, for the record.")
@json_option
@pass_session
def unpin(session: Session, model: str, why: str) -> None:
    """Let the next upload of MODEL move the version in service again."""
    _pin(session, model, why, pin=False)


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--share", type=click.FloatRange(0, 1), help=f"Of the requests that it answers (default: {SHARE}).")
@click.option("--shadow", is_flag=True, help="Score requests unseen; the version in service answers everybody.")
@click.option("--stop", is_flag=True, help="Let the version in service answer every request again.")
@click.option("--why", default="", help="The reason, for the record.")
@json_option
@pass_session
def canary(
    session: Session, model: str, version: int | None, share: float | None, shadow: bool, stop: bool, why: str
) -> None:
    """Let VERSION of MODEL answer a share of the requests beside the one in service."""
    if stop == (version is not None):
        raise click.UsageError("Name a version, or --stop.")
    if stop:
        found = session.api().post(f"/models/{model}/canary/stop", {"why": why})
        session.screen.say(f"{model}: version {found['champion']} answers every request.", "green")
    else:
        share = (1.0 if shadow else SHARE) if share is None else share
        asked = {"version": version, "share": share, "shadow": shadow, "why": why}
        found = session.api().post(f"/models/{model}/canary", asked)
        session.screen.say(f"{model}: {_challenged(found)} of the requests; {found['champion']} is champion.", "green")
    session.screen.document(found)


@click.command()
@click.argument("model")
@click.option("--at", help="A time, 2026-11-22T21:30:00Z (default: now).")
@json_option
@pass_session
def history(session: Session, model: str, at: str | None) -> None:
    """Tell which version of MODEL served at a time, since when, moved by whom and why; and every move."""
    found = session.api("predict").get(f"/models/{model}/history", **({"at": at} if at else {}))
    screen, champion, challenger = session.screen, found["champion"], found["challenger"]
    if champion is None:
        screen.say(f"At {found['at']} no version of {model} was in service.")
    else:
        held = ", pinned" if champion["pinned"] else ""
        screen.say(f"At {found['at']} version {champion['version']} of {model} served{held}.", "bold")
        screen.say(f"Since {champion['since']}, by {champion['by']}: {champion['why'] or 'no reason given'}")
    if challenger is not None:
        screen.say(f"Beside it {_challenged(challenger)}, by {challenger['by']}.")
    rows = [(item["at"], _what(item), item["by"], item["why"] or "-") for item in found["moves"]]
    screen.table(["when", "what", "by", "why"], rows)
    screen.document(found)


def _what(move: Item) -> str:
    """One move in a few words."""
    if move["alias"] == "challenger":
        return _challenged(move) if move["live"] else f"version {move['version']} challenges no more"
    return f"version {move['version']} serves{', pinned' if move['pinned'] else ''}"


def _challenged(item: Item) -> str:
    return f"version {item['version']} {'scores unseen' if item['shadow'] else 'answers'} {item['share']:.1%}"


def _pin(session: Session, model: str, why: str, *, pin: bool) -> None:
    champion = session.api().get(f"/models/{model}").get("champion")
    if not champion:
        raise NoChampion(f"{model} has no version in service.", remedy="Promote one: tidemill promote MODEL VERSION.")
    found = _promote(session, model, int(champion["version"]), why, pin=pin)
    said = "stays in service until it is unpinned" if pin else "serves until a later upload is better"
    session.screen.say(f"{model}: version {found['version']} {said}.", "green")
    session.screen.document(found)


def _promote(session: Session, model: str, version: int, why: str, *, pin: bool) -> Item:
    body = {"version": version, "why": why, "pin": pin}
    found: Item = session.api().post(f"/models/{model}/promote", body)
    return found


def _tell(session: Session, alias: Item) -> None:
    before = f" (before: version {alias['previous']})" if alias.get("previous") else ""
    session.screen.say(f"{alias.get('model', 'The model')} now serves version {alias['version']}{before}.", "green")
    session.screen.document(alias)
