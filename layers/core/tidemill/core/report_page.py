"""A report of Monitor as one HTML page: what changed, a picture of each column then and now, how good the answers are.

Self-contained and without scripts, in the style of the model card. Names and levels come from strangers: every text
goes through `text`.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]

WIDTH, HEIGHT, LEFT, FLOOR = 400.0, 190.0, 8.0, 160.0
ROW = 24.0  # of a picture of levels
NAMES = 150.0  # the room for names of levels
LETTERS = 22
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format (bidi, zero width), surrogates, unassigned

STYLE = """
:root { color-scheme: light dark; --page: #f4f6f8; --sheet: #fff; --edge: #dde3e9; --ink: #17202a; --quiet: #5a6775;
  --now: #0a66a8; --then: #8a96a3; --bad: #a32020; --bad-soft: #fbe7e5; --good: #0b6e4f; --good-soft: #e2f4ec; }
@media (prefers-color-scheme: dark) { :root { --page: #10151b; --sheet: #182028; --edge: #2c3843; --ink: #e6ebf0;
  --quiet: #9fadba; --now: #62b2ee; --then: #7f8c99; --bad: #ff9d93; --bad-soft: #3d1e1c; --good: #6fd6b0;
  --good-soft: #163328; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
p { max-width: 50rem; margin: 0 0 .75rem; } .quiet { color: var(--quiet); } .lead { font-size: 1.12rem; }
section { background: var(--sheet); border: 1px solid var(--edge); border-radius: 10px; padding: 1.3rem 1.4rem;
  margin: 0 0 1.1rem; }
.badge { display: inline-block; padding: .05rem .55rem; border-radius: 99px; font-size: .84rem; font-weight: 600; }
.changed { color: var(--bad); background: var(--bad-soft); } .same { color: var(--good); background: var(--good-soft); }
.scroll { overflow-x: auto; margin-bottom: .8rem; } table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .7rem .38rem 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; font-size: .84rem; }
tbody th { overflow-wrap: anywhere; max-width: 18rem; }
.num { text-align: right; white-space: nowrap; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1.6rem 2rem; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .3rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: var(--ink); }
.then { fill: var(--then); fill-opacity: .45; } .now { fill: none; stroke: var(--now); stroke-width: 2; }
.bar { fill: var(--now); } .tick { fill: var(--quiet); } .axis { stroke: var(--then); }
.key i { display: inline-block; width: 1.6em; height: .7em; margin: 0 .35em 0 1em; }
.key .a { background: var(--then); opacity: .6; }
.key .b { border-top: 3px solid var(--now); height: 0; vertical-align: .25em; }
"""


def page(report: Facts) -> str:
    """The whole page."""
    title = f"{text(report['model'])}, version {report['version']}: recent requests"
    mark = ("changed", "changed") if report["drifted"] else ("same", "nothing beyond chance")
    parts = [
        f"<p class=quiet>Tidemill · report of {text(str(report['at'])[:16].replace('T', ' '))} UTC</p>",
        f"<h1>{title}</h1><p><span class='badge {mark[0]}'>{mark[1]}</span></p>",
        f"<p class=lead>{text(report['words'])}</p>",
        _notes(report),
        _performance(report["performance"]),
        _table(report),
        _pictures("Scores", report["scores"]),
        _pictures("Columns", sorted(report["columns"], key=lambda item: (not _alarming(item), item["p"]))),
    ]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
    body = f"<body><main>{''.join(parts)}</main></body>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head>{body}</html>\n"


def text(value: Any, limit: int = 0) -> str:
    """A text of strangers for HTML: escaped, everything invisible spelled out, cut where it is too long."""
    said = str(value)[:4000]
    said = said if not limit or len(said) <= limit else said[: limit - 1] + "…"
    return html.escape("".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) in _UNSEEN else c for c in said))


def number(value: float | None) -> str:
    """Four digits."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def chance(p: float) -> str:
    """A p-value."""
    return "&lt; 0.000001" if p < 1e-6 else f"{p:.2g}" if p < 0.01 else f"{p:.2f}"


def _alarming(item: Facts) -> bool:
    return bool(item["drifted"] or item["missing_drifted"])


def _mark(item: Facts) -> str:
    """What has changed of a column, as a badge: what stands in it, or only how often nothing does."""
    if not _alarming(item):
        return ""
    return f"<span class='badge changed'>{'changed' if item['drifted'] else 'missing values'}</span>"


def _notes(report: Facts) -> str:
    notes = [f"<li>{text(said)}</li>" for said in report["quality"]]
    if report["private"]:
        named = ", ".join(text(name, 60) for name in report["private"][:20])
        notes.append(f"<li>Not watched, because their values are private: {named}.</li>")
    return f"<section><h2>Worth knowing</h2><ul>{''.join(notes)}</ul></section>" if notes else ""


def _performance(told: Facts) -> str:
    rows = [_line(f"on test rows, when it was trained ({told['then']['rows']:,})", told["then"])]
    if told["estimated"]:
        rows.append(_line("estimated now, without labels", told["estimated"]))
    if told["real"]:
        real = told["real"]
        mark = " <span class='badge changed'>worse beyond chance</span>" if told["drifted"] else ""
        rows.append(_line(f"measured now, on {real['rows']:,} labelled rows", real, mark))
    head = f"<thead><tr><th>rows<th class=num>{text(told['measure'])}<th class=num>95 % interval</thead>"
    return (
        f"<section><h2>How good the answers are</h2><div class=scroll><table>{head}<tbody>{''.join(rows)}</tbody>"
        f"</table></div><p class=quiet>{text(told['note'])}</p></section>"
    )


def _line(name: str, found: Facts, mark: str = "") -> str:
    interval = f"{number(found['low'])} to {number(found['high'])}"
    return f"<tr><th>{name}{mark}<td class=num>{number(found['value'])}<td class=num>{interval}"


def _table(report: Facts) -> str:
    found = [*report["scores"], *report["columns"]]
    rows = "".join(_row(item) for item in sorted(found, key=lambda item: (not _alarming(item), item["p"])))
    numbers = ("distance", "chance", "missing then", "now", "PSI")
    head = "<th>column<th>test" + "".join(f"<th class=num>{name}" for name in numbers) + "<th>"
    return (
        f"<section><h2>Every test</h2><p class=quiet>Chance: how often rows that have not changed differ so much. "
        f"It counts below {report['bound']:.2g}: 0.05 shared out over {report['tests']} tests. "
        "PSI is shown and decides nothing: its usual bounds know nothing of the number of rows.</p>"
        f"<div class=scroll><table><thead><tr>{head}</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _row(item: Facts) -> str:
    then, now = item["missing"]
    return (
        f"<tr><th>{text(item['name'], 80)}<td>{item['test']}<td class=num>{number(item['statistic'])}"
        f"<td class=num>{chance(item['p'])}<td class=num>{then:.1%}<td class=num>{now:.1%}"
        f"<td class=num>{number(item['psi'])}<td>{_mark(item)}"
    )


def _pictures(title: str, found: Sequence[Facts]) -> str:
    drawn = "".join(_picture(item) for item in found if item["shape"])
    key = "<p class='quiet key'><i class=a></i>then <i class=b></i>now</p>"
    return f"<section><h2>{title}</h2>{key}<div class=grid>{drawn}</div></section>" if drawn else ""


def _picture(item: Facts) -> str:
    drawing = _bars(item) if "names" in item["shape"] else _histogram(item)
    return f"<figure><figcaption>{text(item['name'], 80)} {_mark(item)}</figcaption>{drawing}</figure>"


def _histogram(item: Facts) -> str:
    """Shares of rows in bins of equal width: grey columns then, a line of steps now."""
    shape = item["shape"]
    edges, top = shape["edges"], max(*shape["then"], *shape["now"], 1e-9)
    step, tall = (WIDTH - 2 * LEFT) / len(shape["then"]), FLOOR - 10

    def y(share: float) -> float:
        return round(FLOOR - tall * share / float(top), 2)

    bars = "".join(
        f"<rect class=then x={LEFT + at * step:.2f} y={y(share)} width={step:.2f} height={FLOOR - y(share):.2f} />"
        for at, share in enumerate(shape["then"])
    )
    line = " ".join(
        f"{'L' if at else 'M'}{LEFT + at * step:.2f} {y(share)} H{LEFT + (at + 1) * step:.2f}"
        for at, share in enumerate(shape["now"])
    )
    ends = [(LEFT, "start", edges[0]), (WIDTH - LEFT, "end", edges[-1])]
    ticks = "".join(f"<text class=tick x={x} y=178 text-anchor={anchor}>{number(v)}</text>" for x, anchor, v in ends)
    axis = f"<line class=axis x1={LEFT} y1={FLOOR} x2={WIDTH - LEFT} y2={FLOOR} />"
    return _svg(item, HEIGHT, f"{bars}<path class=now d='{line}'/>{axis}{ticks}")


def _bars(item: Facts) -> str:
    """Shares of levels: a grey bar then, a thin bar now."""
    shape, marks = item["shape"], []
    room, top = WIDTH - NAMES - 60, max(*shape["then"], *shape["now"], 1e-9)
    for at, (name, then, now) in enumerate(zip(shape["names"], shape["then"], shape["now"], strict=True)):
        y = at * ROW
        marks.append(
            f"<text x={NAMES - 6} y={y + 16} text-anchor=end>{text(name, LETTERS)}</text>"
            f"<rect class=then x={NAMES} y={y + 4} width={room * then / top:.2f} height=17 />"
            f"<rect class=bar x={NAMES} y={y + 9} width={room * now / top:.2f} height=7 />"
            f"<text class=tick x={NAMES + room * max(then, now) / top + 5:.2f} y={y + 16}>{now:.1%}</text>"
        )
    return _svg(item, len(shape["names"]) * ROW + 4, "".join(marks))


def _svg(item: Facts, height: float, body: str) -> str:
    said = f"{text(item['name'], 80)}: shares of rows then and now; chance of so large a difference {chance(item['p'])}"
    return f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role=img aria-label="{said}">{body}</svg>'
