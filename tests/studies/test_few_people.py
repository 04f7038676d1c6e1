"""The study of few people: what its trainings see, and the tables of its rows."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.studies import few_people
from benchmarks.studies.few_people_data import HELD_OUT, balanced, held_out, write_lfw_pairs
from benchmarks.studies.few_people_page import tables_of
from deepfake_detect import TrainingConfig
from deepfake_detect.lab.face_pairs import read_pairs


def crops(video: str, label: int, count: int, split: str = "train") -> list[dict[str, Any]]:
    return [
        {"video_id": video, "label": label, "frame_index": 10 * number, "split": split}
        for number in range(count)
    ]


def test_training_crops_are_spread_over_clips_and_their_frames() -> None:
    rows = crops("a", 0, 24) + crops("b", 0, 24) + crops("a_b", 1, 24) + crops("b_a", 1, 2)
    chosen = balanced(rows, 6)
    assert Counter(row["video_id"] for row in chosen) == {"a": 3, "b": 3, "a_b": 4, "b_a": 2}
    assert sorted(row["frame_index"] for row in chosen if row["video_id"] == "a") == [0, 80, 160]


def test_some_frames_of_each_held_out_clip_are_measured() -> None:
    rows = crops("a", 0, 24, "val") + crops("b", 1, 3, "val") + crops("c", 0, 24)
    assert Counter(row["video_id"] for row in held_out(rows)) == {"a": 8, "b": 3}


def test_no_person_is_in_two_folds(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "lfw.tar", "w") as tar:
        for person in range(12):
            for number in range(1, 3 if person < 4 else 2):
                tar.addfile(tarfile.TarInfo(f"P{person}/P{person}_{number:04d}.jpg"))
    pairs = read_pairs(
        write_lfw_pairs(tmp_path / "lfw.tar", tmp_path / "pairs.txt", num_folds=2, num_pairs=2)
    )
    people = [
        {name.split("_")[0] for pair in pairs if pair.fold == fold for name in (pair.first, pair.second)}
        for fold in (0, 1)
    ]
    assert [pair.is_same for pair in pairs] == [True, True, False, False] * 2
    assert not people[0] & people[1]
    assert all((pair.first[:-5] == pair.second[:-5]) == pair.is_same for pair in pairs)


def test_every_row_is_a_training_that_differs_from_the_others(tmp_path: Path) -> None:
    rows = [*few_people._networks(), *few_people._transfer(), *few_people._options()]
    for row in rows:
        TrainingConfig(manifest=tmp_path, out=tmp_path, **{"augmentation": "robust", **row.options})
    assert len({(row.table, row.name) for row in rows}) == len({str(row) for row in rows}) == len(rows)
    assert len(HELD_OUT) == 12


def test_rows_become_tables() -> None:
    auc = {"value": 0.75, "low": 0.6, "high": 0.85}
    common = {"seconds": 1800, "cpu_seconds": 900, "all": auc}
    rows = [
        {"table": "transfer", "name": "all", "num_crops": 1152, "Deepfakes": {**auc, "low": None}, **common},
        {"table": "who", "name": "facenet", "people": {"auc": auc}, **common},
    ]
    text = tables_of(rows)
    assert "| all | 0.750 [0.60, 0.85] | 0.750 [too few] |  |  |  | 1,152 |" in text
    assert "| facenet | 0.750 [0.60, 0.85] | 0.750 [0.60, 0.85] |  |  |  |" in text
    assert "All rows together: 1.0 hours." in text
