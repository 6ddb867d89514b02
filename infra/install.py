"""Make the working tree usable from its virtual environment: the path, and the `tidemill` command.

Run by `make install` with the environment's own Python. It does what an editable install would do, without a build.
"""

from __future__ import annotations

import stat
import sys
import sysconfig
from pathlib import Path

ROOTS = ("layers/core", "layers/serving", "layers/training", "infra", "functions")
COMMAND = """#!{python}
import sys
from tidemill.cli.main import main
sys.exit(main())
"""


def main() -> None:
    """Write the .pth file and the command."""
    root = Path(__file__).resolve().parent.parent
    site = Path(sysconfig.get_path("purelib"))
    (site / "tidemill-dev.pth").write_text("".join(f"{root / name}\n" for name in ROOTS))
    command = Path(sysconfig.get_path("scripts")) / "tidemill"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(command.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    print(f"installed {command}")


if __name__ == "__main__":
    main()
