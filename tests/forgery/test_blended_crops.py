from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from deepfake_detect.data.crops import CropDataset, EpochBatches
from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
from deepfake_detect.data.transforms import TrainingAugmentation
from deepfake_detect.errors import OptionError
from deepfake_detect.forgery.blended_crops import (
    BlendedBatchSampler,
    BlendedCrops,
    Blender,
    RealsAndBlends,
    collate_blended,
    relative_landmarks,
)
from deepfake_detect.forgery.blends import BLENDS, parse_blends
from deepfake_detect.records import CropGeometry, Preprocessing
from tests.forgery.faces import GEOMETRY, LANDMARKS_IN_CROP, SIDE, face_manifest, smooth_picture

PREPROCESSING = Preprocessing(image_size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def rows(tmp_path: Path) -> Manifest:
    return read_manifest(face_manifest(tmp_path / "data", {"train": 6}, fakes={"train": 6}))


def blended(rows: Manifest, words: tuple[str, ...] = ("sbi",), augmentation: str = "none") -> BlendedCrops:
    augment = TrainingAugmentation(augmentation, SIDE)  # type: ignore[arg-type]
    crops = CropDataset(rows, PREPROCESSING, geometry=GEOMETRY, augment=augment)
    return BlendedCrops(crops, Blender(rows, relative_landmarks(rows), words))  # type: ignore[arg-type]


def test_words_of_blends() -> None:
    assert [parse_blends(word) for word in BLENDS] == [("sbi",), ("cross",)]
    assert parse_blends("cross+sbi") == ("sbi", "cross")
    with pytest.raises(OptionError, match="forgery: 'gan' is unknown; must be of sbi, cross, joined"):
        parse_blends("sbi+gan")
    with pytest.raises(OptionError, match="lists one twice"):
        parse_blends("sbi+sbi")


def test_landmarks_of_the_manifest_are_used_as_they_are(rows: Manifest) -> None:
    shares = relative_landmarks(rows)
    np.testing.assert_allclose(shares[0], (LANDMARKS_IN_CROP + 0.5) / SIDE, atol=0.01)
    assert np.isnan(shares[6:]).all()  # fakes are not blended


def test_landmarks_are_looked_for_where_none_are_known(tmp_path: Path, portrait: np.ndarray) -> None:
    face = portrait[20:220, 120:320]
    (tmp_path / "crops").mkdir()
    pictures = {"face": face, "wall": np.full((80, 80, 3), 90, np.uint8)}
    table = []
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / "crops" / f"{name}.png"), picture[..., ::-1])
    for name in ("face", "absent", "wall", "face"):
        table.append({"dataset": "D", "video_id": name, "label": 0, "path": f"crops/{name}.png"})
    write_manifest(tmp_path / "manifest.parquet", rows_to_table(table), geometry=CropGeometry())
    shares = relative_landmarks(read_manifest(tmp_path), device="cpu", show_progress=False)
    assert np.isfinite(shares).all((1, 2)).tolist() == [True, False, False, True]
    np.testing.assert_array_equal(shares[0], shares[3])
    eyes = shares[0, :2] * 200
    # Where the eyes of the photograph are, by eye.
    np.testing.assert_allclose(eyes, [(82, 90), (127, 91)], atol=9)


@pytest.mark.parametrize("word", BLENDS)
def test_a_pair_differs_by_the_blend_alone(rows: Manifest, word: str) -> None:
    dataset = blended(rows, (word,), augmentation="strong")
    real, fake = dataset[(~2, 7)]
    assert (real.label, fake.label) == (0, 1)
    assert real.row == fake.row == 2
    assert real.image is not None
    assert fake.image is not None
    changed = (real.image != fake.image).any(0).float().mean()
    assert 0.02 < changed < 0.98
    again, other = dataset[(~2, 7)][1], dataset[(~2, 8)][1]
    assert torch.equal(fake.image, again.image)  # type: ignore[arg-type]
    assert not torch.equal(fake.image, other.image)  # type: ignore[arg-type]


def test_stored_crops_come_as_they_are(rows: Manifest) -> None:
    (item,) = blended(rows)[(8, 1)]
    plain = CropDataset(rows, PREPROCESSING, geometry=GEOMETRY)[8]
    assert item.label == 1
    assert torch.equal(item.image, plain.image)  # type: ignore[arg-type]


def test_crops_that_cannot_be_blended_are_told_and_left_out(rows: Manifest) -> None:
    dataset = blended(rows)
    cv2.imwrite(str(rows.root / "crops" / "train1.png"), np.zeros((20, 20, 3), np.uint8))
    (rows.root / "crops" / "train2.png").unlink()
    batch = collate_blended([dataset[(~0, 0)], dataset[(~1, 0)], dataset[(~2, 0)], dataset[(7, 0)]])
    assert batch.labels.tolist() == [0, 1, 1]
    assert batch.unreadable_rows.tolist() == [1, 2]


def test_faces_outside_of_their_crops_are_left_out(rows: Manifest) -> None:
    shares = relative_landmarks(rows)
    shares[1] += 2.0
    shares[2] = 0.5  # collapsed
    shares[3] = shares[3] * 0.05 + 0.4  # a speck
    assert Blender(rows, shares, ("sbi",)).rows.tolist() == [0, 4, 5]


