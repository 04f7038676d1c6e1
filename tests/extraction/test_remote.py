"""Videos read from, and crops written to, an object store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepfake_detect.cli import main
from deepfake_detect.io.fetch import RemoteDir
from tests.extraction.helpers import contents

BUCKET = "s3://faces"


def upload(tree: Path, object_store: RemoteDir, name: str) -> str:
    for path in tree.rglob("*"):
        if path.is_file():
            object_store.put(path, f"{name}/{path.relative_to(tree).as_posix()}")
    return f"{object_store.url}/{name}"


def fetched(url: str, folder: Path) -> dict[str, bytes]:
    there = RemoteDir(url)
    for name in there.files():
        there.fetch(name, folder / name)
    return contents(folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_from_url_to_url_as_from_folder_to_folder(
    tree: Path, object_store: RemoteDir, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--frames", "2", "--compression", "c23", "--workers"]
    here = ["extract-faces", str(tree), "--out", str(tmp_path / "here"), *options, "1"]
    assert main(here) == 2  # one video is broken
    root = upload(tree, object_store, "ff")
    assert main(["extract-faces", root, "--out", f"{BUCKET}/crops", *options, str(workers)]) == 2
    assert f"8 crops in {BUCKET}/crops/manifest.parquet" in capsys.readouterr().out
    local, there = contents(tmp_path / "here"), fetched(f"{BUCKET}/crops", tmp_path / "there")
    assert sorted(there) == sorted(local)
    # Files that name the path of a video differ in that.
    naming = {name for name in local if name.endswith((".failure.json", "failures.csv", "missing.csv"))}
    assert {name for name in local if local[name] != there[name]} <= naming


def test_a_second_run_does_what_is_missing(
    tree: Path, object_store: RemoteDir, capsys: pytest.CaptureFixture[str]
) -> None:
    (next(tree.rglob("Deepfakes/c23/videos/003_000.mp4"))).unlink()
    arguments = ["extract-faces", str(tree), "--out", f"{BUCKET}/crops", "--frames", "2", "--workers", "1"]
    assert main(arguments) == 0
    before = RemoteDir(f"{BUCKET}/crops").files()
    crop = next(name for name in before if name.endswith(".png"))
    object_store.remove(f"crops/{crop}")
    capsys.readouterr()
    assert main(arguments) == 0
    assert "1 video extracted, 4 done before, 1 without a face" in capsys.readouterr().out
    assert RemoteDir(f"{BUCKET}/crops").files().keys() == before.keys()
    assert main([*arguments, "--margin", "1.5"]) == 2
    assert "contains crops made with" in capsys.readouterr().err


def test_plain_folders_are_called_after_theirs(
    object_store: RemoteDir, tmp_path: Path, portrait_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("real", "fake"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        shutil.copy(portrait_clip, tmp_path / "mine" / label / f"{label}.mp4")
    root = upload(tmp_path / "mine", object_store, "mine")
    options = ["--frames", "1", "--workers", "1"]
    assert main(["extract-faces", str(tmp_path / "mine"), "--out", str(tmp_path / "here"), *options]) == 0
    for _ in range(2):
        assert main(["extract-faces", root, "--out", f"{BUCKET}/crops", *options]) == 0
    assert "0 videos extracted, 2 done before" in capsys.readouterr().out
    there = fetched(f"{BUCKET}/crops", tmp_path / "there")
    assert there["manifest.parquet"] == (tmp_path / "here" / "manifest.parquet").read_bytes()


def test_a_video_that_goes_meanwhile_fails_alone(
    tree: Path, object_store: RemoteDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = upload(tree, object_store, "ff")
    fetch = RemoteDir.fetch

    def one_is_gone(self: RemoteDir, name: str, target: Path) -> None:
        if "FaceSwap" in name:
            self.remove(name)
        if "Face2Face" in name:
            raise ValueError("of a library below")
        fetch(self, name, target)

    monkeypatch.setattr(RemoteDir, "fetch", one_is_gone)
    out = tmp_path / "out"
    assert main(["extract-faces", root, "--out", str(out), "--frames", "2", "--workers", "1"]) == 2
    failures = (out / "failures.csv").read_text()
    assert "cannot be fetched" in failures
    assert "ValueError,of a library below" in failures
    assert len(list(out.glob("crops/**/*.png"))) == 4


@pytest.mark.parametrize(
    ("root", "out", "message"),
    [
        (f"{BUCKET}/absent", "out", "is empty or does not exist; check the URL"),
        ("s3://no-such-bucket/a", "out", "cannot be listed"),
        ("nowhere://a", "out", "is not a URL that fsspec knows"),
        (f"{BUCKET}/index.parquet", "out", "is a file; pass the folder of videos, or copy the file"),
        (None, "s3://no-such-bucket/a", "cannot be"),
    ],
)
def test_urls_that_lead_nowhere(
    root: str | None,
    out: str,
    message: str,
    tree: Path,
    object_store: RemoteDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["extract-faces", root or str(tree), "--out", out, "--frames", "1", "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len([line for line in error.splitlines() if line.startswith("error:")]) == 1


def test_folders_of_frames_come_whole(object_store: RemoteDir, tmp_path: Path, portrait_clip: Path) -> None:
    object_store.put(portrait_clip, "a/b/1.mp4")
    object_store.put(portrait_clip, "a/b/2.mp4")
    object_store.fetch("a/b", tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["1.mp4", "2.mp4"]
    shutil.rmtree(tmp_path / "b")
