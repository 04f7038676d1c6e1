"""Small copies of datasets as their owners ship them: right names, lists and JSON, little data.

Each ``make_<kind>`` makes one tree below ``root`` and returns what a reader is pointed at. A video is
a link to ``clip``, or an empty file without one: what is listed depends on names alone. With
``is_full`` a tree has as many names as its owners publish.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect.data.layouts.base import VideoListing
from deepfake_detect.data.layouts.celebdf import LIST_NAME, SCENARIOS
from deepfake_detect.records import FAKE, REAL
from tests.media import write_clip


def tiny_clip(folder: Path) -> Path:
    """Encode the clip that miniatures are made of: three frames of 96 x 64."""
    return write_clip(folder / "tiny.mp4", num_frames=3)


def place_video(path: Path, clip: Path | None = None) -> Path:
    """Put a video at a path, where nothing may be yet."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    if clip is None:
        path.touch(exist_ok=False)
    else:
        os.link(clip, path)
    return path


def place_videos(folder: Path, names: Iterable[str], clip: Path | None = None) -> list[Path]:
    """Put videos of these names, without suffix, into a folder."""
    return [place_video(folder / f"{name}.mp4", clip) for name in names]


def place_images(folder: Path, names: Iterable[str]) -> Path:
    """Write small images, all different, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for shade, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((8, 8, 3), shade, np.uint8))
    return folder


def assert_sound(listing: VideoListing) -> None:
    """Check what holds for every listing, whatever was read."""
    rows = [*listing.videos, *listing.missing]
    assert len({video.video_id for video in rows}) == len(rows)
    assert list(listing.videos) == sorted(
        listing.videos, key=lambda v: (v.label == FAKE, v.method, v.video_id)
    )
    assert all(video.path.exists() for video in listing.videos)
    assert not any(video.path.exists() for video in listing.missing)
    for video in rows:
        assert video.video_id.startswith(f"{video.dataset}/")
        assert video.label in (REAL, FAKE)
        assert video.split in ("train", "val", "test", None)
        assert video.label == FAKE or video.source_id is None
    for found, expected in listing.counts().values():
        assert expected is None or found <= expected


def people(number: int) -> Iterator[tuple[str, str]]:
    """Yield ordered pairs of different people, id0 to id<number - 1>."""
    yield from itertools.permutations([f"id{n}" for n in range(number)], 2)


def make_celebdf_v2(root: Path, clip: Path | None = None, *, is_full: bool = False) -> Path:
    """Celeb-DF v2: 590 + 300 reals and 5,639 fakes in full, of which 108 + 70 + 340 are listed."""
    names = _celeb_names(59, 10, 300, 5639) if is_full else _celeb_names(3, 2, 3, 6)
    return _make_celeb(root / "Celeb-DF-v2", clip, names, (108, 70, 340) if is_full else (2, 1, 2))


def make_celebdf_v1(root: Path, clip: Path | None = None, *, is_full: bool = False) -> Path:
    """Celeb-DF v1: 158 + 250 reals and 795 fakes in full, 38 reals and 62 fakes of them listed."""
    names = _celeb_names(13, 13, 250, 795) if is_full else _celeb_names(3, 2, 3, 6)
    names["Celeb-real"] = names["Celeb-real"][:158]
    return _make_celeb(root / "Celeb-DF-v1", clip, names, (8, 30, 62) if is_full else (2, 1, 2))


def _celeb_names(
    num_people: int, num_recordings: int, num_youtube: int, num_fakes: int
) -> dict[str, list[str]]:
    recordings = [f"{n:04d}" for n in range(num_recordings)]
    fakes = (f"{a}_{b}_{n}" for n in recordings for a, b in people(num_people))
    return {
        "Celeb-real": [f"id{person}_{n}" for person in range(num_people) for n in recordings],
        "YouTube-real": [f"{n:05d}" for n in range(num_youtube)],
        "Celeb-synthesis": list(itertools.islice(fakes, num_fakes)),
    }


def _make_celeb(
    root: Path, clip: Path | None, names: dict[str, list[str]], num_listed: tuple[int, ...]
) -> Path:
    lines = []
    for (folder, stems), num in zip(names.items(), num_listed, strict=True):
        place_videos(root / folder, stems, clip)
        # In the owners' lists 1 is real.
        lines += [f"{0 if 'synthesis' in folder else 1} {folder}/{stem}.mp4" for stem in stems[-num:]]
    write_list(root, lines)
    return root


def write_list(root: Path, lines: Iterable[str]) -> Path:
    """Write a Celeb-DF list of testing videos."""
    (root / LIST_NAME).write_text("".join(f"{line}\n" for line in lines))
    return root / LIST_NAME


def make_celebdf_pp(root: Path, clip: Path | None = None) -> Path:
    """Celeb-DF++ with every method: two fakes each, one of them listed; the reals are those of v2."""
    top = root / "Celeb-DF-PP"
    reals = {"Celeb-real": ["id0_0000", "id1_0000"], "YouTube-real": ["00000", "00001"]}
    lines = []
    for folder, stems in reals.items():
        place_videos(top / folder, stems, clip)
        lines.append(f"1 {folder}/{stems[0]}.mp4")
    for scenario, methods in SCENARIOS.items():
        stems = ["id0_id1_0000", "id1_id0_0000"]
        if scenario == "TalkingFace":
            stems = ["id0_0000_test_id00017_wav", "id1_0000_test_id00018_wav"]
        for method in methods:
            if method == "Celeb-DF-v2":
                continue  # the later name of Celeb-DF
            place_videos(top / "Celeb-synthesis" / scenario / method, stems, clip)
            lines.append(f"0 Celeb-synthesis/{scenario}/{method}/{stems[0]}.mp4")
    write_list(top, lines)
    return top


def dfdc_names(num: int, *, start: int = 0) -> list[str]:
    """Return names as the challenge's videos have them: ten letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        "".join(letters[n // 26**place % 26] for place in reversed(range(10)))
        for n in range(start, start + num)
    ]


