"""The batch job for files too large for a function: `python -m tidemill.serving.scoring_job` goes on with a scoring.

Exit codes, which the job definition's retry rules and Score read: 0 done, with predictions or a rejection report,
70 a bug, 75 interrupted with every part written so far kept (try again).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from tidemill.core.events import Bus
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.serving.bundles import Bundles
from tidemill.serving.scoring import Bucket, Scorer

DONE, BUG, INTERRUPTED = 0, 70, 75

log = logging.getLogger("tidemill.scoring")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Go on with the scoring named in the environment; the process's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    previous = signal.signal(signal.SIGTERM, _asked_to_stop)
    try:
        scorer = scorer_of(Settings.from_environment(environment), Path(environment.get("TIDEMILL_WORK_DIR") or "."))
        item = scorer.scorings.get(environment["TIDEMILL_MODEL"], environment["TIDEMILL_SCORING"])
        item = scorer.go_on(item)
    except Exception:  # the outermost door of the job: Batch learns the code, the log the rest
        log.exception("The scoring failed.")
        return BUG
    finally:
        signal.signal(signal.SIGTERM, previous)
    log.info("scoring %s is %s: %s", item["scoring"], item["state"], item.get("rows") or item.get("reason"))
    return DONE


def scorer_of(settings: Settings, folder: Path) -> Scorer:
    """What scores in this process, with nobody to hand over to; bundles lie in a folder below the one given."""
    artifacts = Storage(settings.artifacts_bucket)
    return Scorer(
        Registry(settings.table, artifacts),
        Storage(settings.data_bucket),
        artifacts,
        Bus(settings.bus),
        Bundles(Bucket(artifacts), settings.artifacts_bucket, folder / "bundles"),
    )


def _asked_to_stop(number: int, frame: FrameType | None) -> None:
    """A part is written whole or not at all, so there is nothing to save."""
    raise SystemExit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