def test_what_a_blend_leaves_as_it_was_is_not_called_fake(
    rows: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepfake_detect.forgery import blended_crops

    def unchanged(target: np.ndarray, *_: object, **__: object) -> tuple[np.ndarray, np.ndarray]:
        return target.copy(), np.zeros(target.shape[:2], np.float32)

    monkeypatch.setattr(blended_crops, "cross_blend", unchanged)
    (item,) = blended(rows, ("cross",))[(~0, 0)]
    assert item.image is None


def test_another_persons_face_is_blended_in(rows: Manifest) -> None:
    blender = Blender(rows, relative_landmarks(rows), ("cross",))
    image = np.full((SIDE, SIDE, 3), 128, np.uint8)
    made = [blender.make(0, image, np.random.default_rng(seed)) for seed in range(12)]
    sources = {forgery.source_id for forgery in made if forgery is not None}
    assert "train0" not in sources
    assert len(sources) > 1
    for other in sorted(sources)[1:]:  # type: ignore[type-var]
        (rows.root / "crops" / f"{other}.png").unlink()
    for seed in range(12):
        found = blender.make(0, image, np.random.default_rng(seed))
        assert found is not None
        assert (rows.root / "crops" / f"{found.source_id}.png").exists()
    one = read_manifest(face_manifest(rows.root / "one", {"train": 1}))
    with pytest.raises(OptionError, match="cross needs faces of two people"):
        Blender(one, relative_landmarks(one), ("cross",))


def test_a_face_whose_name_is_unknown_is_not_taken_for_anothers(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    table = pq.read_table(face_manifest(folder, {"train": 5}))
    names = pa.array(["a", "", None, "b", "a"], pa.string())
    table = table.set_column(table.column_names.index("target_id"), "target_id", names)
    pq.write_table(table, folder / "manifest.parquet")
    rows = read_manifest(folder)
    shares = relative_landmarks(rows)
    assert Blender(rows, shares, ("sbi",)).rows.tolist() == [0, 1, 2, 3, 4]
    blender = Blender(rows, shares, ("cross",))
    assert blender.rows.tolist() == [0, 3, 4]
    image = smooth_picture(0)
    for row, other in ((0, "b"), (4, "b"), (3, "a")):
        forgery = blender.make(row, image, np.random.default_rng(row))
        assert forgery is not None
        assert forgery.source_id == other


def test_a_face_seen_edge_on_is_told_and_left_out(rows: Manifest) -> None:
    shares = relative_landmarks(rows)
    shares[1, :, 0] = 0.5 + 0.02 * np.arange(5)  # known, and too narrow to be blended
    crops = CropDataset(rows, PREPROCESSING, geometry=GEOMETRY)
    blender = Blender(rows, shares, ("sbi",))
    assert 1 in blender.rows
    (item,) = BlendedCrops(crops, blender)[(~1, 0)]
    assert item.image is None


def test_reals_and_their_blends_to_look_at(rows: Manifest) -> None:
    dataset = RealsAndBlends(blended(rows), np.array([1, 4]))
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    items = [dataset[number] for number in range(4)]
    assert [(len(item), item[0].label, item[0].row) for item in items] == [
        (1, 0, 1),
        (1, 0, 4),
        (1, 1, 1),
        (1, 1, 4),
    ]


def sampler(share: float, *, batch_size: int = 4, rows: tuple[int, ...] = (0, 1, 2)) -> BlendedBatchSampler:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    people = np.array(["a", "b", "c", "d"] * 2)
    return BlendedBatchSampler(np.array(rows), labels, people, batch_size=batch_size, fraction=share, seed=3)


def test_with_blends_alone_an_epoch_shows_each_real_once() -> None:
    batches = list(sampler(1.0))
    assert [len(batch) for batch in batches] == [2, 1]
    assert sorted(~code for batch in batches for code in batch) == [0, 1, 2]
    assert len(sampler(1.0)) == 2


def test_part_of_the_pairs_have_stored_fakes() -> None:
    order = sampler(0.5)
    seen: list[tuple[int, ...]] = []
    for epoch in range(40):
        order.set_epoch(epoch)
        for batch in order:
            codes = iter(batch)
            seen += [(code,) if code < 0 else (code, next(codes)) for code in codes]
    blends = [~pair[0] for pair in seen if len(pair) == 1]
    stored = [pair for pair in seen if len(pair) == 2]
    assert len(seen) == 160
    assert set(blends) == {0, 1, 2}  # row 3 has no landmarks
    assert 0.4 < len(blends) / 120 < 0.6
    assert all(abs(first - second) == 4 for first, second in stored)  # of one person
    assert list(sampler(0.5)) == list(sampler(0.5))


def test_an_epochs_batches_carry_seeds() -> None:
    batches = EpochBatches(sampler(1.0), seed=1)
    batches.start(2)
    (first, _) = batches
    assert all(code < 0 <= seed for code, seed in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "forgery_share: is 0.0; must be above 0"),
        ({"share": 1.0, "batch_size": 3}, "is 3, but pairs need an even one"),
        ({"share": 1.0, "rows": ()}, "contains no real crop with a face in it"),
    ],
)
def test_samplers_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        sampler(**options)  # type: ignore[arg-type]
