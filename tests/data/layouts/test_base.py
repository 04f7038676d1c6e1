from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import check_folder_names, make_video_id, nearly_named, walk
from deepfake_detect.errors import DatasetLayoutError
from tests.data.layouts.miniatures import place_video


def walked(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    return {place.relative_to(folder).as_posix(): (files, rest) for place, files, rest in walk(folder)}


@pytest.mark.parametrize(
    "parts",
    [
        ("", "real", None, "a"),
        ("D", "", None, "a"),
        ("D", "real", "", "a"),
        ("D", "real", None, ""),
        ("D", "..", None, "a"),
        ("D", "real", "../c23", "a"),
        ("D", "real", None, "a/../../b"),
        ("D", "real", None, "./a"),
        ("D", "real", None, "/etc/a"),
        ("/D", "real", None, "a"),
        ("D", "real", None, "a/"),
    ],
)
def test_an_identity_leads_to_a_place_below(parts: tuple[str, str, str | None, str]) -> None:
    with pytest.raises(DatasetLayoutError, match="^video_id .* has a part that is empty, . or ..; rename"):
        make_video_id(*parts)


def test_names_with_dots_are_parts_of_an_identity() -> None:
    assert make_video_id("D++", "sd2.1", None, ".../..a/a..") == "D++/sd2.1/.../..a/a.."


def test_a_walk_names_files_and_what_leads_nowhere(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", ".hidden.mp4", "in/c.mp4", ".hidden/d.mp4"):
        place_video(tmp_path / name)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "absent.mp4")
    (tmp_path / "itself.mp4").symlink_to(tmp_path / "itself.mp4")
    (tmp_path / "linked.mp4").symlink_to(tmp_path / "a.mp4")
    assert walked(tmp_path) == {
        ".": (["a.mp4", "b.mp4", "linked.mp4"], ["gone.mp4", "itself.mp4"]),
        "in": (["c.mp4"], []),
    }
    assert list(walk(tmp_path / "absent")) == []


def test_a_walk_follows_links_into_no_folder_twice(tmp_path: Path) -> None:
    place_video(tmp_path / "elsewhere" / "a.mp4")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    top = tmp_path / "data" / "real"
    place_video(top / "sub" / "b.mp4")
    place_video(tmp_path / "data" / "fake" / "c.mp4")
    for name, target in {
        "loop": top,
        "sub/loop": top / "sub",
        "up": tmp_path / "data",
        "x": tmp_path / "elsewhere",
        "y": tmp_path / "elsewhere",
    }.items():
        (top / name).symlink_to(target)
    assert walked(top) == {".": ([], []), "sub": (["b.mp4"], []), "x": (["a.mp4"], [])}


def test_a_walk_leaves_out_what_it_is_reported_to(tmp_path: Path) -> None:
    place_video(tmp_path / "a" / "b" / "1.mp4")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert [place for place, *_ in walk(tmp_path, skipped={tmp_path / "a"})] == [
        tmp_path,
        tmp_path / "c",
        tmp_path / "c" / "b",
    ]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetLayoutError, match=r"cannot be listed \(Permission denied\); make it readable"):
        list(walk(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tset", "test"),
        ("etst", "test"),
        ("Tets", "test"),
        ("tes", "test"),
        ("testt", "test"),
        ("vla", "val"),
    ],
)
def test_a_short_name_with_a_slip_is_misspelled(tmp_path: Path, wrong: str, right: str) -> None:
    (tmp_path / wrong).mkdir()
    assert nearly_named(tmp_path, ("train", "val", "test")) == [right]
    with pytest.raises(DatasetLayoutError, match=f"{wrong}: is not a folder of X; rename it to {right}$"):
        check_folder_names(tmp_path, ("train", "val", "test"), dataset="X")


@pytest.mark.parametrize("word", ["text", "rest", "tent", "face", "read", "row", "var", "c32", "c30", "tt"])
def test_another_short_word_is_not(tmp_path: Path, word: str) -> None:
    (tmp_path / word).mkdir()
    known = ("train", "val", "test", "real", "fake", "raw", "c23", "c40")
    assert check_folder_names(tmp_path, known, dataset="X") == [tmp_path / word]
    assert nearly_named(tmp_path, known) == []
