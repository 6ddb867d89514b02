"""Where the time of a training step goes: CPU milliseconds of its parts, for the networks of bench_training.

    python tests/benchmarks/profile_training.py [--networks mlp,cnn] [--repeats 15] [--without] [--record]

The parts are compiled alone, so that they need not add up to the step, in which XLA merges them. With --without the
step is compiled as it is trained, but for one part at a time.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from results import record
from searching.worker import pinned

WITHIN = 10  # calls timed as one


def clocked(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of each call, all in turn, after two that do not count."""
    import jax

    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 2):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(WITHIN):
                jax.block_until_ready(call())
            if turn > 1:
                spent[name].append(1e3 * (time.process_time() - began) / WITHIN)
    return {name: statistics.median(found) for name, found in spent.items()}


def parts(name: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], float]]:
    """The parts of a step of one network, and a step of the whole epoch as it is trained (milliseconds)."""
    import jax
    import numpy as np
    from throughput import ours
    from throughput.problem import TASKS

    from tidemill.training import loop
    from tidemill.training.dropout import dropper
    from tidemill.training.families import keep
    from tidemill.training.losses import row_losses
    from tidemill.training.optimizers import Knobs, Optimizer

    whole, batch = ours.Training(name), TASKS[name].batch
    kind, scale = whole.kind, whole.ground.scale
    x_b, y_b, _ = jax.tree.map(lambda rows: rows[:batch], whole.ground.rows)
    weights, moments = (
        jax.tree.map(lambda leaf: jax.numpy.asarray(leaf[0, 0]), tree)
        for tree in (whole.state.weights, whole.state.moments)
    )
    knobs = Knobs(*(np.float32(value) for value in ours.SETTINGS))
    optimizer, decayed = Optimizer(kind.optimizer), kind.net.decayed(weights)

    def loss(weights: Any, drop: Any) -> jax.Array:
        out_jbk = loop.outputs(kind.net, weights, x_b, drop)
        return row_losses(kind.task, kind.log1p, scale, out_jbk[0], y_b=y_b, loss=kind.loss).mean()

    forward = jax.jit(lambda weights: loss(weights, keep))
    gradient = jax.jit(lambda weights: jax.grad(loss)(weights, keep))
    dropped = jax.jit(lambda weights: jax.grad(loss)(weights, dropper(np.uint32(7), knobs.dropout)))
    stepped = jax.jit(lambda weights, pull, moments: optimizer.step(weights, pull, moments, knobs, 1e-3, decayed))
    pull = gradient(weights)

    def epoch() -> float:
        began = time.process_time()
        whole.epochs(1)
        return 1e3 * (time.process_time() - began) / (whole.ground.cut.steps * whole.ground.cut.chunks)

    calls = {
        "forward": lambda: forward(weights),
        "forward and backward": lambda: gradient(weights),
        "the same with dropout": lambda: dropped(weights),
        "optimizer": lambda: stepped(weights, pull, moments),
    }
    return calls, epoch


def without(name: str, repeats: int) -> dict[str, tuple[float, int]]:
    """A step as it is trained, whole and with parts taken out: CPU microseconds, and kernels called one by one."""
    import jax
    from throughput import ours

    from tidemill.training import loop, optimizers
    from tidemill.training.families import keep

    whole = loop._step

    def unaveraged(*told: Any) -> Any:
        return (*whole(*told)[:2], told[-1])

    def descent(_: Any, weights: Any, pull: Any, moments: Any, knobs: Any, rate: Any, decayed: Any = None) -> Any:
        del knobs, decayed
        return jax.tree.map(lambda weight, slope: weight - rate * slope, weights, pull), moments

    parts: dict[str, tuple[Any, str, Any]] = {
        "dropout": (loop, "dropper", lambda *_: keep),
        "clipping": (optimizers, "clipped", lambda pull, _: pull),
        "averaging": (loop, "_step", unaveraged),
        "AdamW and clipping": (optimizers.Optimizer, "step", descent),
    }
    found = {}
    for left, names in {"nothing": [], **{part: [part] for part in parts}, "all of these": list(parts)}.items():
        kept = {part: getattr(*parts[part][:2]) for part in names}
        try:
            for part in names:
                setattr(*parts[part])
            jax.clear_caches()
            training = ours.Training(name)
            count, cut, spent = kernels(training), training.ground.cut, []
            for turn in range(repeats + 2):
                began = time.process_time()
                training.epochs(2)
                if turn > 1:
                    spent.append(1e6 * (time.process_time() - began) / (2 * cut.steps * cut.chunks))
            found[left] = (statistics.median(spent), count)
        finally:
            for part, was in kept.items():
                setattr(*parts[part][:2], was)
    return found


def kernels(training: Any) -> int:
    """How many kernels a step of the compiled epoch calls, one after another; trains an epoch to see the program."""
    from tidemill.training import loop

    compiled, seen = loop.run_chunk, []

    def watched(*told: Any) -> Any:
        seen.append(compiled.lower(*told).compile().as_text())
        return compiled(*told)

    loop.run_chunk = watched
    try:
        training.epochs(1)
    finally:
        loop.run_chunk = compiled
    name = re.search(r"while\(.*?body=(%[\w.-]+)", seen[0])
    body = re.search(rf"^{re.escape(name.group(1))} .*?^}}", seen[0], re.MULTILINE | re.DOTALL) if name else None
    calls = r" (?:fusion|dot|copy|scatter|gather|reduce|custom-call|call)\("
    return len(re.findall(calls, body.group(0))) if body else 0


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="mlp,cnn,lstm,transformer")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--record", action="store_true", help="append the table to RESULTS.md")
    parser.add_argument("--without", action="store_true", help="the step but for one part at a time")
    wanted, core = parser.parse_args(), pinned()
    if wanted.without:
        by_left_out(wanted, core)
    else:
        by_parts(wanted, core)


def by_parts(wanted: argparse.Namespace, core: int | None) -> None:
    """The table of the parts."""
    lines, header = [], ["network"]
    for name in wanted.networks.split(","):
        calls, epoch = parts(name)
        epoch(), epoch()
        found = clocked(calls, wanted.repeats)
        found["a step of an epoch"] = statistics.median(epoch() for _ in range(wanted.repeats))
        header = ["network", *found]
        lines.append([name, *(f"{spent:.3f}" for spent in found.values())])
    notes = (
        f"Medians of {wanted.repeats}, one thread on core {core}; each part compiled alone, the step as it is trained."
    )
    record("A training step by its parts: CPU milliseconds", header, lines, notes=notes, keep=wanted.record)


def by_left_out(wanted: argparse.Namespace, core: int | None) -> None:
    """The table of what a step costs without a part."""
    lines, header = [], ["network"]
    for name in wanted.networks.split(","):
        found = without(name, wanted.repeats)
        header = ["network", *found]
        lines.append([name, *(f"{spent:,.1f} ({count})" for spent, count in found.values())])
    notes = (
        f"Medians of {wanted.repeats} turns of two epochs, one after another, one thread on core {core}; the look after"
        " an epoch is in them. In brackets: kernels a step calls one by one; a loop within it counts as one or none."
    )
    title = "A training step without a part of it: CPU microseconds"
    record(title, header, lines, notes=notes, keep=wanted.record)


if __name__ == "__main__":
    main()
