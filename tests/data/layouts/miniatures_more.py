"""Small copies of datasets as their owners ship them: right names, lists and JSON, little data.

Each function makes one tree below ``root`` and returns the folder a reader is pointed at. A video
is a copy of ``clip``, or an empty file without one: what is listed depends on names alone.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.layouts.deeperforensics import VERSIONS
from deepfake_detect.data.layouts.ffpp import FORGERY_METHODS, official_split_pairs

NUMBERED_METHODS = FORGERY_METHODS[:5]
ALL_PAIRS = tuple((first, second) for _, first, second in official_split_pairs())
# One pair of each part of the official split.
ONE_PAIR_EACH = (("071", "054"), ("720", "672"), ("953", "974"))
DFD_REALS = ("01__exit_phone_room", "02__exit_phone_room")
DFD_FAKES = ("01_02__exit_phone_room__YVGY8LOK", "02_01__exit_phone_room__0XUW13RW")


def place_video(path: Path, clip: Path | None) -> Path:
    """Put a video at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if clip is None:
        path.touch()
    else:
        shutil.copyfile(clip, path)
    return path


def place_pictures(folder: Path, names: Iterable[str]) -> Path:
    """Write small images, all different, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shade = sum(map(ord, str(folder / name))) % 256
        cv2.imwrite(str(folder / name), np.full((8, 8, 3), shade, np.uint8))
    return folder


def make_ffpp(
    root: Path,
    clip: Path | None = None,
    *,
    pairs: Sequence[tuple[str, str]] = ONE_PAIR_EACH,
    compressions: Sequence[str] = ("c23",),
    with_dfd: bool = False,
    with_masks: bool = False,
) -> Path:
    """The tree of the FaceForensics++ download script."""
    fakes = [name for a, b in pairs for name in (f"{a}_{b}", f"{b}_{a}")]
    names = {f"manipulated_sequences/{method}": fakes for method in NUMBERED_METHODS}
    names["original_sequences/youtube"] = [name for pair in pairs for name in pair]
    for (folder, stems), level in itertools.product(names.items(), compressions):
        for stem in stems:
            place_video(root / folder / level / "videos" / f"{stem}.mp4", clip)
    if with_dfd:
        for level in compressions:
            make_dfd(root, clip, compression=level)
    for method in FORGERY_METHODS if with_masks else ():
        for video in (root / "manipulated_sequences" / method).glob("c23/videos/*.mp4"):
            if method != "FaceShifter":
                place_video(root / "manipulated_sequences" / method / "masks" / "videos" / video.name, clip)
    return root


def write_splits(folder: Path, **pairs: Sequence[tuple[str, str]]) -> Path:
    """Write lists of pairs, as ``train.json`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in pairs.items():
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def make_ffpp_mirror(
    root: Path,
    clip: Path | None = None,
    *,
    pairs: Sequence[tuple[str, str]] = ONE_PAIR_EACH,
    dfd_names: Sequence[str] = DFD_FAKES,
) -> Path:
    """The Kaggle mirror of FaceForensics++ c23, with its list."""
    top = root / "FaceForensics++_C23"
    fakes = [name for a, b in pairs for name in (f"{a}_{b}", f"{b}_{a}")]
    names: dict[str, Sequence[str]] = {"DeepFakeDetection": dfd_names}
    names |= dict.fromkeys(NUMBERED_METHODS, fakes)
    names["original"] = [name for pair in pairs for name in pair]
    rows = []
    for folder, stems in names.items():
        for stem in stems:
            place_video(top / folder / f"{stem}.mp4", clip)
            rows.append([f"{folder}/{stem}.mp4", "REAL" if folder == "original" else "FAKE"])
    write_mirror_list(top, rows)
    return root


def write_mirror_list(top: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write the mirror's list of (file path, label)."""
    path = top / "csv" / "FF++_Metadata.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["", "File Path", "Label", "Frame Count", "Width", "Height", "Codec", "File Size(MB)"]
        )
        for number, row in enumerate(rows):
            writer.writerow([number, *row, 30, 96, 64, "h264", 0.01])
    return path


def make_dfd(
    root: Path,
    clip: Path | None = None,
    *,
    reals: Sequence[str] = DFD_REALS,
    fakes: Sequence[str] = DFD_FAKES,
    compression: str = "c23",
) -> Path:
    """DeepFakeDetection as the FaceForensics++ script downloads it."""
    for stem in reals:
        place_video(root / "original_sequences" / "actors" / compression / "videos" / f"{stem}.mp4", clip)
    for stem in fakes:
        folder = root / "manipulated_sequences" / "DeepFakeDetection" / compression / "videos"
        place_video(folder / f"{stem}.mp4", clip)
    return root


def make_dfd_mirror(
    root: Path,
    clip: Path | None = None,
    *,
    reals: Sequence[str] = DFD_REALS,
    fakes: Sequence[str] = DFD_FAKES,
) -> Path:
    """DeepFakeDetection as the Kaggle mirror has it, a folder once more inside."""
    for stem in reals:
        place_video(root / "DFD_original sequences" / f"{stem}.mp4", clip)
    for stem in fakes:
        folder = root / "DFD_manipulated_sequences" / "DFD_manipulated_sequences"
        place_video(folder / f"{stem}.mp4", clip)
    return root


def make_deeperforensics(
    root: Path,
    clip: Path | None = None,
    *,
    swaps: Sequence[str] = ("000_W101", "001_M004", "002_W136"),
    sizes: tuple[int, int, int] = (1, 1, 1),
    num_recordings: int = 6,
    num_extra: int = 1,
) -> Path:
    """DeeperForensics-1.0, unpacked; ``sizes`` are those of train, val and test."""
    for version, swap in itertools.product(VERSIONS, swaps):
        place_video(root / "manipulated_videos" / version / f"{swap}.mp4", clip)
    actors = list(dict.fromkeys(swap.partition("_")[2] for swap in swaps))
    lights = ("down", "left", "leftdown", "leftup", "right", "rightdown", "rightup", "uniform", "up")
    emotions = ("neutral", "happy", "surprise", "angry", "contempt", "sad", "disgust", "fear")
    cameras = ("down", "front", "left", "leftfront", "right", "rightfront", "up")
    shots = itertools.product(cameras, emotions, lights, actors)
    for camera, emotion, light, actor in itertools.islice(shots, num_recordings):
        folder = root / "source_videos" / actor / f"light_{light}" / emotion / f"camera_{camera}"
        place_video(folder / f"{actor}_light_{light}_{emotion}_camera_{camera}.mp4", clip)
    for camera, light, actor in itertools.islice(itertools.product(cameras, lights, actors), num_extra):
        folder = root / "source_videos" / actor / "BlendShape_extra" / f"light_{light}" / f"camera_{camera}"
        place_video(folder / f"{actor}_BlendShape_extra_light_{light}_camera_{camera}.mp4", clip)
    lists = root / "lists" / "splits"
    lists.mkdir(parents=True)
    rest = iter(swaps)
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        lines = (f"{swap}.mp4\n" for swap in itertools.islice(rest, size))
        (lists / f"{split}.txt").write_text("".join(lines))
    return root


def make_ffiw(
    root: Path,
    clip: Path | None = None,
    *,
    sizes: tuple[int, int, int] = (2, 1, 1),
    with_masks: bool = False,
) -> Path:
    """FFIW-10K's two archives, unpacked; ``sizes`` are those of train, val and test."""
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        release = root / ("FFIW10K-v1-release-test" if split == "test" else "FFIW10K-v1-release")
        for number, folder in itertools.product(range(size), ("source", "target")):
            place_video(release / folder / split / f"{split}_{number:08d}.mp4", clip)
        for number in range(size if with_masks else 0):
            place_video(release / "target_mask" / split / f"{split}_{number:08d}_mask.mp4", clip)
    return root


def make_wilddeepfake(root: Path, *, packed: bool = True, mode: str = "w") -> Path:
    """WildDeepfake: two shards of two sequences in each folder, packed or unpacked.

    Shards are plain tar with ``mode="w"``, as their owners have them, or gzipped with ``"w:gz"``.
    """
    top = root / "deepfake_in_the_wild"
    for folder in ("real_train", "real_test", "fake_train", "fake_test"):
        word = folder.partition("_")[0]
        for shard in ("0", "1"):
            inside = top / folder / shard
            for sequence in ("5", "12"):
                place_pictures(inside / word / sequence, ["2.png", "10.png"])
            if packed:
                pack(inside, mode=mode)
                shutil.rmtree(inside)
    return root


def pack(folder: Path, *, mode: str = "w") -> Path:
    """Pack a folder into a shard next to it; names begin with ``./`` as in the owners' shards."""
    path = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=f"./{folder.name}")
    return path


def make_df40(root: Path, clip: Path | None = None) -> Path:
    """Both releases of DF40, with one method of each kind; the e4e folder is as odd as the real one."""
    frames = ["000.png", "010.png"]
    test, train = root / "DF40", root / "DF40_train"
    place_pictures(test / "simswap" / "ff" / "frames" / "953_974", frames)
    (test / "simswap" / "ff" / "landmarks" / "953_974").mkdir(parents=True)
    place_pictures(test / "simswap" / "cdf" / "frames" / "id0_id1_0000", frames)
    place_pictures(test / "sd2.1" / "ff" / "953", ["seed1.png"])
    place_pictures(test / "sd2.1" / "cdf" / "Fake_from_Celeb-real" / "id2_0001", ["seed2.png"])
    place_pictures(test / "sd2.1" / "cdf" / "Fake_from_Youtube-real" / "00007", ["seed3.png"])
    place_pictures(test / "e4e" / "cdf" / "Celeb-real" / "inversions", ["00001.jpg", "00002.jpg"])
    place_pictures(test / "stargan" / "fake" / "fake", ["000001.png", "000002.png"])
    place_pictures(test / "stargan" / "real" / "real", ["000001.png"])
    place_pictures(test / "heygen" / "heygen_new" / "fake" / "frames" / "a", frames)
    place_pictures(test / "heygen" / "heygen_new" / "real" / "b", frames)
    place_video(test / "fomm" / "cdf" / "id3_id4_0000.mp4", clip)
    place_pictures(train / "simswap" / "frames" / "071_054", frames)
    place_pictures(train / "simswap" / "frames" / "953_974", frames)
    place_pictures(train / "inswap" / "frames" / "071_953", frames)
    return root
