"""CPU seconds per configuration of a search over the 64-32 network: Tidemill's population beside other ways.

    make bench-search OPTIONS="--peer-python PYTHON_WITH_TORCH --record"

Every contender trains the same configurations on the same rows in a process of its own, on one core, all in turn.
Targets at K = 32: at most 0.03 CPU seconds; Keras at least 40 times as much, PyTorch's plain loop at least 7 times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from typing import NamedTuple

from results import record
from searching import costs
from searching.child import Child
from searching.costs import AT, OURS, Taken
from searching.problem import BATCH, COMPARED, EPOCHS, FEATURES, HELD, MOST, ROWS

KS = (1, 8, 32, 128)
AT_PLACE = KS.index(AT)
KERAS, TORCH = "Keras fit, JAX: a model each", "PyTorch, plain loop"
KERAS_WARM = "Keras fit, JAX: fitted once more"  # by which nothing is compiled
CACHED = "Tidemill, programs on disk"
TARGET_S, TARGET_KERAS, TARGET_TORCH = 0.03, 40, 7


class Contender(NamedTuple):
    """A way to train configurations, and how many are trained in a turn."""

    name: str
    child: str
    way: str
    counts: tuple[int, ...]


CONTENDERS = (
    Contender(OURS, "ours", "together", KS),
    Contender("Tidemill's program, K = 1 again and again", "ours", "one by one", (AT,)),
    Contender("the same, compiled anew for each", "anew", "compiled anew", (2,)),
    Contender(KERAS, "keras", "fit", (COMPARED,)),
    Contender(KERAS_WARM, "keras", "fit again", (COMPARED,)),
    Contender("Keras fit, TensorFlow: a model each", "keras-tf", "fit", (COMPARED,)),
    Contender(TORCH, "torch", "loop", (2 * COMPARED,)),
    Contender("PyTorch, torch.func.vmap over all K", "torch", "stacked", KS),
)


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--repeats", type=int, default=3, help="turns of every contender behind the warm-up")
    add("--only", default="", help="comma-separated, of ours, anew, keras, keras-tf, torch; default: all there are")
    add("--python", default=sys.executable, help="for Tidemill")
    add("--peer-python", default=sys.executable, help="for PyTorch")
    add("--keras-python", default=sys.executable, help="for Keras, beside JAX or TensorFlow")
    add("--record", action="store_true", help="append the table to RESULTS.md")
    return parser.parse_args()


def start(wanted: argparse.Namespace, cache: str, stack: ExitStack) -> dict[str, Child]:
    """A worker for every kind of contender that is asked for and has its libraries."""
    made = {
        "ours": lambda: Child("ours", wanted.python, JAX_COMPILATION_CACHE_DIR=cache),
        "anew": lambda: Child("anew", wanted.python),
        "keras": lambda: Child("keras_fit", wanted.keras_python, KERAS_BACKEND="jax"),
        "keras-tf": lambda: Child("keras_fit", wanted.keras_python, KERAS_BACKEND="tensorflow"),
        "torch": lambda: Child("torch_fit", wanted.peer_python),
    }
    asked = wanted.only.split(",") if wanted.only else list(made)
    if unknown := set(asked) - set(made):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(made)}.")
    children = {name: stack.enter_context(made[name]()) for name in asked}
    for name, child in children.items():
        if "missing" in child.told:
            print(f"{name} is left out: its Python has no {child.told['missing']}.", flush=True)
    return {name: child for name, child in children.items() if "missing" not in child.told}


def measure(children: dict[str, Child], repeats: int) -> list[Taken]:
    """Every contender in turn, again and again; turn 0 is the warm-up."""
    taken: list[Taken] = []
    for turn in range(repeats + 1):
        for name, child, way, counts in CONTENDERS:
            for count in counts if child in children else ():
                answer = children[child].ask(way, count)
                taken.append(Taken(name, count, turn, answer["cpu_s"], tuple(answer["losses"])))
                print(f"[{turn}/{repeats}] {name}, {count}: {answer['cpu_s'] / count:.4f} CPU s each", flush=True)
    return taken


def from_cache(wanted: argparse.Namespace, cache: str) -> list[Taken]:
    """The first and second turn of another process that finds the programs in the persistent cache."""
    with Child("ours", wanted.python, JAX_COMPILATION_CACHE_DIR=cache) as child:
        return [Taken(CACHED, k, turn, child.ask("together", k)["cpu_s"]) for k in KS for turn in (0, 1)]


def table(taken: list[Taken]) -> list[list[str]]:
    """A line for every way, then what compiling costs."""
    ours = costs.cost(taken, OURS, AT)
    lines = []
    for name in dict.fromkeys(one.way for one in taken if one.way != CACHED):
        found = [costs.cost(taken, name, k) for k in KS]
        lines.append([name, *map(shown, found), shown(costs.times(taken, name, ours)), _loss(taken, name)])
    for words, way in (("cold compiler", OURS), ("programs on disk", CACHED)):
        each = [costs.with_compiling(taken, way, k) for k in KS]
        lines.append(
            [f"Tidemill, first search, {words}", *map(shown, each), shown(costs.ratio(each[AT_PLACE], ours)), ""]
        )
        once = [costs.compiling(taken, way, k) for k in KS]
        lines.append([f"- compiling in it, CPU s in all, {words}", *map(shown, once), "", ""])
    return [line for line in lines if any(line[1:])]


def shown(value: float | None) -> str:
    """Two or three digits that mean something."""
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.4f}"


def _loss(taken: list[Taken], name: str) -> str:
    found = costs.loss(taken, name, COMPARED)
    return "" if found is None else f"{found:.4f}"


def verdicts(taken: list[Taken]) -> str:
    """Whether the targets are met; the ratios also with compiling counted in, or left out, on both sides."""
    warm, cold = costs.cost(taken, OURS, AT), costs.with_compiling(taken, OURS, AT)
    said = [costs.verdict(f"Target at K = {AT}, CPU s", warm, TARGET_S, at_most=True)]
    for name, target in ((KERAS, TARGET_KERAS), (TORCH, TARGET_TORCH)):
        said.append(costs.verdict(f"{name}, times Tidemill", costs.times(taken, name, warm), target, at_most=False))
        counted = costs.times(taken, name, cold)
        said += [f"(Tidemill's cold compiling counted in: {counted:.3g} times.)"] if counted else []
    bare = costs.times(taken, KERAS_WARM, warm)
    return " ".join([*said, f"Keras without its own compiling: {bare:.3g} times."] if bare else said)


def about(children: dict[str, Child], repeats: int) -> str:
    """What was measured, and how."""
    told = [child.told for child in children.values()]
    versions = {name: version for one in told for name, version in one["versions"].items()}
    core = next((one["core"] for one in told), None)
    return (
        f"K configurations (learning rate, weight decay, L1, dropout, width 64-32 or 32-16) on {ROWS:,} x {FEATURES}"
        f" rows, {EPOCHS} epochs, batches of {BATCH}, AdamW, {HELD:,} held rows looked at after each epoch by all;"
        " Tidemill also looks at 256 training rows, clips, averages weights and keeps the best, which is in its"
        f" time. Medians of {repeats} turns after a warm-up, in turn, a process each,"
        f" {'one thread' if core is None else f'bound to core {core} (sched_setaffinity)'}; CPU time of the process"
        " with all its threads. Ways that train one configuration after the other cost the same for every K: measured"
        f" on {_counts()}. Log loss: mean of the first {COMPARED} configurations, the best of {EPOCHS} epochs (Keras:"
        f" the last). Versions: {', '.join(f'{name} {versions[name]}' for name in sorted(versions))}."
    )


def _counts() -> str:
    single = [one for one in CONTENDERS if len(one.counts) == 1 and one.child != "keras-tf"]
    return ", ".join(f"{one.counts[0]} ({one.way})" for one in single)


def main() -> None:
    """Measure, print, and keep where asked."""
    wanted = options()
    assert max(KS) <= MOST
    with tempfile.TemporaryDirectory() as cache, ExitStack() as stack:
        children = start(wanted, cache, stack)
        taken = measure(children, wanted.repeats)
        taken += from_cache(wanted, cache) if "ours" in children else []
        notes = f"{verdicts(taken)}\n\n{about(children, wanted.repeats)}"
    header = ["CPU s per configuration", *(f"K = {k}" for k in KS), f"times ours, K = {AT}", "log loss"]
    record("Training K configurations of a small network", header, table(taken), notes=notes, keep=wanted.record)


if __name__ == "__main__":
    main()
