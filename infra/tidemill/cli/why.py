"""`tidemill why`: what a reason code means and what to do about it."""

from __future__ import annotations

import difflib

import click

from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core.errors import NotFound
from tidemill.core.reasons import reasons


@click.command()
@click.argument("code")
@json_option
@pass_session
def why(session: Session, code: str) -> None:
    """Say what a reason CODE means and what to do, in English and in Chinese.

    All codes: layers/core/REASONS.md.
    """
    known = reasons()
    found = known.get(code.upper().replace("-", "_"))
    if found is None:
        near = difflib.get_close_matches(code.upper(), known, 3)
        remedy = f"Did you mean {', '.join(near)}?" if near else "All codes stand in layers/core/REASONS.md."
        raise NotFound(f"There is no reason code {code[:80]!r}.", code="UNKNOWN_CODE", remedy=remedy)
    session.screen.say(f"{found.code} ({found.area})", "bold")
    session.screen.say(f"{found.sentence} {found.remedy}")
    session.screen.say(f"{found.sentence_zh}{found.remedy_zh}")
    session.screen.document(vars(found))
