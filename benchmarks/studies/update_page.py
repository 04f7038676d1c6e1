"""Write the results of studies into this folder's README.md, with their figures.

    python benchmarks/studies/update_page.py overfitting-mnist batch_norm-cifar10 ...

Each argument is the folder of a study. The results are written between the markers ``<!-- studies -->``
and ``<!-- end of studies -->``; missing studies are listed with their commands.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.markers import markdown_table, replace_between  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError  # noqa: E402
from deepfake_detect.io.files import make_folder, read_json  # noqa: E402

HERE = Path(__file__).resolve().parent
_SCRIPTS = {
    "Overfitting": "overfitting",
    "Batch size": "batch_size",
    "Batch normalization": "batch_norm",
    "Augmentation": "augmentation",
}
_SOURCES = {"mnist": "--mnist-root DIR", "cifar10": "--cifar-root DIR", "faces": "--manifest FILE"}
_CURVES = "Learning curves"
_Row = dict[str, str]


def main(arguments: Sequence[str] | None = None, *, page: Path = HERE / "README.md") -> int:
    folders = [Path(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        studies = [(read_json(folder / "study.json"), folder) for folder in folders]
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = {(facts["study"], facts["data"]) for facts, _ in studies}
    parts = [_section(facts, folder, page.parent) for facts, folder in studies]
    if missing := list(_missing(done)):
        parts.append("### Not run yet\n\n" + "\n".join(missing))
    return 0 if replace_between(page, "studies", "\n\n".join(parts)) else 2


def _section(facts: dict[str, Any], folder: Path, target: Path) -> str:
    """Return heading, sizes, table and figure of a study; copy the figure next to the page."""
    name = f"{folder.name}.png"
    shutil.copyfile(folder / "figure.png", make_folder(target / "figures") / name)
    with open(folder / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    title = f"{facts['study']}, {facts['data']}"
    sizes = (
        f"{facts['num_train']:,} training and {facts['num_test']:,} test images of {facts['image_size']} "
        f"pixels, {facts['epochs']} epochs, batches of {facts['batch_size']}"
        f"{', batch norm' if facts.get('batch_norm') else ''} unless studied, {facts['num_seeds']} seeds."
    )
    table = _curve_table(rows) if facts["study"] == _CURVES else _last_epoch_table(rows)
    return f"### {title}\n\n{sizes}\n\n{table}\n\n![{title}](figures/{name})"


def _last_epoch_table(rows: list[_Row]) -> str:
    last = {row["variant"]: row for row in rows}  # lines of a variant are in the order of epochs
    keys = ("fitted_loss", "test_loss", "fitted_accuracy", "test_accuracy")
    header = ["after the last epoch", "training loss", "test loss", "training accuracy", "test accuracy"]
    return markdown_table(header, [[name, *(_text(row, key) for key in keys)] for name, row in last.items()])


def _curve_table(rows: list[_Row]) -> str:
    header = ["finetune", "training crops", "validation AUC"]
    lines = [[row["variant"], f"{float(row['num_train']):,.0f}", _text(row, "val_video_auc")] for row in rows]
    return markdown_table(header, lines)


def _text(row: _Row, key: str) -> str:
    """Return mean and interval."""
    mean = f"{float(row[f'{key}_mean']):.3f}"
    if not row[f"{key}_low"]:
        return f"{mean} (one seed)"
    return f"{mean} [{float(row[f'{key}_low']):.3f}, {float(row[f'{key}_high']):.3f}]"


def _missing(done: set[tuple[str, str]]) -> Iterator[str]:
    """Yield a line of Markdown for each missing study."""
    for study, script in _SCRIPTS.items():
        for data, source in _SOURCES.items():
            if (study, data) not in done:
                command = f"python benchmarks/studies/{script}.py {source} --out {script}-{data}"
                yield f"- {study}, {data}: `{command}`"
    if (_CURVES, "faces") not in done:
        command = "python benchmarks/studies/learning_curves.py --manifest FILE --backbone NAME"
        yield f"- {_CURVES}, faces: `{command} --weights FILE --out learning_curves`"


if __name__ == "__main__":
    sys.exit(main())
