"""Where the time of a training step goes: CPU milliseconds of its parts, for the networks of bench_training.

    python tests/benchmarks/profile_training.py [--networks mlp,cnn] [--repeats 15] [--record]

The parts are compiled alone, so that they need not add up to the step, in which XLA merges them.
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="mlp,cnn,lstm,transformer")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--record", action="store_true", help="append the table to RESULTS.md")
    wanted, core = parser.parse_args(), pinned()
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


if __name__ == "__main__":
    main()
