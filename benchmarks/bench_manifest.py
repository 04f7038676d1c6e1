"""Opening, filtering and ordering a manifest of ten million crops, beside loading it whole.

    python benchmarks/bench_manifest.py [--rows 10000000] [--runs 3]

Writes a synthetic manifest into a temporary folder (about 0.7 GB for ten million rows) and measures,
per question, time and peak memory of a new process that asks it once, next to pyarrow reading the
whole table first. Both must give the same answer. Linux only: the
peak memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, peak_mb, record  # noqa: E402
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, manifest_metadata, read_manifest  # noqa: E402
from deepfake_detect.progress import progress_bar  # noqa: E402
from deepfake_detect.records import CropGeometry  # noqa: E402

_METHODS = ("original", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
_FRAMES = 100
_FILTER = "method == 'Deepfakes' and split == 'test' and native_size >= 150"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    add_json_option(parser, "manifest")
    parser.add_argument("--ask", nargs=2, metavar=("QUESTION", "MANIFEST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        print(json.dumps(_ask(arguments.ask[0], Path(arguments.ask[1]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        _write(path, arguments.rows)
        questions = {question: _compare(question, path, arguments.runs) for question in _ASKED}
        figures = {"bytes_per_row": path.stat().st_size / arguments.rows, "questions": questions}
    record("manifest", arguments, figures, packages=("duckdb", "pyarrow"))
    return 0


def _write(path: Path, num_rows: int) -> None:
    """Write rows as an extraction of many videos would, a million at a time."""
    schema = MANIFEST_SCHEMA.with_metadata(manifest_metadata(CropGeometry()))
    with pq.ParquetWriter(path, schema) as writer, progress_bar() as progress:
        task = progress.add_task("writing", total=num_rows, note="")
        for start in range(0, num_rows, 1_000_000):
            count = min(1_000_000, num_rows - start)
            writer.write_table(_rows(start, count))
            progress.advance(task, count)


def _rows(start: int, count: int) -> pa.Table:
    rng = np.random.default_rng(start)
    numbers = np.arange(start, start + count)
    videos, frames = numbers // _FRAMES, numbers % _FRAMES
    methods, targets = videos % len(_METHODS), videos // len(_METHODS)
    names = np.char.add(np.char.add("Made/", np.array(_METHODS)[methods]), np.char.mod("/c23/%06d", targets))
    boxes = rng.uniform(0, 1000, (count, 4)).astype(np.float32)
    landmarks = rng.uniform(0, 1000, (count, 10)).astype(np.float32)
    columns = {
        "dataset": np.full(count, "Made"),
        "video_id": names,
        "method": np.array(_METHODS)[methods],
        "label": (methods > 0).astype(np.int8),
        "split": np.array(["train", "val", "test"])[np.minimum(targets % 10 // 8 + targets % 10 // 9, 2)],
        "compression": np.full(count, "c23"),
        "target_id": np.char.mod("%06d", targets),
        "source_id": pa.array(np.char.mod("%06d", targets + 1), mask=methods == 0),
        "frame_index": (3 * frames).astype(np.int32),
        "time_seconds": frames * 3 / 25,
        "track_id": np.zeros(count, np.int32),
        "box_xyxy": pa.FixedSizeListArray.from_arrays(boxes.reshape(-1), 4).cast(pa.list_(pa.float32())),
        "landmarks_xy": pa.FixedSizeListArray.from_arrays(landmarks.reshape(-1), 10).cast(
            pa.list_(pa.float32())
        ),
        "detection_score": rng.uniform(0.9, 1, count).astype(np.float32),
        "path": np.char.add(np.char.add("crops/", names), np.char.mod("/%06d_00.png", 3 * frames)),
        "native_size": rng.integers(60, 400, count).astype(np.int32),
    }
    return pa.table(
        {
            field.name: columns[field.name] if field.name in columns else pa.nulls(count, field.type)
            for field in MANIFEST_SCHEMA
        }
    ).cast(MANIFEST_SCHEMA)


def _ask(question: str, path: Path) -> dict[str, float | str]:
    """Answer one question in this process; tell time, peak memory and a digest of the answer."""
    if "order" in question:  # importing torch is not what is measured
        import deepfake_detect.data.crops  # noqa: F401
    before = peak_mb()
    started = time.perf_counter()
    answer = _QUESTIONS[question](path)
    return {"seconds": time.perf_counter() - started, "peak_mb": peak_mb() - before, "answer": str(answer)}


def _open(path: Path) -> object:
    return read_manifest(path).num_rows


def _open_whole(path: Path) -> object:
    return pq.read_table(path).num_rows


def _filter(path: Path) -> object:
    return int(read_manifest(path).where(_FILTER).column("frame_index").sum())


def _filter_whole(path: Path) -> object:
    table = pq.read_table(path)
    mask = pc.and_(pc.equal(table["method"], "Deepfakes"), pc.equal(table["split"], "test"))
    mask = pc.and_(mask, pc.greater_equal(table["native_size"], 150))
    return int(pc.sum(table.filter(mask)["frame_index"]).as_py())


def _order(path: Path) -> object:
    from deepfake_detect.data.crops import PairedBatchSampler

    rows = read_manifest(path).split("train").columns(["label", "target_id"])
    sampler = PairedBatchSampler(rows["label"].to_numpy(), rows["target_id"], batch_size=32, seed=0)
    return len(sampler.epoch_pairs())


def _order_whole(path: Path) -> object:
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["split"], "train"))
    labels, targets = table["label"].to_numpy(), table["target_id"].to_pylist()
    partners: dict[str, list[int]] = {}
    for row in np.flatnonzero(labels == 0):
        partners.setdefault(targets[row], []).append(int(row))
    rng = np.random.default_rng(0)
    order = rng.permutation(np.flatnonzero(labels == 1))
    lots = rng.random(len(order))
    return len(
        [
            (row, partners[targets[row]][int(u * len(partners[targets[row]]))])
            for row, u in zip(order, lots, strict=True)
        ]
    )


_QUESTIONS = {
    "open": _open,
    "open whole": _open_whole,
    "filter": _filter,
    "filter whole": _filter_whole,
    "order": _order,
    "order whole": _order_whole,
}
_ASKED = ("open", "filter", "order")


def _compare(question: str, path: Path, num_runs: int) -> dict[str, list[dict[str, float | str]]]:
    """Ask both ways in turn, so that they see the same machine; return every run."""
    runs: dict[str, list[dict[str, float | str]]] = {"ours": [], "whole table": []}
    for _ in range(num_runs):
        for way, results in runs.items():
            results.append(_run(question if way == "ours" else f"{question} whole", path))
    if len(answers := {one["answer"] for results in runs.values() for one in results}) > 1:
        raise SystemExit(f"{question}: the two give different answers: {answers}")
    return runs


def _run(question: str, path: Path) -> dict[str, float | str]:
    command = [sys.executable, __file__, "--ask", question, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float | str] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
