from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from deepfake_detect.data.crops import (
    CropDataset,
    EpochBatches,
    PairedBatchSampler,
    ShuffledBatchSampler,
    collate_readable,
    crop_fraction,
    read_crop,
)
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.transforms import (
    AUGMENTATIONS,
    TrainingAugmentation,
    center_crop,
    crop_to_tensor,
    crops_to_tensor,
    resize_square,
)
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry, Preprocessing
from tests.data.trees import crop_manifest, textured_crops

PREP = Preprocessing(image_size=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


def test_a_crop_becomes_a_normalized_tensor(tmp_path: Path) -> None:
    crops = textured_crops(1, "train")
    manifest = read_manifest(crop_manifest(tmp_path / "m", crops))
    item = CropDataset(manifest, PREP, geometry=CropGeometry())[1]
    assert (item.label, item.row) == (1, 1)
    assert item.image is not None
    expected = (crops[1][3] / 255.0 - np.array(PREP.mean)) / np.array(PREP.std)
    np.testing.assert_allclose(item.image.numpy(), expected.transpose(2, 0, 1), atol=1e-5)


def test_preprocessing_does_not_depend_on_who_asks(portrait: np.ndarray) -> None:
    """Training without augmentation, evaluation and scoring see one and the same tensor."""
    prep = Preprocessing(96, (0.5,) * 3, (0.5,) * 3)
    resized = TrainingAugmentation("none", 96)(portrait)
    assert torch.equal(crop_to_tensor(resized, prep), crop_to_tensor(portrait, prep))


@pytest.mark.parametrize("size", [40, 96, 200])
def test_a_batch_of_crops_is_that_of_single_ones_bit_for_bit(size: int, portrait: np.ndarray) -> None:
    crops = [portrait, cv2.resize(portrait, (size, 80))]
    alone = torch.stack([crop_to_tensor(crop, PREP) for crop in crops])
    assert torch.equal(crops_to_tensor(crops, PREP), alone)


@pytest.mark.parametrize("size", [40, 96, 200])
def test_training_resizes_as_scoring_does(size: int, portrait: np.ndarray) -> None:
    crop = cv2.resize(portrait, (size, size))
    np.testing.assert_array_equal(TrainingAugmentation("none", 96)(crop), resize_square(crop, 96))


def test_an_unreadable_crop_is_left_out_and_named_never_replaced(tmp_path: Path) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(2, "train")))
    (tmp_path / "m" / "crops" / "train1.png").write_bytes(b"no picture")
    dataset = CropDataset(manifest, PREP, geometry=CropGeometry())
    batch = collate_readable([dataset[row] for row in range(4)])
    assert batch.rows.tolist() == [0, 1, 3]
    assert batch.unreadable_rows.tolist() == [2]
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.labels.tolist() == [0, 1, 1]
    empty = collate_readable([dataset[2]])
    assert (len(empty.images), len(empty.rows), empty.unreadable_rows.tolist()) == (0, 0, [2])
    with pytest.raises(ManifestError, match="train1.png: the crop is not a readable image"):
        read_crop(tmp_path / "m" / "crops" / "train1.png")


def test_wider_crops_are_narrowed_and_narrower_ones_rejected() -> None:
    assert crop_fraction(CropGeometry(1.3), CropGeometry(1.3)) == 1
    assert crop_fraction(CropGeometry(2.0), CropGeometry(1.0)) == 0.5
    with pytest.raises(OptionError, match="margin=1.0.*needs.*margin=1.3"):
        crop_fraction(CropGeometry(1.0), CropGeometry(1.3))
    with pytest.raises(OptionError, match="aligned=True"):
        crop_fraction(CropGeometry(1.3, aligned=True), CropGeometry(1.3))


def test_a_detector_scores_narrower_crops_whole_if_it_was_trained_on_them() -> None:
    wanted = CropGeometry(1.1, narrowest=0.7)
    assert [crop_fraction(CropGeometry(margin), wanted) for margin in (0.7, 0.85, 1.1)] == [1, 1, 1]
    assert crop_fraction(CropGeometry(2.2), wanted) == 0.5
    with pytest.raises(OptionError, match="margin=0.6.*needs.*narrowest=0.7"):
        crop_fraction(CropGeometry(0.6), wanted)


def test_the_dataset_narrows(tmp_path: Path) -> None:
    crops = textured_crops(1, "train", size=128)
    manifest = read_manifest(crop_manifest(tmp_path / "m", crops, geometry=CropGeometry(2.0)))
    item = CropDataset(manifest, PREP, geometry=CropGeometry(1.0))[0]
    assert item.image is not None
    expected = crop_to_tensor(center_crop(crops[0][3], 0.5), PREP)
    assert torch.equal(item.image, expected)


