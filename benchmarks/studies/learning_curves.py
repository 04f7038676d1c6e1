r"""Learning curves: validation AUC of each finetune mode by the number of training crops.

    python benchmarks/studies/learning_curves.py --manifest manifest.parquet --backbone mobilenetv2_100 \
        --weights weights.safetensors --out learning_curves

Subsets are fractions of the people, with all crops of each, and smaller subsets are part of larger ones.
Every run is one of ``training.loop.train``: the videos that select its epoch also measure it, and are the
same for all. Other options of training come from a YAML file, ``--config``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's package

from benchmarks.studies.grid import History, Variant, over_seeds, run_grid, write_table  # noqa: E402
from benchmarks.studies.row_arguments import add_row_arguments  # noqa: E402
from deepfake_detect.data.manifest import read_manifest  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError, OptionError  # noqa: E402
from deepfake_detect.io.files import sha256_of_file, write_json  # noqa: E402
from deepfake_detect.lab.study_figures import MeanCurve, save_curves_figure  # noqa: E402
from deepfake_detect.options import options_from_mapping, read_options_file  # noqa: E402
from deepfake_detect.training.config import TrainingConfig  # noqa: E402
from deepfake_detect.training.loop import train  # noqa: E402

_NUM_PARTS = 1024  # that people are divided into
# Options that differ between runs, or do not affect what is learned.
_NOT_COMPARED = {
    "manifest",
    "out",
    "weights",
    "finetune",
    "where",
    "seed",
    "device",
    "num_workers",
    "save_every",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="with the splits train and val")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", help="path or published name (default: random)")
    parser.add_argument("--config", type=Path, help="YAML file of options of training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--finetune", nargs="+", default=["features", "top", "full"], metavar="MODE")
    parser.add_argument(
        "--fractions",
        nargs="+",
        type=float,
        default=[1 / 64, 1 / 16, 1 / 4, 1.0],
        metavar="FRACTION",
        help="of the training people, above 0 to 1 (default 1/64, 1/16, 1/4 and 1)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each (default 3)")
    add_row_arguments(parser)
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(arguments: argparse.Namespace) -> None:
    names = ("manifest", "backbone", "out", "allow_leak")
    values = {
        **({} if arguments.config is None else read_options_file(arguments.config)),
        **{name: getattr(arguments, name) for name in names},
    }
    config = options_from_mapping(TrainingConfig, values, source="the command line")
    config = replace(config, weights=arguments.weights or config.weights, where=arguments.where)
    conditions = [_condition(fraction, config.where) for fraction in sorted(set(arguments.fractions))]
    counts = [_num_train(config, condition) for condition in conditions]
    if len(set(counts)) < len(counts):
        cause = f"give subsets of {', '.join(map(str, counts))} crops, some of which are equal"
        raise OptionError("--fractions", cause, "pass fractions further apart")
    variants = [
        Variant(f"{mode} {count}", training={"finetune": mode, "where": condition})
        for condition, count in zip(conditions, counts, strict=True)
        for mode in dict.fromkeys(arguments.finetune)
    ]

    def measure(variant: Variant, seed: int, folder: Path) -> History:
        return _train_once(config, variant, seed, folder)

    facts = {
        "study": "Learning curves",
        "data": "faces",
        "backbone": config.backbone,
        "weights": "random" if config.weights is None else Path(config.weights).name,
        "epochs": config.head_epochs + config.epochs,
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "num_test": read_manifest(config.manifest).where(conditions[-1]).split("val").num_rows,
        "options": {name: str(value) for name, value in asdict(config).items() if name not in _NOT_COMPARED},
        "manifest_sha256": sha256_of_file(config.manifest),
    }
    found = run_grid(arguments.out, variants, arguments.seeds, measure, facts=facts)
    curves = _by_mode(found, arguments.finetune)
    write_table(arguments.out / "table.csv", curves, by="num_train")
    _save_figure(curves, arguments, facts["weights"])
    write_json(
        arguments.out / "study.json", {**facts, "num_train": max(counts), "num_seeds": arguments.seeds}
    )
    print(f"wrote {arguments.out / 'table.csv'} and figure.png")


def _condition(fraction: float, where: str | None) -> str:
    """Return the SQL condition that keeps all of val and a fraction of the people of train.

    Raises:
        OptionError: The fraction is not above 0 to 1.
    """
    if not 0 < fraction <= 1:
        raise OptionError("--fractions", f"contains {fraction:g}", "must be above 0 and at most 1")
    part = f"(split <> 'train' or hash(target_id) % {_NUM_PARTS} < {math.ceil(fraction * _NUM_PARTS)})"
    return part if where is None else f"({where}) and {part}"


def _num_train(config: TrainingConfig, condition: str) -> int:
    return read_manifest(config.manifest).where(condition).split("train").num_rows


def _train_once(config: TrainingConfig, variant: Variant, seed: int, folder: Path) -> History:
    """Train on a subset, or resume a run that was stopped."""
    mode, where = variant.training["finetune"], variant.training["where"]
    weights = None if mode == "scratch" else config.weights
    run = replace(config, out=folder, finetune=mode, where=where, seed=seed, weights=weights)
    result = train(run, calibrate=False)
    count = float(_num_train(config, where))
    return [{"num_train": count, "val_video_auc": result.best.val_video_auc}]


def _by_mode(found: dict[str, list[History]], modes: Sequence[str]) -> dict[str, list[History]]:
    """Join the points of each mode, fewest crops first, into one history per seed."""
    joined: dict[str, list[History]] = {}
    for mode in dict.fromkeys(modes):
        points = [histories for name, histories in found.items() if name.rsplit(" ", 1)[0] == mode]
        joined[mode] = [[one[0] for one in of_seed] for of_seed in zip(*points, strict=True)]
    return joined


def _save_figure(curves: dict[str, list[History]], arguments: argparse.Namespace, weights: str) -> None:
    lines = [
        MeanCurve(
            name,
            np.array([line["num_train"] for line in histories[0]]),
            *over_seeds(histories, "val_video_auc"),
        )
        for name, histories in curves.items()
    ]
    save_curves_figure(
        {"Validation AUC over videos": lines},
        arguments.out / "figure.png",
        title=f"{arguments.backbone} from {weights}, {arguments.seeds} seeds",
        x_label="training crops",
        is_log=True,
    )


if __name__ == "__main__":
    sys.exit(main())
