"""The process in which contenders run: one core, one thread; asked and answering in lines of JSON.

    python -m searching.worker ours | anew | keras_fit | torch_fit

The first line it writes tells of it: versions and core, or the library that is missing. Then {"way": NAME, "count":
CONFIGURATIONS} is answered by {"cpu_s": SECONDS, "losses": [...]}: CPU time of the whole process, all its threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from importlib.metadata import packages_distributions, version


def pinned() -> int | None:
    """Keep to one core where the system can; which."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def main(name: str) -> None:
    """Answer until there are no more questions."""
    core = pinned()  # before any library counts the cores
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    try:
        contender = import_module(name if "." in name else f"searching.{name}")
    except ModuleNotFoundError as problem:
        print(json.dumps({"missing": problem.name}), file=answers)
        return
    sellers = packages_distributions()  # tensorflow comes as tensorflow-cpu, too
    versions = {package: version(sellers.get(package, [package])[0]) for package in contender.PACKAGES}
    print(json.dumps({"core": core, "versions": versions}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.process_time()
        losses = contender.WAYS[asked["way"]](asked["count"])
        spent = time.process_time() - began
        print(json.dumps({"cpu_s": spent, "losses": [float(loss) for loss in losses()]}), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
