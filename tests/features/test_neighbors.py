from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.data.audit_report import DuplicatePair
from deepfake_detect.data.manifest import read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.features import neighbors as neighbors
from deepfake_detect.features.across import similar_across_splits
from deepfake_detect.features.feature_file import FeatureFile, feature_table
from deepfake_detect.features.neighbors import FaceIndex, retrieval_precision, unit_vectors
from deepfake_detect.records import CropGeometry
from tests.features.data import write_features

HAS_FAISS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not neighbors.has_faiss(), reason="no faiss")),
]


def by_hand(points: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    cosines = unit_vectors(points) @ unit_vectors(query[None])[0]
    return sorted(range(len(points)), key=lambda row: (-cosines[row], row))[:count]


@pytest.mark.parametrize("use_faiss", HAS_FAISS)
def test_the_nearest_are_those_of_a_plain_loop(use_faiss: bool) -> None:
    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(1500, 9)), rng.normal(size=(1100, 9)) * 40
    points[700] = points[3] * 2.5  # equally near everything
    rows, cosines = FaceIndex(points, use_faiss=use_faiss).nearest(queries, count=4)
    assert rows.dtype == np.int64
    for number in range(0, 1100, 97):
        assert rows[number].tolist() == by_hand(points, queries[number], 4)
        expected = unit_vectors(points[rows[number]]) @ unit_vectors(queries[number : number + 1])[0]
        np.testing.assert_allclose(cosines[number], expected, atol=1e-12)
    assert FaceIndex(points, use_faiss=use_faiss).nearest(points[3:4], count=2)[0].tolist() == [[3, 700]]


@pytest.mark.parametrize("use_faiss", HAS_FAISS)
def test_a_face_is_no_answer_to_itself(use_faiss: bool) -> None:
    points = np.random.default_rng(0).normal(size=(40, 5))
    own = np.array([7, 30])
    rows, _ = FaceIndex(points, use_faiss=use_faiss).nearest(points[own], count=39, without=own)
    for number, row in enumerate(own):
        assert sorted(rows[number]) == sorted(set(range(40)) - {row})


def test_an_index_refuses_what_is_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.ones((3, 2))
    with pytest.raises(OptionError, match=r"features: have the shape \(0, 2\); pass one or more vectors"):
        FaceIndex(points[:0])
    with pytest.raises(OptionError, match="contain values that are not finite"):
        FaceIndex(points * np.nan)
    with pytest.raises(OptionError, match="count: is 4; must be 1 to 3"):
        FaceIndex(points).nearest(points, count=4)
    with pytest.raises(OptionError, match="count: is 3; must be 1 to 2"):
        FaceIndex(points).nearest(points[:1], count=3, without=np.zeros(1, int))
    with pytest.raises(OptionError, match=r"queries: have the shape \(3, 1\); pass \(Q, 2\)"):
        FaceIndex(points).nearest(points[:, :1], count=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="faiss is not installed"):
        FaceIndex(points, use_faiss=True)
    assert FaceIndex(points).nearest(points, count=1)[0].shape == (3, 1)