def make_dfdc(
    root: Path,
    clip: Path | None = None,
    *,
    num_parts: int = 2,
    num_originals: int = 2,
    fakes_each: int = 2,
    num_listed: int = 4,
) -> Path:
    """Parts of DFDC with ``num_originals`` reals each, and validation and test as the owners ship them."""
    top = root / "DFDC"
    size = num_originals * (1 + fakes_each)
    for number in range(num_parts):
        make_dfdc_part(
            top / f"dfdc_train_part_{number}", clip, dfdc_names(size, start=number * size), fakes_each
        )
    held_out = dfdc_names(2 * num_listed, start=num_parts * size)
    validation, test = held_out[:num_listed], held_out[num_listed:]
    place_videos(top / "validation", validation, clip)
    lines = [f"{name}.mp4,{number % 2}\n" for number, name in enumerate(validation)]
    (top / "validation" / "labels.csv").write_text("filename,label\n" + "".join(lines))
    place_videos(top / "test", test, clip)
    write_json(
        top / "test" / "metadata.json",
        {f"{name}.mp4": {"is_fake": number % 2, "augmentations": {}} for number, name in enumerate(test)},
    )
    return top


def make_dfdc_part(folder: Path, clip: Path | None, names: list[str], fakes_each: int) -> Path:
    """One part of DFDC's train videos: each real is followed by its fakes."""
    place_videos(folder, names, clip)
    table: dict[str, Any] = {}
    for position, name in enumerate(names):
        original = names[position - position % (1 + fakes_each)]
        if name == original:
            table[f"{name}.mp4"] = {"label": "REAL", "split": "train", "original": None}
        else:
            table[f"{name}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{original}.mp4"}
    write_json(folder / "metadata.json", table)
    return folder


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def make_dfdcp(root: Path, clip: Path | None = None, *, is_full: bool = False) -> Path:
    """The DFDC preview: 855 + 276 reals (train + test) and 3,618 + 501 fakes in full."""
    top = root / "dfdc_preview_set"
    plan = [("original_videos", "train", 855), ("original_videos", "test", 276)]
    plan += [("method_A", "train", 3000), ("method_A", "test", 400), ("method_B", "train", 618)]
    plan += [("method_B", "test", 101)]
    table: dict[str, Any] = {}
    for folder, name_of_set, num in plan:
        for number in range(num if is_full else 2):
            key, fields = _dfdcp_entry(folder, name_of_set, number)
            table[key] = fields
            place_video(top / key, clip)
    write_json(top / "dataset.json", table)
    return top


def _dfdcp_entry(folder: str, name_of_set: str, number: int) -> tuple[str, dict[str, Any]]:
    # People of train have numbers from 1000000 on, those of test from 2000000 on.
    target = (1_000_000 if name_of_set == "train" else 2_000_000) + number % 20
    fields: dict[str, Any] = {"set": name_of_set, "target_id": str(target), "augmentations": []}
    clip_name = f"{target}_A_{number // 20:03d}"
    if folder == "original_videos":
        return f"{folder}/{target}/{clip_name}.mp4", {**fields, "label": "real", "swapped_id": None}
    source = target - number % 20 + (number + 1) % 20
    path = f"{folder}/{target}/{target}_A/{source}_{clip_name}.mp4"
    return path, {**fields, "label": "fake", "swapped_id": str(source)}


def make_uadfv(root: Path, clip: Path | None = None, *, num: int = 49) -> Path:
    """UADFV: 49 reals and a fake of each."""
    top = root / "UADFV"
    place_videos(top / "real", [f"{n:04d}" for n in range(num)], clip)
    place_videos(top / "fake", [f"{n:04d}_fake" for n in range(num)], clip)
    return top


def make_folder(root: Path, clip: Path | None = None) -> Path:
    """A plain folder: videos here and further down, images of their own, and a folder of frames."""
    top = root / "my_videos"
    place_videos(top / "real", ["a", "b", "day1/a"], clip)
    place_videos(top / "fake", ["a", "day1/night/c"], clip)
    place_images(top / "fake", ["d.png", "e.jpg"])
    place_images(top / "fake" / "clip7", ["0001.png", "0002.png"])
    return top


def make_csv(root: Path, clip: Path | None = None) -> Path:
    """A CSV with every column, next to the folder of its videos."""
    top = root / "listed"
    place_videos(top / "clips", ["r0", "r1", "f0", "f1"], clip)
    lines = [
        "path,label,method,split,compression,target_id,source_id",
        "clips/r0.mp4,real,original,train,c23,anna,",
        "clips/r1.mp4,real,original,test,c23,ben,",
        "clips/f0.mp4,fake,Swap,train,c23,anna,carl",
        "clips/f1.mp4,fake,Swap,test,c23,ben,dora",
    ]
    (top / "list.csv").write_text("\n".join(lines) + "\n")
    return top / "list.csv"
