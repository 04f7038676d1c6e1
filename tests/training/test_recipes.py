"""Each recipe as it is shipped starts and completes a run, on few crops and without its downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.models.checkpoint import read_detector
from tests.conftest import ROOT
from tests.forgery.faces import face_manifest
from tests.training.runs import read_config, train

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
# Sizes that a small computer bears; what the recipe is about stays as it is.
_SMALL = {"vgg19": 64, "xception": 96, "efficientnet_b4_sbi": 96, "srm": 96, "dct": 96}
# Networks of hundreds of millions of weights; a small one of the same kind takes their place.
_SMALL_NETWORK = {"gend": "test_vit", "effort": "test_vit"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_completes_a_run(recipe: Path, tmp_path: Path) -> None:
    manifest = face_manifest(tmp_path / "data", {"train": 2, "val": 2}, fakes={"train": 2, "val": 2}, side=96)
    written = read_config(recipe, manifest=manifest, out=tmp_path / "run")
    sizes: dict[str, object] = {"image_size": _SMALL[recipe.stem]} if recipe.stem in _SMALL else {}
    backbone = _SMALL_NETWORK.get(recipe.stem, written.backbone)
    run = read_config(
        recipe,
        manifest=manifest,
        out=tmp_path / "run",
        backbone=backbone,
        weights=None,
        head_epochs=0,
        epochs=1,
        batch_size=2,
        num_workers=0,
        recalibrate_batches=0,
        device="cpu",
        sanity=False,
        **sizes,
    )
    result = train(run, show_progress=False)
    network, stored = read_detector(result.detector_path)
    assert stored.name == written.name
    assert [record.stage for record in result.history] == [written.finetune]
    assert network.spec.backbone == backbone


def test_there_are_recipes_for_the_detectors_people_ask_for() -> None:
    names = {path.stem for path in RECIPES}
    assert names == {
        *("clip_norm", "efficientnet_b4_sbi", "facenet", "gan_and_blends", "vgg19", "xception"),
        *("gend", "effort", "srm", "dct"),
    }
