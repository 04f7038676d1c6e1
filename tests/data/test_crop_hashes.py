"""Fingerprints of crops: what is found again, what raises no alarm, and what is read only once."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detect.data import crop_hashes, fingerprints
from deepfake_detect.data.crop_hashes import CACHE_NAME, hash_crops
from deepfake_detect.data.fingerprints import (
    MAX_DISTANCE,
    MIN_LIKENESS,
    fingerprint,
    is_flat,
    likeness,
    near_duplicates,
    perceptual_hash,
)
from deepfake_detect.errors import OptionError, OutputError


def png(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def jpeg(image: np.ndarray, quality: int = 50) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def moved(image: np.ndarray, right: int, down: int) -> np.ndarray:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def brighter(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


AGAIN: dict[str, Callable[[np.ndarray], bytes]] = {
    "JPEG 50": jpeg,
    "resized to 0.8": lambda image: png(cv2.resize(image, None, fx=0.8, fy=0.8)),
    "moved along both axes": lambda image: png(moved(image, 2, 2)),
    "moved the other way": lambda image: png(moved(image, -2, 2)),
    "brighter": lambda image: png(brighter(image, 1.1)),
    "darker": lambda image: png(brighter(image, 0.9)),
}


def prints(*stored: bytes) -> np.ndarray:
    found = [fingerprint(data) for data in stored]
    assert all(one is not None for one in found)
    return np.stack(found)  # type: ignore[arg-type]


def noise(count: int, *, seed: int = 0, side: int = 64) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [png(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.mark.parametrize("change", AGAIN)
def test_a_photograph_is_found_again(change: str, portrait: np.ndarray) -> None:
    crop = np.ascontiguousarray(portrait[0:224, 110:334])
    found = near_duplicates(prints(png(crop)), prints(*noise(3), AGAIN[change](crop)))
    assert found.first_hit.tolist() == [True]
    assert found.second_hit.tolist() == [False, False, False, True]
    assert found.pairs.tolist() == [[0, 3]]
    assert found.distances[0] <= MAX_DISTANCE
    assert found.likenesses[0] >= MIN_LIKENESS


def test_real_crops_are_found_again_and_other_people_are_not(real_data: Callable[[str], Path]) -> None:
    stored, names = [], []
    with tarfile.open(real_data("dfdc_faces/val-000.tar")) as archive:
        for member in archive:
            if member.isfile() and len(stored) < 300:
                names.append(member.name)
                stored.append(archive.extractfile(member).read())  # type: ignore[union-attr]
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in stored]
    before = prints(*stored)
    for change, again in AGAIN.items():
        after = prints(*(again(image) for image in images))
        bits = np.unpackbits(before["phash"] ^ after["phash"], axis=1).sum(axis=1)
        alike = likeness(before["thumbnail"], after["thumbnail"])
        assert ((bits <= MAX_DISTANCE) & (alike >= MIN_LIKENESS)).mean() > 0.99, change


def test_different_noise_raises_no_alarm() -> None:
    found = near_duplicates(prints(*noise(150)), prints(*noise(150, seed=1)))
    assert not found.first_hit.any()
    assert not found.second_hit.any()
    assert found.pairs.shape == (0, 2)


def test_a_near_hash_alone_raises_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    # Images with one phash, but different thumbnails, which must distinguish them.
    ours, theirs = prints(*noise(1)), prints(*noise(1, seed=1))
    theirs["phash"] = ours["phash"]
    assert not near_duplicates(ours, theirs).first_hit.any()
    monkeypatch.setattr(fingerprints, "MIN_LIKENESS", 0.0)
    assert near_duplicates(ours, theirs).first_hit.all()


def test_the_same_bytes_are_no_near_duplicate() -> None:
    ours = prints(*noise(2))
    assert not near_duplicates(ours, ours[1:]).first_hit.any()


def test_every_near_pair_is_found_by_all_block_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (np.zeros(count, fingerprints.FINGERPRINT) for count in (57, 43))
    thumbnail = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    for part in (ours, theirs):
        # Few bits vary, so that many pairs are near.
        part["phash"][:, :2] = rng.integers(0, 256, (len(part), 2), dtype=np.uint8)
        part["sha256"] = rng.integers(0, 256, (len(part), 32), dtype=np.uint8)
        part["thumbnail"] = thumbnail
    bits = [
        [bin(int.from_bytes(bytes(a ^ b), "big")).count("1") for b in theirs["phash"]] for a in ours["phash"]
    ]
    near = np.array(bits) <= 3
    assert 0 < near.any(axis=1).sum() < len(ours)
    assert 0 < near.any(axis=0).sum() < len(theirs)
    monkeypatch.setattr(fingerprints, "MAX_DISTANCE", 3)
    for pairs_per_block, confirmed_per_block in ((1, 1), (100, 7), (10**6, 4096)):
        monkeypatch.setattr(fingerprints, "_PAIRS_PER_BLOCK", pairs_per_block)
        monkeypatch.setattr(fingerprints, "_CONFIRMED_PER_BLOCK", confirmed_per_block)
        found = near_duplicates(ours, theirs)
        np.testing.assert_array_equal(found.first_hit, near.any(axis=1))
        np.testing.assert_array_equal(found.second_hit, near.any(axis=0))
        assert set(found.pairs[:, 0]) == set(np.flatnonzero(found.first_hit))
        assert set(found.pairs[:, 1]) == set(np.flatnonzero(found.second_hit))
        for (one, other), distance in zip(found.pairs, found.distances, strict=True):
            assert distance == bits[one][other]
    assert len(near_duplicates(ours, theirs, max_pairs=3).pairs) == 3


def test_the_hash_is_blind_to_brightness_and_contrast(portrait: np.ndarray) -> None:
    gray = cv2.resize(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(perceptual_hash(gray), perceptual_hash(gray // 2 + 60))
    upside_down = np.unpackbits(perceptual_hash(gray) ^ perceptual_hash(gray[::-1])).sum()
    assert upside_down > 20


def test_likeness_is_symmetric_and_finite() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16)).astype(np.uint8)
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    images[0], images[1], images[2] = ramp, ramp.T, 7  # gradients that say nothing, and nothing
    first, second = np.repeat(images, 40, axis=0), np.tile(images, (40, 1, 1))
    values = likeness(first, second)
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1
    square = values.reshape(40, 40)
    np.testing.assert_allclose(square, square.T, atol=1e-5)
    np.testing.assert_allclose(np.diag(square)[[0, 1, *range(3, 40)]], 1, atol=1e-3)


def test_flat_crops_are_not_compared_by_looks() -> None:
    gray = np.full((64, 64, 3), 90, np.uint8)
    ours, theirs = prints(png(gray), *noise(1)), prints(png(gray + 1))
    assert is_flat(ours).tolist() == [True, False]
    assert not near_duplicates(ours, theirs).first_hit.any()
    # One image, of which one copy has enough contrast and the other has not.
    coarse = np.random.default_rng(0).integers(-1, 2, (8, 8, 1)).repeat(8, axis=0).repeat(8, axis=1)
    plain, faint = (prints(png((100 + height * coarse).astype(np.uint8))) for height in (8, 3))
    assert (is_flat(plain).tolist(), is_flat(faint).tolist()) == ([False], [True])
    assert likeness(plain["thumbnail"], faint["thumbnail"])[0] > MIN_LIKENESS
    for pair in ((plain, faint), (faint, plain)):
        assert not near_duplicates(*pair).first_hit.any()


@pytest.fixture
def crops(tmp_path: Path) -> list[str]:
    """Seven crops in a folder, the last of them within a tar shard."""
    stored = noise(7)
    names = [f"{number}.png" for number in range(6)]
    for name, data in zip(names, stored, strict=False):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "6.png").write_bytes(stored[6])
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(tmp_path / "6.png", arcname="a/6.png")
    (tmp_path / "6.png").unlink()
    return [*names, "shard.tar/a/6.png"]


def hashes_of(root: Path, names: list[str], **options: object) -> crop_hashes.HashedCrops:
    return hash_crops(root, names, cache=root / CACHE_NAME, num_workers=2, show_progress=False, **options)  # type: ignore[arg-type]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    seen: list[str] = []
    read = crop_hashes.read_stored_bytes

    def remember(path: Path) -> bytes:
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(crop_hashes, "read_stored_bytes", remember)
    return seen


def test_fingerprints_are_kept_and_made_again_for_what_changed(
    tmp_path: Path, crops: list[str], reads: list[str]
) -> None:
    first = hashes_of(tmp_path, crops)
    assert sorted(reads) == [f"{number}.png" for number in range(7)]
    np.testing.assert_array_equal(first.fingerprints, prints(*noise(7)))
    reads.clear()
    again = hashes_of(tmp_path, crops[::-1])
    assert reads == []
    np.testing.assert_array_equal(again.fingerprints, first.fingerprints[::-1])
    (tmp_path / "2.png").write_bytes(noise(1, seed=9, side=63)[0])
    (tmp_path / "new.png").write_bytes(noise(1, seed=8)[0])
    changed = hashes_of(tmp_path, ["new.png", *crops[1:4]])
    assert sorted(reads) == ["2.png", "new.png"]
    np.testing.assert_array_equal(changed.fingerprints[2], prints(noise(1, seed=9, side=63)[0])[0])
    reads.clear()
    hashes_of(tmp_path, [*crops, "new.png"])  # those not asked for the last time are still known
    assert reads == []


def test_a_changed_shard_is_read_again(tmp_path: Path, crops: list[str], reads: list[str]) -> None:
    hashes_of(tmp_path, crops)
    reads.clear()
    shutil.copyfile(tmp_path / "0.png", tmp_path / "6.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(tmp_path / "0.png", arcname="b/0.png")
        archive.add(tmp_path / "6.png", arcname="a/6.png")
    found = hashes_of(tmp_path, crops)
    assert reads == ["6.png"]
    np.testing.assert_array_equal(found.fingerprints[0], found.fingerprints[6])


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, crops: list[str], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_hashes, "_BLOCK", 2)
    monkeypatch.setattr(crop_hashes, "_SAVE_AFTER", 2)
    read = crop_hashes.read_stored_bytes

    def stop(path: Path) -> bytes:
        if path.name == "5.png":
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(crop_hashes, "read_stored_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            hashes_of(tmp_path, crops)
    reads.clear()
    found = hashes_of(tmp_path, crops)
    assert sorted(reads) == ["4.png", "5.png", "6.png"]
    assert found.is_readable.all()


def test_what_cannot_be_read_is_marked_and_tried_again(tmp_path: Path, crops: list[str]) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    names = [*crops, "empty.png", "text.png", "absent.png", "shard.tar/absent.png"]
    found = hashes_of(tmp_path, names)
    assert found.is_readable.tolist() == [True] * 7 + [False] * 4
    assert not found.fingerprints[7:]["sha256"].any()
    (tmp_path / "text.png").write_bytes(noise(1)[0])
    assert hashes_of(tmp_path, names).is_readable.tolist() == [True] * 7 + [False, True, False, False]


@pytest.mark.parametrize("content", [b"PAR1 but no more", b""])
def test_a_damaged_cache_is_made_again_and_noted(tmp_path: Path, crops: list[str], content: bytes) -> None:
    (tmp_path / CACHE_NAME).write_bytes(content)
    (note,) = hashes_of(tmp_path, crops).notes
    assert "crop_hashes.parquet cannot be read and is written again" in note
    assert hashes_of(tmp_path, crops).notes == ()


def test_fingerprints_of_another_kind_are_not_believed(
    tmp_path: Path, crops: list[str], reads: list[str]
) -> None:
    hashes_of(tmp_path, crops)
    table = pq.read_table(tmp_path / CACHE_NAME)
    pq.write_table(
        table.replace_schema_metadata({b"deepfake_detect.crop_hashes": b"0"}), tmp_path / CACHE_NAME
    )
    reads.clear()
    hashes_of(tmp_path, crops)
    assert len(reads) == 7
    pq.write_table(pa.table({"path": ["0.png"]}), tmp_path / CACHE_NAME)  # a file of another program
    assert hashes_of(tmp_path, crops).is_readable.all()


def test_a_folder_that_cannot_be_written_costs_the_cache_only(
    tmp_path: Path, crops: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OutputError(path, "may not be written to by this user", "choose another")

    monkeypatch.setattr(crop_hashes, "atomic_path", refuse)
    monkeypatch.setattr(crop_hashes, "_BLOCK", 2)
    monkeypatch.setattr(crop_hashes, "_SAVE_AFTER", 2)
    found = hashes_of(tmp_path, crops)
    assert found.is_readable.all()
    assert found.notes == (
        "the fingerprints of the crops are not stored (may not be written to by this user)",
    )


def test_nothing_is_kept_where_no_cache_is_named(tmp_path: Path, crops: list[str]) -> None:
    assert hash_crops(tmp_path, crops, show_progress=False).is_readable.all()
    assert not (tmp_path / CACHE_NAME).exists()
    assert len(hash_crops(tmp_path, [], show_progress=False).fingerprints) == 0


def test_no_thread_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="num_workers: is 0; must be 1 or more"):
        hash_crops(tmp_path, [], num_workers=0)
