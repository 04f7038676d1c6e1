"""Detectors on a Hugging Face Hub: one on this machine, which can do wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, FetchError, OptionError, OutputError
from deepfake_detect.io.hub import parse_address
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import update_detector
from deepfake_detect.models.config import PublishedFacts
from tests.conftest import ROOT
from tests.io.hub_server import TOKEN, Hub, Repository, serving_hub

constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is not installed")
CROPS = [np.full((64, 64, 3), 90, np.uint8)]


@pytest.fixture(scope="module")
def detector_bytes() -> bytes:
    with bundled_detector() as path:
        return path.read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield hub


def test_a_detector_is_fetched_once_and_then_needs_no_hub(
    hub: Hub, detector_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["lab/mine"] = Repository()
    hub.repositories["lab/mine"].commit({"detector.safetensors": detector_bytes})
    detector = dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu")
    assert detector.score_crops(CROPS) == dfd.load_detector(runtime="torch", device="cpu").score_crops(CROPS)
    assert detector.sha256 == dfd.load_detector().sha256
    hub.requests.clear()
    monkeypatch.setenv("DEEPFAKE_DETECT_OFFLINE", "1")
    assert dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu").sha256 == detector.sha256
    assert hub.requests == []
    assert dfd.read_card("hf://lab/mine").startswith("# faces-mobilenetv2 3.0\n")
    with pytest.raises(FetchError, match="hf://lab/other: .* not in the cache, and DEEPFAKE_DETECT_OFF"):
        dfd.load_detector("hf://lab/other")


def test_the_cached_copy_is_used_while_the_hub_is_away(
    hub: Hub, detector_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["lab/mine"] = Repository()
    hub.repositories["lab/mine"].commit({"detector.safetensors": detector_bytes})
    first = dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    again = dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu")
    assert again.source == first.source is not None


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, detector_bytes: bytes) -> None:
    repository = hub.repositories["lab/mine"] = Repository()
    first = repository.commit({"detector.safetensors": detector_bytes}, "v1.0")
    repository.commit({"detector.safetensors": b"something else"})
    for revision in ("v1.0", first):
        assert dfd.load_detector(f"hf://lab/mine@{revision}", runtime="torch", device="cpu").sha256
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu")
    with pytest.raises(FetchError, match="hf://lab/mine@v2: has no revision v2; name a branch, tag or"):
        dfd.load_detector("hf://lab/mine@v2")


def test_what_is_not_there_is_named(hub: Hub) -> None:
    hub.repositories["lab/mine"] = Repository()
    hub.repositories["lab/mine"].commit({"model.safetensors": b"weights of another library"})
    with pytest.raises(FetchError, match="has no file detector.safetensors or detector.onnx; name its file"):
        dfd.load_detector("hf://lab/mine")
    with pytest.raises(FetchError, match="has no file other.onnx"):
        dfd.load_detector("hf://lab/mine/other.onnx")
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        dfd.load_detector("hf://lab/mine/model.safetensors", runtime="torch", device="cpu")
    with pytest.raises(FetchError, match="hf://lab/none: .* no such repository, or it is private; .* HF_"):
        dfd.load_detector("hf://lab/none")
    with pytest.raises(OptionError, match="detector: is 'hf://mine'; must be hf://owner/name"):
        dfd.load_detector("hf://mine")


def test_a_private_repository_needs_a_login(
    hub: Hub, detector_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["lab/mine"] = Repository(is_private=True)
    hub.repositories["lab/mine"].commit({"detector.safetensors": detector_bytes})
    with pytest.raises(FetchError, match="or it is private; check the name; for a private one, log in"):
        dfd.load_detector("hf://lab/mine")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu").sha256


def test_a_file_that_is_cut_off_is_an_error_and_can_be_fetched_again(
    hub: Hub, detector_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between its attempts
    hub.repositories["lab/mine"] = Repository()
    hub.repositories["lab/mine"].commit({"detector.safetensors": detector_bytes})
    hub.cuts_files = True
    with pytest.raises(FetchError, match="hf://lab/mine: cannot be fetched .*; try again"):
        dfd.load_detector("hf://lab/mine")
    hub.cuts_files = False
    assert dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu").sha256


def test_a_saved_detector_has_a_card_and_comes_back(tmp_path: Path) -> None:
    detector = dfd.load_detector(runtime="torch", device="cpu")
    path = detector.save_pretrained(tmp_path, license="mit")
    assert dfd.load_detector(path, runtime="torch", device="cpu").sha256 == detector.sha256
    front, card = (tmp_path / "README.md").read_text("utf-8").split("\n---\n", 1)
    assert yaml.safe_load(front.removeprefix("---"))["license"] == "mit"
    assert "## Figures" in card
    assert 'dfd.load_detector("detector.safetensors")' in card
    assert detector.save_pretrained(tmp_path) == path  # onto itself


def test_the_card_of_a_trained_detector_has_its_figures_with_intervals(tmp_path: Path) -> None:
    with bundled_detector() as path:
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes(path.read_bytes())
    videos = enumerate([("youtube", 0.2), ("Face|Swap", 0.8)] * 8)
    rows = "".join(f"{number},FF,{method},{number % 2},0,{p}\n" for number, (method, p) in videos)
    (tmp_path / "s.csv").write_text(f"video_id,dataset,method,label,frame_index,fake_probability\n{rows}")
    dfd.evaluate(scores=tmp_path / "s.csv", out=tmp_path / "report", num_resamples=50, show_progress=False)
    update_detector(copy, name='mine" | x: 1')
    detector = dfd.load_detector(copy, runtime="torch", device="cpu")
    detector.save_pretrained(tmp_path / "shared", evaluation=tmp_path / "report")
    front, card = (tmp_path / "shared" / "README.md").read_text("utf-8").split("\n---\n", 1)
    values = yaml.safe_load(front.removeprefix("---"))
    assert values["model-index"][0]["results"][0]["metrics"][0]["value"] == 1.0
    assert "x" not in values
    assert "| all | 1.000 [0." in card
    assert "Face\\|Swap" in card
    for section in ("Data", "Figures", "Verdicts", "Limits", "Facts"):
        assert f"\n## {section}\n" in card
    assert f"use the threshold {detector.config.threshold:.4g}." in card
    published = PublishedFacts("zoo-entry", "owner/code", "CC BY-NC 4.0", ())
    update_detector(copy, training=replace(detector.config.training, published=published))
    dfd.load_detector(copy, runtime="torch", device="cpu").save_pretrained(tmp_path / "theirs")
    front = (tmp_path / "theirs" / "README.md").read_text("utf-8").split("\n---\n", 1)[0]
    assert yaml.safe_load(front.removeprefix("---"))["license_name"] == "CC BY-NC 4.0"
    with pytest.raises(OptionError, match="evaluation: is not an evaluation; pass what evaluate returned"):
        detector.save_pretrained(tmp_path / "shared", evaluation={})


def test_an_upload_can_be_loaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = dfd.load_detector(runtime="torch", device="cpu")
    with pytest.raises(OutputError, match="hf://lab/mine: cannot be written .* log in"):
        detector.push_to_hub("lab/mine")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert detector.push_to_hub("lab/mine", private=True) == f"{hub.address}/lab/mine"
    (files,) = hub.repositories["lab/mine"].files.values()
    assert set(files) == {"README.md", "detector.safetensors"}
    assert b'load_detector("hf://lab/mine")' in files["README.md"]
    assert dfd.load_detector("hf://lab/mine", runtime="torch", device="cpu").sha256 == detector.sha256
    detector.push_to_hub("lab/mine", revision="next", commit_message="Again")
    assert set(hub.repositories["lab/mine"].revisions) == {"main", "next"}
    with pytest.raises(OptionError, match="repository: is 'mine'; must be owner/name"):
        detector.push_to_hub("mine")


def test_only_single_files_are_shared(tmp_path: Path) -> None:
    detector = dfd.load_detector(runtime="onnx")
    detector.source = tmp_path / "d.xml"
    with pytest.raises(OptionError, match=r"only .safetensors and .onnx files are shared; save the detector"):
        detector.save_pretrained(tmp_path)
    detector.source = None
    with pytest.raises(OptionError, match="was not loaded from a file; pass one of load_detector"):
        detector.save_pretrained(tmp_path)


def test_calibration_does_not_rewrite_a_file_of_the_hub(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is hf://lab/mine, and calibration rewrites the file; copy it"):
        dfd.calibrate("hf://lab/mine", tmp_path / "manifest.parquet")


def test_the_command_line_takes_an_address(hub: Hub, detector_bytes: bytes, tmp_path: Path) -> None:
    hub.repositories["lab/mine"] = Repository()
    hub.repositories["lab/mine"].commit({"detector.safetensors": detector_bytes})
    clip, out = str(ROOT / "examples/demo.mp4"), str(tmp_path / "r.json")
    command = ["score-video", clip, "--frames", "1", "--runtime", "torch", "--device", "cpu", "--json", out]
    assert main([*command, "--detector", "hf://lab/mine"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["detector"]["sha256"] == dfd.load_detector().sha256


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://a/b", ("a/b", None, None)),
        ("hf://a/b@refs/pr/1", ("a/b", "refs/pr/1", None)),
        ("hf://a/b@v1/x.onnx", ("a/b", "v1", "x.onnx")),
        ("hf://a/b.c/detector.safetensors", ("a/b.c", None, "detector.safetensors")),
    ],
)
def test_an_address_has_three_parts(text: str, parts: tuple[str | None, ...]) -> None:
    address = parse_address(text)
    assert (address.repository, address.revision, address.file) == parts
    assert str(address) == text
