"""Examples per CPU-second in training: Tidemill's networks beside the same ones in Keras and PyTorch.

    make bench-training OPTIONS="--peer-python PYTHON_WITH_TORCH --keras-python PYTHON_WITH_KERAS_AND_JAX --record"

Every contender trains the same network on the same rows in a process of its own, on one core, all in turn; the first
turn compiles and warms up, the others count. Targets: mlp 7 times Keras with JAX, cnn 0.9 times Keras with TensorFlow,
lstm 0.9 times the best Keras.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack

from results import record
from searching.child import Child
from throughput.problem import TASKS

OURS, KERAS_JAX, KERAS_TF, TORCH = "Tidemill", "Keras, JAX", "Keras, TensorFlow", "PyTorch"
KINDS = {"ours": OURS, "keras": KERAS_JAX, "keras-tf": KERAS_TF, "torch": TORCH}
EPOCHS = {"mlp": 4, "cnn": 1, "lstm": 1, "transformer": 1}  # of a turn
TARGETS = (("mlp", 7.0, (KERAS_JAX,)), ("cnn", 0.9, (KERAS_TF,)), ("lstm", 0.9, (KERAS_JAX, KERAS_TF)))
Rates = dict[tuple[str, str], list[float]]  # network and contender -> examples per CPU second, by turn


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--repeats", type=int, default=5, help="turns of every contender behind the warm-up")
    add("--networks", default=",".join(TASKS), help="comma-separated; default: all")
    add("--only", default=",".join(KINDS), help="comma-separated contenders; default: all there are")
    add("--python", default=sys.executable, help="for Tidemill")
    add("--peer-python", default=sys.executable, help="for PyTorch")
    add("--keras-python", default=sys.executable, help="for Keras, beside JAX")
    add("--tensorflow-python", default="", help="for Keras, beside TensorFlow; default: as --keras-python")
    add("--record", action="store_true", help="append the table to RESULTS.md")
    return parser.parse_args()


def start(wanted: argparse.Namespace, stack: ExitStack) -> dict[str, Child]:
    """A worker for every contender that is asked for and has its libraries."""
    tensorflow = wanted.tensorflow_python or wanted.keras_python
    made = {
        OURS: lambda: Child("throughput.ours", wanted.python),
        KERAS_JAX: lambda: Child("throughput.keras_fit", wanted.keras_python, KERAS_BACKEND="jax"),
        KERAS_TF: lambda: Child("throughput.keras_fit", tensorflow, KERAS_BACKEND="tensorflow"),
        TORCH: lambda: Child("throughput.torch_fit", wanted.peer_python),
    }
    asked = wanted.only.split(",")
    if unknown := set(asked) - set(KINDS):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}.")
    children = {KINDS[name]: stack.enter_context(made[KINDS[name]]()) for name in asked}
    for name, child in children.items():
        if "missing" in child.told:
            print(f"{name} is left out: its Python has no {child.told['missing']}.", flush=True)
    return {name: child for name, child in children.items() if "missing" not in child.told}


def measure(children: dict[str, Child], networks: list[str], repeats: int) -> Rates:
    """Every contender in turn, again and again; the first turn is not kept."""
    rates: Rates = {}
    for network in networks:
        for turn in range(repeats + 1):
            for name, child in children.items():
                answer = child.ask(network, EPOCHS[network])
                rate = EPOCHS[network] * TASKS[network].rows / answer["cpu_s"]
                print(f"{network} [{turn}/{repeats}] {name}: {rate:,.0f} examples per CPU second", flush=True)
                if turn:
                    rates.setdefault((network, name), []).append(rate)
    return rates


def median(rates: Rates, network: str, name: str) -> float | None:
    """The median rate; None where that was not measured."""
    found = rates.get((network, name))
    return statistics.median(found) if found else None


def times(rates: Rates, network: str, names: tuple[str, ...]) -> float | None:
    """How many times as fast Tidemill is as the fastest of some contenders."""
    ours, theirs = median(rates, network, OURS), [median(rates, network, name) for name in names]
    known = [rate for rate in theirs if rate]
    return ours / max(known) if ours and known else None


def table(rates: Rates) -> list[list[str]]:
    """A line for every network: the median rates, and how many times as fast Tidemill is."""
    lines = []
    for network in dict.fromkeys(network for network, _ in rates):
        found = [median(rates, network, name) for name in KINDS.values()]
        ratios = [times(rates, network, (name,)) for name in KINDS.values() if name != OURS]
        told = [f"{rate:,.0f}" if rate else "-" for rate in found]
        lines.append([network, str(TASKS[network].batch), *told, *(f"{one:.2f}" if one else "-" for one in ratios)])
    return lines


def verdicts(rates: Rates) -> str:
    """Whether the targets are met."""
    said = []
    for network, target, names in TARGETS:
        found = times(rates, network, names)
        wanted = f"Target, {network}: at least {target:g} times {' and '.join(names)}"
        word = "not measured" if found is None else f"{'met' if found >= target else 'MISSED'} with {found:.2f}"
        said.append(f"{wanted}; {word}.")
    return " ".join(said)


def about(children: dict[str, Child], repeats: int) -> str:
    """What was measured, and how."""
    versions = {name: version for child in children.values() for name, version in child.told["versions"].items()}
    core = next((child.told["core"] for child in children.values()), None)
    bound = "one thread" if core is None else f"bound to core {core} (sched_setaffinity)"
    told = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        "mlp: 32-64-32-2. cnn: 28 x 28, convolution of 32, pooling, 128 units. lstm: 100 tokens of 5,000, vectors and"
        " units of 64, mean of the states. transformer: 64 tokens, 2 blocks of 64, 4 heads. AdamW, one configuration."
        f" Medians of {repeats} turns after a warm-up, in turn, a process each, {bound}; CPU time of the process with"
        " all its threads. Tidemill also clips, draws dropout (of nothing), averages weights, looks at 64 held rows and"
        f" as many seen ones after an epoch and keeps the best, which is in its time. Versions: {told}."
    )


def main() -> None:
    """Measure, print, and keep where asked."""
    wanted = options()
    with ExitStack() as stack:
        children = start(wanted, stack)
        rates = measure(children, wanted.networks.split(","), wanted.repeats)
        notes = f"{verdicts(rates)}\n\n{about(children, wanted.repeats)}"
    ratios = [f"times {name}" for name in KINDS.values() if name != OURS]
    header = ["network", "batch", *KINDS.values(), *ratios]
    record("Training: examples per CPU second", header, table(rates), notes=notes, keep=wanted.record)


if __name__ == "__main__":
    main()
