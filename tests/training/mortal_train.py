"""``deepfake-detect train`` whose second process is killed once, after the run's third saving.

Run by torchrun in the tests: ``mortal_train.py FOLDER ARGUMENTS...`` leaves ``killed`` in the folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

from deepfake_detect.cli import main  # noqa: E402
from deepfake_detect.training import loop  # noqa: E402
from deepfake_detect.training.prepare import Run  # noqa: E402

_SAVINGS = 3


def die_once(folder: Path) -> None:
    save, count = loop.save_state, 0

    def saved(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if run.accelerator.process_index == 1 and count == _SAVINGS and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    loop.save_state = saved
    loop.write_results = lambda run, result: result  # the weights are all that is compared


if __name__ == "__main__":
    die_once(Path(sys.argv[1]))
    sys.exit(main(["train", *sys.argv[2:]]))
