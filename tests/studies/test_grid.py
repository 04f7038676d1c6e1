from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks.studies.grid import Variant, mean_interval, run_grid, write_table
from deepfake_detect.errors import OptionError

VARIANTS = (Variant("one, plain"), Variant("two", training={"batch_size": 4}))


def test_the_interval_is_that_of_students_test() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    mean, low, high = mean_interval(values)
    for column in range(3):
        wanted = ttest_1samp(values[:, column], 0).confidence_interval(0.95)
        assert (low[column], high[column]) == pytest.approx((wanted.low, wanted.high))
    np.testing.assert_allclose(mean, values.mean(0))
    assert np.isnan(mean_interval(values[:1])[1]).all()


def test_a_stopped_study_resumes_without_repeating_runs(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def measure(variant: Variant, seed: int, _: Path) -> list[dict[str, float]]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append((variant.name, seed))
        return [{"epoch": 1, "loss": seed + len(variant.training)}]

    with pytest.raises(KeyboardInterrupt):
        run_grid(tmp_path, VARIANTS, 2, measure, facts={"epochs": 1})
    before = list(seen)
    seen.append(("", -1))
    found = run_grid(tmp_path, VARIANTS, 2, measure, facts={"epochs": 1})
    assert before == [("one, plain", 0), ("two", 0), ("one, plain", 1)]
    assert seen[4:] == [("two", 1)]
    assert [history[0]["loss"] for history in found["two"]] == [1, 2]
    with pytest.raises(OptionError, match="contains a run with other options .*; pass another --out"):
        run_grid(tmp_path, VARIANTS, 2, measure, facts={"epochs": 2})


def test_no_seeds_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--seeds: is 0; must be 1 or more"):
        run_grid(tmp_path, VARIANTS, 0, lambda *_: [], facts={})


def test_the_table_holds_mean_and_ends(tmp_path: Path) -> None:
    histories = [[{"epoch": 1.0, "loss": value}] for value in (1.0, 2.0, 3.0)]
    write_table(tmp_path / "table.csv", {"a": histories, "b": histories[:1]}, by="epoch")
    with open(tmp_path / "table.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["variant"], first["num_seeds"], first["loss_mean"]) == ("a", "3", "2.000000")
    assert float(first["loss_low"]) == pytest.approx(2 - 2.4841, abs=1e-3)
    assert (second["loss_mean"], second["loss_low"]) == ("1.000000", "")


def test_each_variant_has_its_own_files(tmp_path: Path) -> None:
    run_grid(tmp_path, VARIANTS, 1, lambda *_: [{"epoch": 1}], facts={})
    names = sorted(path.name for path in (tmp_path / "runs").glob("*.json"))
    assert names == ["one_plain-seed0.json", "two-seed0.json"]
    assert json.loads((tmp_path / "runs" / names[1]).read_text())["options"]["training"] == {"batch_size": 4}
