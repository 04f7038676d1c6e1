"""``deepfake-detect train`` that notes, before each validation, the statistics a process goes into it with.

Run by torchrun in the tests: ``watched_train.py FOLDER ARGUMENTS...`` leaves ``statistics-RANK.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

from deepfake_detect.cli import main  # noqa: E402
from deepfake_detect.training import loop  # noqa: E402
from deepfake_detect.training.prepare import Run  # noqa: E402


def watch(folder: Path) -> None:
    validate, found = loop.validate, list[float]()

    def noted(run: Run, model: Any) -> Any:
        found.append(sum(float(buffer.double().sum()) for buffer in run.model.buffers()))
        (folder / f"statistics-{run.accelerator.process_index}.json").write_text(json.dumps(found))
        return validate(run, model)

    loop.validate = noted


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.exit(main(["train", *sys.argv[2:]]))
