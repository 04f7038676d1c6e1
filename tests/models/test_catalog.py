from __future__ import annotations

import subprocess
import sys

import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.models.catalog import (
    NAMED_BACKBONES,
    describe_backbone,
    find_backbones,
    list_backbones,
)
from deepfake_detect.models.classifier import create_model


@pytest.mark.parametrize("name", ["test_resnet", "small_cnn"])
def test_facts_are_those_of_the_network(name: str) -> None:
    facts, model = describe_backbone(name), create_model(name)
    assert facts.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert facts.input_size == model.spec.preprocessing.image_size
    assert facts.megabytes == pytest.approx(facts.num_parameters * 4e-6)


def test_weights_are_named_with_their_license() -> None:
    assert describe_backbone("facenet").weights == (
        ("vggface2", "MIT; trained on VGGFace2"),
        ("casia-webface", "MIT; trained on CASIA-WebFace"),
    )
    assert describe_backbone("test_resnet").weights == (("pretrained (r160_in1k)", "apache-2.0"),)
    assert describe_backbone("resnet10t.c3_in1k").weights == (("pretrained (c3_in1k)", "apache-2.0"),)
    assert describe_backbone("convnext_atto_rms").weights == ()  # published without weights


def test_names_are_found_by_their_parts() -> None:
    assert find_backbones("Small_CNN") == ["small_cnn"]
    assert "mobilenetv2_100" in find_backbones("mobilenetv2")
    with pytest.raises(OptionError, match="containing: no backbone's name contains 'zzz'"):
        find_backbones("zzz")


def test_one_of_each_family_is_listed() -> None:
    for part in ("facenet", "vgg", "xception", "efficientnet", "convnext", "vit", "clip", "dino"):
        assert any(part in name for name in NAMED_BACKBONES)


def test_stored_facts_are_those_of_the_networks() -> None:
    stored = {facts.name: facts for facts in list_backbones()}
    assert tuple(stored)[: len(NAMED_BACKBONES)] == NAMED_BACKBONES
    for name in ("facenet", "small_cnn", "mobilenetv2_100", "vgg16"):
        assert stored[name] == describe_backbone(name)


def test_listing_them_does_not_load_torch() -> None:
    code = (
        "import sys, deepfake_detect as dfd; dfd.list_backbones();"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
