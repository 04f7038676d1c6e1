"""Registries: names of parts, built in or registered."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from deepfake_detect import plugins
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.card import read_card
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.records import CropGeometry
from deepfake_detect.registry import Registry


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_failures", None)
    return


def heads() -> Registry[object]:
    return Registry("head", {"linear": len})


def mine() -> None:
    """Stand for a part of this module."""


def test_a_part_is_found_by_the_name_it_was_registered_under() -> None:
    registry = heads()
    registry.register("mine", mine)
    assert registry.find("mine") is registry["mine"] is mine
    assert registry.names() == ("linear", "mine")
    assert len(registry) == 2
    assert "mine" in registry
    assert "other" not in registry


def test_a_name_is_taken_once_but_a_module_may_replace_its_own() -> None:
    registry = heads()
    with pytest.raises(OptionError, match=r"head: 'linear' is registered already; register another name"):
        registry.register("linear", mine)
    registry.register("mine", mine)
    registry.register("mine", mine)
    with pytest.raises(OptionError, match=r"'mine' is registered already"):
        registry.register("mine", pytest.raises)
    with pytest.raises(OptionError, match=r"head: cannot be registered as ''; pass a name"):
        registry.register("", mine)


@pytest.mark.parametrize("name", ["absent", 3, None])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(name: object) -> None:
    with pytest.raises(OptionError, match=r"head: .* is unknown; must be one of linear"):
        heads().find(name)  # type: ignore[arg-type]


def test_a_part_of_no_package_is_recorded_by_its_module() -> None:
    registry = heads()
    registry.register("mine", mine)
    registry.register("ours", object(), source=mine)
    part = registry.plugin_part("mine")
    assert part == plugins.PluginPart("head", "mine", "tests", "")
    assert registry.plugin_part("ours") == plugins.PluginPart("head", "ours", "tests", "")
    assert registry.plugin_part("linear") is None
    assert not plugins.PluginPart("head", "mine", "no-such-package", "1.0").is_installed
    assert str(part) == "head 'mine' of the plug-in tests"


def test_a_broken_plugin_is_one_warning_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_module_at_all", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [broken])
    with pytest.warns(
        UserWarning, match=r"the plug-in broken cannot be loaded \(ModuleNotFoundError"
    ) as found:
        names = heads().names()
    assert names == ("linear",)
    assert len(found) == 1
    assert plugins.load_plugins().keys() == {"broken"}


def test_built_in_parts_are_found_without_loading_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: pytest.fail("plug-ins were loaded"))
    assert heads().find("linear") is len


def stored_with(part: plugins.PluginPart, path: Path) -> Path:
    model = create_model("test_resnet", image_size=64)
    config = DetectorConfig("small", "1", model.spec, CropGeometry(), plugins=(part,))
    save_detector(path, model, config)
    return path


def test_what_scoring_needs_must_be_installed(tmp_path: Path) -> None:
    for kind in ("backbone", "head", "aggregation_rule"):
        path = stored_with(plugins.PluginPart(kind, "x", "dfd-absent", "2.0"), tmp_path / kind)
        message = f"needs the {kind} 'x' of the plug-in dfd-absent 2.0, which is not installed .*; install it"
        with pytest.raises(CheckpointError, match=message):
            read_detector(path)


def test_what_only_training_needed_is_named_by_the_card(tmp_path: Path) -> None:
    path = stored_with(plugins.PluginPart("loss", "x", "dfd-absent", "2.0"), tmp_path / "d")
    assert read_detector(path)[1].plugins[0].name == "x"
    assert "| plug-ins | loss 'x' of the plug-in dfd-absent 2.0 (not installed) |" in read_card(path)
    here = stored_with(plugins.PluginPart("loss", "x", "numpy", "1"), tmp_path / "e")
    assert "| plug-ins | loss 'x' of the plug-in numpy 1 |" in read_card(here)
