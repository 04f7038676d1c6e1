from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError
from deepfake_detect.records import CropGeometry
from deepfake_detect.training import rate_finder
from deepfake_detect.training.rate_finder import find_learning_rate, search_of, smoothed
from tests.data.trees import crop_manifest, textured_crops
from tests.training.runs import small_run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = textured_crops(8, "train", seed=1) + textured_crops(4, "val", seed=2)
    return crop_manifest(tmp_path_factory.mktemp("data") / "m", crops, geometry=CropGeometry(1.1))


def test_the_suggestion_lies_where_the_loss_falls_and_below_where_it_explodes(
    manifest: Path, tmp_path: Path
) -> None:
    config = small_run(manifest, tmp_path / "run", batch_size=8, optimizer="sgd")
    search = find_learning_rate(config, num_steps=20, show_progress=False)
    assert len(search.rates) == len(search.losses)
    assert search.rates[0] == pytest.approx(1e-7)
    assert 1e-7 < search.suggestion < 1.0
    assert not (tmp_path / "run").exists()
    again = find_learning_rate(config, num_steps=20, show_progress=False)
    assert again.suggestion == search.suggestion
    with pytest.raises(OptionError, match="num_steps: is 3; must be 20 or more"):
        find_learning_rate(config, num_steps=3)


def test_the_steepest_descent_is_found() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    losses = 0.7 / (1 + (rates / 1e-3) ** 2) + 10 * rates  # falls at a thousandth, rises at the end
    search = search_of(rates, losses)
    assert 1e-4 < search.suggestion < 3e-2
    assert len(search_of(rates, np.r_[losses[:-1], np.nan]).rates) == 60


def test_smoothing_begins_unbiased() -> None:
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([1.0, 0.0])[1] == pytest.approx(0.09 / 0.19)


def test_the_tool_draws_it(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_finder, "find_learning_rate", partial(find_learning_rate, num_steps=20))
    options = ["--backbone", "test_resnet", "--batch-size", "8", "--num-workers", "0", "--device", "cpu"]
    options += ["--image-size", "32"]
    arguments = ["--manifest", str(manifest), "--out", str(tmp_path / "run"), *options]
    assert main(["train", *arguments, "--find-learning-rate"]) == 0
    assert "suggested peak learning rate" in capsys.readouterr().out
    assert (tmp_path / "run" / "learning_rate.png").stat().st_size > 5_000