def test_retrieval_precision_by_hand() -> None:
    rng = np.random.default_rng(0)
    people = np.array([f"p{n // 3}" for n in range(30)] + ["", "", "alone"], dtype=object)
    centers = rng.normal(size=(11, 8))
    faces = np.concatenate([centers[n // 3 : n // 3 + 1] + 0.5 * rng.normal(size=(1, 8)) for n in range(33)])
    found = retrieval_precision(faces, people, count=4, num_resamples=200)
    hits, shares = [], []
    for row in range(30):
        nearest = [n for n in by_hand(faces, faces[row], 33) if n != row][:4]
        same = sum(people[n] == people[row] for n in nearest)
        hits.append(same > 0)
        shares.append(same / 2)
    assert found.num_queries == 30
    assert found.hit.value == pytest.approx(np.mean(hits))
    assert found.precision == pytest.approx(np.mean(shares))
    assert found.hit.low <= found.hit.value <= found.hit.high
    drawn = np.random.default_rng(1)
    misses = np.mean([not {0, 1} & set(drawn.permutation(32)[:4]) for _ in range(4000)])
    assert found.chance == pytest.approx(1 - misses, abs=0.03)
    with pytest.raises(OptionError, match="no person has two faces"):
        retrieval_precision(faces[:2], np.array(["a", "b"]))


@pytest.fixture
def file(tmp_path: Path) -> FeatureFile:
    rng = np.random.default_rng(0)
    splits = {"test": 20, "train": 30, "val": 10, None: 5}
    tables = {
        name: feature_table(rng.normal(size=(count, 16)), split=name, method="m", video_ids=[
            f"{name}{n}" for n in range(count)])
        for name, count in splits.items()
    }  # fmt: skip
    # Two of val and one without a split are pictures of train once more.
    for row, source in ((2, 11), (7, 11)):
        tables["val"].features[row] = tables["train"].features[source] * 3
    tables["val"].features[7] += 0.1
    tables[None].features[0] = tables["train"].features[5]
    placed = [
        replace(t, paths=np.array([f"crops/{v}.png" for v in t.video_ids], object)) for t in tables.values()
    ]
    return FeatureFile(write_features(tmp_path / "f.h5", placed))


def test_what_two_splits_share_is_told_in_the_words_of_the_audit(file: FeatureFile) -> None:
    found = similar_across_splits(file, min_similarity=0.99)
    counts = {(one.first, one.second): one.count for one in found.overlaps}
    assert counts == {("train", "val"): 2, ("train", "test"): 0, ("val", "test"): 0}
    overlap = found.overlaps[0]
    assert (overlap.num_rows, overlap.num_videos) == (3, 3)
    assert "near-duplicate-crops: train and val share 2" in overlap.sentence()
    first, second = found.pairs
    assert first == DuplicatePair(
        "near-duplicate-crops", "train", "val", "crops/train11.png", "crops/val2.png", likeness=1.0
    )
    assert second.second_path == "crops/val7.png"
    assert 0.99 < second.likeness < 1
    assert len(similar_across_splits(file, min_similarity=0.99, max_pairs=1).pairs) == 1


def test_crops_and_splits_can_be_those_of_a_manifest(file: FeatureFile, tmp_path: Path) -> None:
    listed = [
        {"dataset": "x", "video_id": f"{split}{n}", "method": "m", "label": 0, "split": now,
         "frame_index": 0, "track_id": 0, "path": f"{split}{n}.png"}
        for split, n, now in (("train", 11, "train"), ("val", 2, "test"), ("val", 7, None))
    ]  # fmt: skip
    write_manifest(tmp_path / "crops" / "m.parquet", rows_to_table(listed), geometry=CropGeometry())
    rows = read_manifest(tmp_path / "crops" / "m.parquet")
    found = similar_across_splits(file, min_similarity=0.99, kind="identities", rows=rows)
    (pair,) = found.pairs
    assert (pair.first_path, pair.second_split, pair.second_path) == ("train11.png", "test", "val2.png")
    assert found.overlaps[0].examples[0].second == "val2.png"
    assert found.overlaps[0].kind == "identities"
    assert found.num_rows == 2
    with pytest.raises(OptionError, match="are of a crop with a split in .*extract those of this manifest"):
        similar_across_splits(file, min_similarity=0.99, rows=rows.where("split is null"))


def test_bounds_out_of_range(file: FeatureFile) -> None:
    with pytest.raises(OptionError, match="min_similarity: is 1.5"):
        similar_across_splits(file, min_similarity=1.5)
    with pytest.raises(OptionError, match="max_pairs: is 0"):
        similar_across_splits(file, min_similarity=0.5, max_pairs=0)
