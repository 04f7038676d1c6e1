from __future__ import annotations

import pytest

from deepfake_detect.cli import main


def test_named_backbones_are_listed_with_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert rows["mesoinception4"].split() == ["mesoinception4", "28,615", "0.1", "256", "none"]
    assert rows["mobilenetv2_100"].split()[:4] == ["mobilenetv2_100", "2,225,153", "8.9", "224"]
    assert "pretrained (laion2b_ft_in12k_in1k)" in rows["vit_base_patch16_clip_224"]
    assert rows["casia-webface"].split(maxsplit=1)[1].startswith("MIT; trained on CASIA-WebFace")


def test_any_backbone_is_found_by_a_part_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--filter", "mobilenetv2_1"]) == 0
    out = capsys.readouterr().out
    assert "mobilenetv2_140" in out
    assert "facenet" not in out
    assert main(["models", "--filter", "zzz"]) == 2
    assert "no backbone's name contains 'zzz'" in capsys.readouterr().err