def test_paired_batches_put_a_fake_next_to_its_own_real() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])
    targets = np.array(["a", "b", "c", "a", "b", "c", "a", "b", "c"], dtype=object)
    sampler = PairedBatchSampler(labels, targets, batch_size=4, seed=0)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert len(sampler) == 3
    for batch in batches:
        for first, second in zip(batch[::2], batch[1::2], strict=True):
            assert {labels[first], labels[second]} == {0, 1}
            assert targets[first] == targets[second]
    shown = Counter(row for batch in batches for row in batch)
    assert all(shown[row] == 1 for row in range(3, 9))  # every fake once


def test_more_reals_than_fakes_shows_every_real_once() -> None:
    labels = np.array([0] * 7 + [1] * 2)
    targets = np.array([str(n) for n in range(9)])
    sampler = PairedBatchSampler(labels, targets, batch_size=4, seed=0)
    rows = [row for batch in sampler for row in batch]
    assert sorted(row for row in rows if row < 7) == list(range(7))
    assert sum(row >= 7 for row in rows) == 7


def test_the_order_follows_seed_and_epoch_only() -> None:
    labels, targets = np.array([0, 1] * 20), np.array([str(n // 2) for n in range(40)])

    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = PairedBatchSampler(labels, targets, batch_size=8, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_unknown_identities_are_no_common_identity() -> None:
    labels = np.array([0] * 50 + [1] * 50)
    targets = np.array([None] * 100, dtype=object)
    targets[[0, 50]] = "known"
    sampler = PairedBatchSampler(labels, targets, batch_size=2, seed=0)
    partners = dict(sampler.epoch_pairs().tolist())
    assert partners[50] == 0
    assert sum(real == 0 for real in partners.values()) < 10
    assert len(set(partners.values())) > 20


def test_every_partner_has_its_turn() -> None:
    labels, targets = np.array([0] * 6 + [1] * 60), np.array(["a", "a", "a", "b", "b", "b"] + ["a", "b"] * 30)
    sampler = PairedBatchSampler(labels, targets, batch_size=4, seed=3)
    seen: dict[str, set[int]] = {"a": set(), "b": set()}
    for fake, real in sampler.epoch_pairs().tolist():
        assert targets[fake] == targets[real]
        seen[targets[fake]].add(real)
    assert seen == {"a": {0, 1, 2}, "b": {3, 4, 5}}


def test_a_column_in_pieces_gives_the_order_of_the_whole() -> None:
    labels, targets = np.array([0, 1] * 20), np.array([str(n // 4) for n in range(40)])
    pieces = pa.chunked_array([targets[:7], targets[7:31], targets[31:]])
    whole = PairedBatchSampler(labels, targets, batch_size=8, seed=1).epoch_pairs()
    np.testing.assert_array_equal(
        whole, PairedBatchSampler(labels, pieces, batch_size=8, seed=1).epoch_pairs()
    )


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_divide_one_epoch_whatever_the_workers(
    num_ranks: int, num_workers: int, tmp_path: Path
) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(12, "train", size=16)))
    dataset = CropDataset(manifest, PREP, geometry=CropGeometry())

    def sampler() -> PairedBatchSampler:
        return PairedBatchSampler(
            manifest.column("label"), manifest.column("target_id"), batch_size=4, seed=5
        )

    def rows(rank: int, num_processes: int) -> list[list[int]]:
        loader = DataLoader(
            dataset,
            batch_sampler=EpochBatches(sampler(), seed=0, rank=rank, num_processes=num_processes),  # type: ignore[arg-type]
            num_workers=num_workers,
            collate_fn=collate_readable,
        )
        return [batch.rows.tolist() for batch in loader]

    whole = rows(0, 1)
    assert whole == list(sampler())
    shares = [rows(rank, num_ranks) for rank in range(num_ranks)]
    assert [batch for step in zip(*shares, strict=True) for batch in step] == whole


@pytest.mark.parametrize("batch_size", [0, 1, 7])
def test_a_batch_that_cannot_hold_pairs_is_rejected(batch_size: int) -> None:
    with pytest.raises(OptionError, match=f"batch_size: {batch_size} cannot hold pairs"):
        PairedBatchSampler(np.array([0, 1]), np.array(["a", "a"]), batch_size=batch_size, seed=0)


def test_one_class_alone_is_rejected() -> None:
    with pytest.raises(OptionError, match="contains 2 real and 0 fake crops"):
        PairedBatchSampler(np.array([0, 0]), np.array(["a", "b"]), batch_size=2, seed=0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_gives_the_input_size_and_follows_its_seed(name: str, portrait: np.ndarray) -> None:
    augment = TrainingAugmentation(name, 80)  # type: ignore[arg-type]
    augment.reseed(5)
    first = [augment(portrait) for _ in range(4)]
    augment.reseed(5)
    again = [augment(portrait) for _ in range(4)]
    for one, other in zip(first, again, strict=True):
        assert one.shape == (80, 80, 3)
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)
    differs = any((first[0] != other).any() for other in first[1:])
    assert differs == (name != "none")


def test_steps_draw_apart() -> None:
    """Were all seeded alike, what is mirrored would always be what is compressed."""
    augment = TrainingAugmentation("light", 8)
    flip, _, compression = augment._pipeline.transforms
    both = np.array(
        [(augment.reseed(n), flip.py_random.random(), compression.py_random.random())[1:] for n in range(300)]
    )
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.2
    assert abs(both.mean() - 0.5) < 0.05
    nested = TrainingAugmentation("dfdc", 8)
    nested.reseed(1)
    inner = [
        step.py_random.random()
        for one in nested._pipeline.transforms
        for step in getattr(one, "transforms", ())
    ]
    assert len(set(inner)) == len(inner) > 2


def test_an_unknown_augmentation_is_rejected() -> None:
    with pytest.raises(OptionError, match="'wild' is unknown; must be one of none, light, strong"):
        TrainingAugmentation("wild", 80)


@pytest.mark.parametrize("is_balanced", [True, False])
def test_shuffled_batches_hold_every_row(is_balanced: bool) -> None:
    labels = np.array([0] * 10 + [1] * 35)
    sampler = ShuffledBatchSampler(labels, batch_size=8, seed=1, is_balanced=is_balanced)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    drawn = np.bincount([row for batch in batches for row in batch], minlength=45)
    if is_balanced:
        assert drawn[labels == 1].tolist() == [1] * 35
        assert set(drawn[labels == 0]) == {3, 4}
    else:
        assert drawn.tolist() == [1] * 45
    assert batches == list(sampler)
    sampler.set_epoch(1)
    assert batches != list(sampler)


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_an_epochs_batches_are_shared_out_and_can_be_begun_anywhere(num_processes: int) -> None:
    labels = np.array([0, 1] * 20)

    def order(rank: int = 0, of: int = 1) -> EpochBatches:
        sampler = ShuffledBatchSampler(labels, batch_size=4, seed=3, is_balanced=False)
        return EpochBatches(sampler, seed=5, rank=rank, num_processes=of)

    whole = order()
    whole.start(2)
    everything = list(whole)
    assert len(everything) == 10
    seeds = [seed for batch in everything for _, seed in batch]
    assert len(set(seeds)) == len(seeds)
    shares = [order(rank, num_processes) for rank in range(num_processes)]
    for share in shares:
        share.start(2)
    taken = [batch for step in zip(*map(list, shares), strict=True) for batch in step]
    assert taken[:10] == everything
    again = taken[10:]  # the first batches come again, so that all take as many steps
    assert [[row for row, _ in batch] for batch in again] == [
        [row for row, _ in batch] for batch in everything[: len(again)]
    ]
    for first in range(shares[0].num_batches + 1):
        shares[0].start(2, first=first)
        assert list(shares[0]) == taken[::num_processes][first:]
        assert len(shares[0]) == shares[0].num_batches - first
    whole.start(3)
    assert list(whole) != everything


def test_a_seeded_draw_does_not_depend_on_what_was_read_before(tmp_path: Path) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(4, "train", size=64)))

    def item(*draws: tuple[int, int]) -> torch.Tensor:
        augment = TrainingAugmentation("strong", PREP.image_size)
        dataset = CropDataset(manifest, PREP, geometry=CropGeometry(), augment=augment)
        images = [dataset[draw].image for draw in draws]
        assert images[-1] is not None
        return images[-1]

    assert torch.equal(item((3, 9)), item((0, 1), (1, 2), (3, 9)))
    assert not torch.equal(item((3, 9)), item((3, 10)))


BOX = CropGeometry(1.25, shape="box", border="cut")
ARCFACE = CropGeometry(1.3, aligned=True, template="arcface", border="black", side=224)


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (CropGeometry(2.0), BOX),
        (BOX, CropGeometry(1.25)),
        (CropGeometry(1.3, aligned=True), ARCFACE),
        (CropGeometry(1.5, shape="box", border="cut"), BOX),  # its middle is not the narrower crop
        (CropGeometry(1.6, aligned=True, template="arcface", border="black", side=224), ARCFACE),
    ],
)
def test_crops_of_another_shape_are_no_crops_of_this_one(stored: CropGeometry, wanted: CropGeometry) -> None:
    with pytest.raises(
        OptionError, match="the detector needs CropGeometry.*; extract again with `crops_for`"
    ):
        crop_fraction(stored, wanted)
    assert crop_fraction(wanted, wanted) == 1


def test_other_interpolations_are_used_where_a_crop_shrinks_too() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    found = {
        name: crop_to_tensor(crop, Preprocessing(64, (0, 0, 0), (1, 1, 1), name))  # type: ignore[arg-type]
        for name in ("area", "linear", "cubic", "nearest")
    }
    wanted = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    np.testing.assert_allclose(found["cubic"].numpy() * 255, wanted, atol=1e-3)
    assert len({tensor.sum().item() for tensor in found.values()}) >= 3
    assert set(Preprocessing(64, (0, 0, 0), (1, 1, 1)).to_dict()) == {"image_size", "mean", "std"}
