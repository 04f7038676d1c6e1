"""Writing a million features and reading a part of them, beside plain arrays.

    python benchmarks/bench_features.py [--rows 1000000] [--width 512]

Writes synthetic features of two splits and five methods into a temporary folder (about 2 GB for a
million rows of 512), a few thousand at a time as an extraction does, then reads one method of one
split. The alternative keeps all rows in one ``.npy`` and a column of names, and reads the part by a
mask over a memory map. Each step runs in a fresh process; printed are its time, what its peak memory
rose by, and the size on disk. Both must read the same values. Linux only: the peak is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, peak_mb, record  # noqa: E402
from deepfake_detect.features.feature_file import (  # noqa: E402
    FeatureFile,
    FeatureInfo,
    FeatureTable,
    FeatureWriter,
    concatenate,
    feature_table,
)
from deepfake_detect.io.files import atomic_path  # noqa: E402
from deepfake_detect.progress import progress_bar  # noqa: E402
from deepfake_detect.records import CropGeometry, Preprocessing  # noqa: E402

_METHODS = ("original", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
_PART = ("val", "Face2Face")
_ROWS_AT_ONCE = 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    add_json_option(parser, "features")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        name, folder = arguments.step
        print(json.dumps(_measure(name, Path(folder), arguments.rows, arguments.width)))
        return 0
    steps = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in _STEPS:
            options = [f"--rows={arguments.rows}", f"--width={arguments.width}"]
            command = [sys.executable, __file__, *options, "--step", name, folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            steps[name] = json.loads(done.stdout)
    if len({steps[name]["answer"] for name in _READS}) > 1:
        raise SystemExit(f"the two read different values: {steps}")
    record("features", arguments, {"steps": steps}, packages=("h5py", "numpy"))
    return 0


def _measure(name: str, folder: Path, rows: int, width: int) -> dict[str, float | str]:
    before = peak_mb()
    started = time.perf_counter()
    answer, file = _STEPS[name](folder, rows, width)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "peak_mb": peak_mb() - before,
        "disk_mb": file.stat().st_size / 2**20,
        "answer": answer,
    }


def _tables(rows: int, width: int) -> Iterator[FeatureTable]:
    """Yield made rows, a few thousand of all methods at a time."""
    rng = np.random.default_rng(0)
    with progress_bar() as progress:
        task = progress.add_task("rows", total=rows, note="")
        for start in range(0, rows, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, rows - start)
            split = "val" if start // _ROWS_AT_ONCE % 5 == 4 else "train"
            features = rng.standard_normal((count, width), np.float32)
            parts = np.array_split(np.arange(count), len(_METHODS))
            names = [[f"Made/{method}/c23/{(start + row) // 32:06d}" for row in rows_of]
                     for method, rows_of in zip(_METHODS, parts, strict=True)]  # fmt: skip
            yield concatenate(
                feature_table(features[rows_of], split=split, method=method, label=number > 0, video_ids=ids)
                for number, (method, rows_of, ids) in enumerate(zip(_METHODS, parts, names, strict=True))
            )
            progress.advance(task, count)


def _write_ours(folder: Path, rows: int, width: int) -> tuple[str, Path]:
    info = FeatureInfo({}, {}, Preprocessing(8, (0, 0, 0), (1, 1, 1)), CropGeometry(), (width,))
    path = folder / "features.h5"
    with atomic_path(path) as temporary, FeatureWriter.create(temporary, info) as writer:
        for table in _tables(rows, width):
            writer.append(table)
    return f"{rows:,} rows", path


def _write_plain(folder: Path, rows: int, width: int) -> tuple[str, Path]:
    path = folder / "features.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    names, start = [], 0
    for table in _tables(rows, width):
        stored[start : start + len(table)] = table.features
        names += [f"{split}/{method}" for split, method in zip(table.splits, table.methods, strict=True)]
        start += len(table)
    np.save(folder / "names.npy", np.array(names))
    return f"{rows:,} rows", path


def _read_ours(folder: Path, rows: int, width: int) -> tuple[str, Path]:
    total, count = 0.0, 0
    for table in FeatureFile(folder / "features.h5").batches(*_PART):
        total += float(table.features.sum(dtype=np.float64))
        count += len(table)
    return f"{count:,} rows, sum {total:.1f}", folder / "features.h5"


def _read_plain(folder: Path, rows: int, width: int) -> tuple[str, Path]:
    wanted = np.load(folder / "names.npy") == "/".join(_PART)
    part = np.load(folder / "features.npy", mmap_mode="r")[wanted]
    return f"{len(part):,} rows, sum {part.sum(dtype=np.float64):.1f}", folder / "features.npy"


_STEPS = {
    "write": _write_ours,
    "write plain array": _write_plain,
    "read a part": _read_ours,
    "read a part of the plain array": _read_plain,
}
_READS = [name for name in _STEPS if name.startswith("read")]


if __name__ == "__main__":
    sys.exit(main())
