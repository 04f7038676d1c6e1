"""Write the speed tables of docs/benchmarks.md, from the JSON files of the benchmarks.

    python benchmarks/update_speed.py --decode decode.json --faces faces.json --extract extract.json

The tables stand between ``<!-- speed -->`` and ``<!-- end of speed -->``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.markers import markdown_table, replace_between  # noqa: E402

_Rows = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("decode", "faces", "extract"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"written by bench_{name}.py --json")
    arguments = parser.parse_args()
    decode, faces, extract = (
        json.loads(getattr(arguments, name).read_text("utf-8")) for name in ("decode", "faces", "extract")
    )
    text = "\n\n".join(
        [
            f"Measured: {faces['machine']}.",
            f"**{decode['frames']} evenly spaced frames of a clip** (`benchmarks/bench_decode.py`)",
            markdown_table(
                ["clip", "way", "seconds", "faster than OpenCV's seek", "largest pixel difference"],
                list(_decode_rows(decode["rows"])),
            ),
            "**Finding faces** (`benchmarks/bench_faces.py`), times as fast as facenet-pytorch's MTCNN, "
            "frame by frame, on the same frames; in brackets: with its smallest face set to ours",
            markdown_table(["frames", "exact", "default", "dense"], list(_face_rows(faces["speed"]))),
            _agreement(faces["agreement"]),
            "**Whole extraction** (`benchmarks/bench_extract.py`), 720p, "
            f"{extract['frames']} frames of each clip of {extract['clip_frames']}",
            markdown_table(
                ["workers", "way", "videos a second", "of pure decoding"],
                list(_extract_rows(extract["speed"])),
            ),
            "Memory of one worker at most: "
            + ", ".join(f"{row['peak_mb']:,.0f} MB for {row['frames']:,} frames" for row in extract["memory"])
            + ".",
        ]
    )
    return 0 if replace_between(ROOT / "docs" / "benchmarks.md", "speed", text) else 2


def _decode_rows(rows: _Rows) -> Iterator[list[object]]:
    for row in rows:
        yield [
            row["clip"],
            row["way"],
            f"{row['seconds']:.2f} ({row['spread']})",
            f"{row['ratio']:.1f}",
            row["max_difference"],
        ]


def _face_rows(speed: _Rows) -> Iterator[list[object]]:
    for frames in dict.fromkeys(row["frames"] for row in speed):
        ways = {row["way"]: row for row in speed if row["frames"] == frames}
        yield [
            frames,
            *(
                f"{row['times facenet-pytorch']:.1f} ({row['times it with that smallest face']:.1f})"
                if (row := ways.get(way))
                else ""
                for way in ("exact", "default", "dense")
            ),
        ]


def _agreement(rows: _Rows) -> str:
    """Say how the faces of each mode agree with facenet-pytorch's, over all frames."""
    sentences = []
    for mode in ("exact", "default", "dense"):
        of_mode = [row for row in rows if row["mode"] == mode]
        num_faces = sum(row["faces"] for row in of_mode)
        recall = sum(row["faces"] * row["recall at IoU .9"] for row in of_mode) / num_faces
        median = statistics.median(row["median IoU"] for row in of_mode)
        corner = max(row["most"] for row in of_mode)
        truth = "default mode's on each frame alone" if mode == "dense" else "facenet-pytorch's"
        sentences.append(
            f"{mode}: {num_faces} faces, recall {recall:.3f} at IoU 0.9 of {truth}, median IoU {median:.4f}, "
            f"corners at most {corner:.4f} px apart"
        )
    return "Agreement. " + "; ".join(sentences) + "."


def _extract_rows(rows: _Rows) -> Iterator[list[object]]:
    for row in rows:
        speed = row.get("videos_per_second", row["videos"] / row["seconds"])
        yield [row["workers"], row["way"], f"{speed:.2f}", f"{row['of_decoding']:.2f}"]


if __name__ == "__main__":
    sys.exit(main())
