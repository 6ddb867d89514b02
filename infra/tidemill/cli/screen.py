"""What a person or a program sees: text and tables on stdout, or one JSON document there and the rest on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from tidemill.core.errors import TidemillError
from tidemill.core.progress import Progress as Step

PLAIN_WIDTH = 160  # of tables that go to a file or a pipe, where nobody wraps lines
COUNTED = 10_000  # more steps than this (bytes) are shown as a share
PLAIN_EVERY_S = 10.0  # how often a plain line repeats that work goes on


class Screen:
    """One command's output. `as_json` is set by the option --json before anything is written."""

    def __init__(self) -> None:
        self.as_json = False

    @property
    def out(self) -> Console:
        """Where results go: stdout, or stderr when stdout belongs to the JSON document."""
        stream = sys.stderr if self.as_json else sys.stdout
        width = None if stream.isatty() else PLAIN_WIDTH
        return Console(file=stream, highlight=False, width=width, soft_wrap=not stream.isatty())

    def say(self, text: str = "", style: str = "") -> None:
        """One line for a person. The text is never read as markup."""
        self.out.print(Text(text, style=style))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
        """A table; numbers should come as text, already rounded."""
        table = Table(
            title=Text(title, style="bold") if title else None, title_justify="left", box=None, pad_edge=False
        )
        for name in columns:
            table.add_column(Text(name, style="dim"), overflow="fold")
        for row in rows:
            table.add_row(
                *(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row)
            )
        self.out.print(table)

    def document(self, value: Any) -> None:
        """The one JSON document of a command that was asked for JSON; nothing otherwise."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")

    def error(self, error: TidemillError) -> None:
        """Situation, value, remedy; as a problem document where JSON was asked for."""
        self.document({"error": {**error.problem(), "status": getattr(error, "answered", error.status)}})
        console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        console.print(Text.assemble((f"{error.code}: ", "bold red"), error.message))
        for line in _more(error.details):
            console.print(Text(f"  {line}"))
        if error.remedy:
            console.print(Text.assemble(("What to do: ", "bold"), error.remedy))

    @contextmanager
    def progress(self) -> Iterator[Reporter]:
        """Show long work: a live line with a bar on a terminal, plain lines elsewhere."""
        stream = sys.stderr if self.as_json else sys.stdout
        if not stream.isatty():
            yield Plain(self)
            return
        said = TextColumn("{task.fields[said]}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        stage = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), TimeElapsedColumn(), stage, _Bar(bar_width=24), said)
        with Progress(*columns, console=self.out, transient=True, expand=True) as live:
            reporter = Live(live)
            yield reporter
            reporter.close()


class _Bar(BarColumn):
    """A bar where the number of steps is known, nothing elsewhere: the words need the room."""

    def render(self, task: Task) -> Any:
        return super().render(task) if task.total else Text()


class Reporter:
    """Takes reports of progress: a `core.progress.Report`."""

    def __call__(self, step: Step) -> None:
        raise NotImplementedError


class Plain(Reporter):
    """Plain lines: one when the stage or the message changes, then one in ten seconds with the time it has taken."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.shown: tuple[str, str] | None = None
        self.began = self.at = 0.0

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        said = "" if step.steps else step.message
        is_new = (step.stage, said) != self.shown
        if not is_new and now - self.at < PLAIN_EVERY_S:
            return
        self.began = now if is_new else self.began
        self.shown, self.at = (step.stage, said), now
        many = step.steps > COUNTED
        count = f" {step.step / step.steps:.0%}" if many else f" {step.step}/{step.steps}" if step.steps else ""
        taken = "" if is_new else f" ({now - self.began:.0f} s)"
        self.screen.say(f"{step.stage}{count}{': ' + step.message if step.message else ''}{taken}")


class Live(Reporter):
    """A bar that moves; a finished stage stays as a line."""

    def __init__(self, live: Progress) -> None:
        self.live = live
        self.stage, self.task, self.began = "", TaskID(0), 0.0

    def __call__(self, step: Step) -> None:
        if step.stage != self.stage:
            self.close()
            self.task = self.live.add_task(step.stage, total=step.steps or None, said=step.message)
            self.stage, self.began = step.stage, time.monotonic()
        self.live.update(self.task, completed=step.step, total=step.steps or None, said=step.message)

    def close(self) -> None:
        """Leave a line for the stage that ended."""
        if self.stage:
            self.live.remove_task(self.task)
            self.live.console.print(Text(f"✓ {self.stage} {time.monotonic() - self.began:.1f} s", style="dim"))


def bar(value: float, largest: float, width: int = 24) -> Text:
    """A signed bar: to the right for more, to the left for less."""
    length = round(abs(value) / largest * width) if largest else 0
    blocks = "█" * length
    return Text(blocks, style="green") if value >= 0 else Text(blocks, style="red")


def number(value: Any, digits: int = 4) -> str:
    """A number for a table: four significant digits, thousands apart, a dash for nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "-" if value is None else str(value)
    return f"{float(f'{value:.{digits}g}'):,.10g}" if isinstance(value, float) else str(value)


def seconds(value: float | None) -> str:
    """A duration for a table."""
    if value is None:
        return "-"
    return f"{value:.2f} s" if value < 60 else f"{int(value // 60)} min {value % 60:.0f} s"


def _more(details: Mapping[str, Any]) -> list[str]:
    """The details of an error that a person can use."""
    fields = [item for item in details.get("errors") or [] if isinstance(item, Mapping)]
    lines = [f"{item.get('field')}: {item.get('message')}" for item in fields]
    if details.get("where"):
        lines.append(f"see {details['where']}")
    return lines
