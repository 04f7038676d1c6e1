from __future__ import annotations

import csv
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import CheckpointError, OptionError, OutputError
from deepfake_detect.io.files import file_lock, make_folder
from deepfake_detect.lab.gan import loop
from deepfake_detect.lab.gan.config import GanConfig
from deepfake_detect.lab.gan.generator import read_generator, sample_images, save_generator
from deepfake_detect.lab.gan.loop import collapse_note, train_gan
from deepfake_detect.lab.gan.networks import create_gan
from deepfake_detect.lab.gan.spec import GanSpec
from deepfake_detect.lab.gan.step import Gan, StepRecord
from deepfake_detect.training.run_folder import RunFolder
from deepfake_detect.video import read_metadata
from tests.lab.gan.data import squares


def small(**changes: object) -> GanConfig:
    base = GanConfig(
        arch="conv",
        latent_size=3,
        image_size=8,
        steps=9,
        batch_size=4,
        device="cpu",
        sample_every=4,
        save_every=2,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def run(out: Path, config: GanConfig, **more: object) -> loop.GanResult:
    return train_gan(squares(), config, out, show_progress=False, **more)  # type: ignore[arg-type]


def assert_equal_runs(one: Path, other: Path) -> None:
    first, second = (load_file(out / "generator.safetensors") for out in (one, other))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    states = [torch.load(out / "state.pt", weights_only=True) for out in (one, other)]
    networks = [{**state["gan"]["discriminator"], **state["gan"]["generator"]} for state in states]
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert (one / "samples.mp4").read_bytes() == (other / "samples.mp4").read_bytes()


def test_a_run_writes_its_files(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run(tmp_path, small(), log=lines.append)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    assert float(rows[3]["generator_loss"]) == result.history[3].generator_loss
    grids = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert grids == [f"step-{step:07d}.png" for step in (0, 4, 8, 9)]
    assert read_crop(tmp_path / "samples" / grids[0]).shape == (4 * 84 + 4, 4 * 84 + 4, 3)
    assert read_metadata(tmp_path / "samples.mp4").num_frames == 4
    assert lines[:2] == ["squares on black", "conv: 9 steps of 4 images, " + _precision()]
    assert lines[-1].startswith("step 9 of 9: loss of discriminator ")
    assert [line.split(":")[0] for line in lines[2:]] == [f"step {n} of 9" for n in (2, 4, 6, 8, 9)]
    on_real, on_fake = result.last_accuracy(3)
    assert on_real == pytest.approx(np.mean([one.accuracy_on_real for one in result.history[-3:]]))
    assert on_fake == pytest.approx(np.mean([one.accuracy_on_fake for one in result.history[-3:]]))


def _precision() -> str:
    return "bf16" if loop.fast_precision(torch.device("cpu")) == "bf16" else "float32"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, loop.GanResult]:
    """Return the folder and the result of the run that interrupted ones have to equal."""
    out = tmp_path_factory.mktemp("uninterrupted")
    return out, run(out, small())


@pytest.mark.parametrize(("arch", "decay"), [("dense", 0.0), ("conv", None)])
def test_a_run_stopped_at_any_step_ends_as_the_uninterrupted_one(
    arch: str,
    decay: float | None,
    uninterrupted: tuple[Path, loop.GanResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = small() if decay is None else small(arch=arch, average_decay=decay)
    folder, whole = (tmp_path / "whole", None) if decay is not None else uninterrupted
    whole = whole or run(folder, config)
    original = loop._Run._step
    for last in (1, 4, 7):
        out = tmp_path / f"broken-{last}"

        def killed(self: loop._Run, chosen: np.ndarray, last: int = last) -> None:
            if len(self.history) == last:
                raise KeyboardInterrupt
            original(self, chosen)

        monkeypatch.setattr(loop._Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, config)
        monkeypatch.setattr(loop._Run, "_step", original)
        torch.manual_seed(last)  # the state of the global generator does not matter
        lines: list[str] = []
        again = run(out, config, log=lines.append)
        saved = last - last % 2
        assert (f"resumes after step {saved}" in lines) == (saved > 0)
        assert again.history == whole.history
        assert_equal_runs(folder, out)


@pytest.mark.usefixtures("narrow_dcgan")
def test_dcgan_resumes_with_its_statistics_and_singular_vectors(tmp_path: Path) -> None:
    config = small(arch="dcgan", image_size=64, spectral_norm=True, loss="hinge", steps=2, batch_size=2)
    color = squares(4, 64, 3)
    for steps in (1, 2):
        broken = replace(config, steps=steps, save_every=1)
        train_gan(color, broken, tmp_path / "broken", show_progress=False)
    train_gan(color, config, tmp_path / "whole", show_progress=False)
    first, second = (load_file(tmp_path / name / "generator.safetensors") for name in ("broken", "whole"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert any("running_mean" in name for name in first)


_CODE = """
import sys, time
from pathlib import Path
from deepfake_detect.lab.gan import loop
from tests.lab.gan.test_loop import run, small

original = loop._Run._step
def waiting(self, chosen):
    original(self, chosen)
    if len(self.history) == 5:
        print("ready", flush=True)
        time.sleep(60)
loop._Run._step = waiting
run(Path(sys.argv[1]), small())
"""


def test_a_killed_run_loses_at_most_the_steps_since_the_last_save(
    uninterrupted: tuple[Path, loop.GanResult], tmp_path: Path
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        [sys.executable, "-c", _CODE, str(tmp_path / "broken")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "broken" / "generator.safetensors").exists()
    lines: list[str] = []
    run(tmp_path / "broken", small(), log=lines.append)
    assert "resumes after step 4" in lines
    assert_equal_runs(uninterrupted[0], tmp_path / "broken")


def test_a_run_continues_with_more_epochs(tmp_path: Path) -> None:
    for steps, epochs in ((None, 2), (None, 3)):
        last = run(tmp_path / "longer", small(steps=steps, epochs=epochs))
    whole = run(tmp_path / "whole", small(steps=None, epochs=3))
    assert len(whole.history) == 3 * (12 // 4)
    assert last.history == whole.history
    done = run(tmp_path / "longer", small(steps=3))  # fewer than are done: nothing is undone
    assert done.history == whole.history


def test_an_epoch_sees_every_image_once(tmp_path: Path) -> None:
    seen = list(loop._Run(squares(10), small(steps=6), RunFolder(tmp_path), False)._batches(0))
    assert [len(chosen) for chosen in seen] == [4] * 6
    for epoch in (seen[:2], seen[2:4], seen[4:]):
        assert len(set(np.concatenate(epoch).tolist())) == 8
    assert [chosen.tolist() for chosen in seen[:2]] != [chosen.tolist() for chosen in seen[2:4]]


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    lines: list[str] = []
    train_gan(squares(3), small(steps=2), tmp_path, log=lines.append, show_progress=False)
    assert lines[1].startswith("conv: 2 steps of 3 images")


def test_another_run_in_the_folder_is_rejected(tmp_path: Path) -> None:
    run(tmp_path, small(steps=1))
    with pytest.raises(
        OptionError, match="contains a run with other values of batch_size, seed; pass another"
    ):
        run(tmp_path, small(steps=1, seed=1, batch_size=5))
    with pytest.raises(OptionError, match="other values of images_sha256"):
        train_gan(squares(seed=1), small(steps=1), tmp_path, show_progress=False)
    run(tmp_path, small(steps=2, sample_every=1, save_every=1))


def test_damaged_and_foreign_states_are_named(tmp_path: Path) -> None:
    run(tmp_path, small(steps=2))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save({**state, "state_version": 99}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="state.pt: was written by another version; finish the run"):
        run(tmp_path, small(steps=3))
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="state.pt: is damaged; delete the folder of the run"):
        run(tmp_path, small(steps=3))


def test_a_folder_in_use_is_rejected(tmp_path: Path) -> None:
    with (
        file_lock(make_folder(tmp_path), what="training"),
        pytest.raises(OutputError, match="another training is writing there"),
    ):
        run(tmp_path, small())


def test_a_generator_reads_back(tmp_path: Path) -> None:
    result = run(tmp_path, small(steps=2))
    generator, spec = read_generator(tmp_path / "generator.safetensors")
    assert spec == result.spec == GanSpec("conv", 3, 8, 1, False)
    assert not generator.training
    made = sample_images(generator, spec, 300, seed=4)
    assert made.shape == (300, 8, 8, 1)
    # The weights that are read have another memory layout, and sums may differ in the last bit.
    again = sample_images(result.generator, spec, 300, seed=4)
    np.testing.assert_allclose(made.astype(int), again.astype(int), atol=1)
    np.testing.assert_array_equal(made[:7], sample_images(generator, spec, 260, seed=4)[:7])
    assert (made[:250] != made[50:][:250]).any()
    assert (made[:7] != sample_images(generator, spec, 7, seed=5)).any()


def test_files_without_a_generator_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    with pytest.raises(CheckpointError, match="there is no such file; pass the generator.safetensors"):
        read_generator(path)
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="cannot be read as a generator"):
        read_generator(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="contains no generator of this library"):
        read_generator(path)
    run(tmp_path / "run", small(steps=1))
    tensors = load_file(tmp_path / "run" / "generator.safetensors")
    spec = '{"arch": "dense", "latent_size": 3, "image_size": 8, "channels": 1, "spectral_norm": false}'
    save_file(tensors, path, metadata={"format": "deepfake_detect.generator", "spec": spec})
    with pytest.raises(CheckpointError, match="cannot be read as a generator .*; train it again"):
        read_generator(path)


def test_rates_of_both_networks() -> None:
    assert small().rates == (2e-4, 8e-4)
    assert small(arch="dense").rates == (2e-4, 2e-4)
    assert small(generator_learning_rate=1e-5).rates == (1e-5, 8e-4)
    assert small(learning_rate=4e-4).rates == (1e-4, 4e-4)


def test_both_rates_grow_from_a_quarter(tmp_path: Path) -> None:
    assert [small().rates_in_step(step) for step in (1, 1000, 2000)] == [(5e-5, 2e-4), *[(2e-4, 8e-4)] * 2]
    for arch, warmup in (("dense", None), ("conv", 0)):
        steady = small(arch=arch, warmup_steps=warmup)
        assert steady.rates_in_step(1) == steady.rates
    # The length of Adam's first step is the rate.
    at_once = stepped(tmp_path / "at once", small(steps=1, warmup_steps=0))
    slowly = stepped(tmp_path / "slowly", small(steps=1))
    still = stepped(tmp_path / "still", small(steps=1, learning_rate=1e-30))
    for network, rate in (("generator", 2e-4), ("discriminator", 8e-4)):
        for moved, factor in ((at_once, 1.0), (slowly, 0.25)):
            distance = max(float((moved[network][n] - t).abs().max()) for n, t in still[network].items())
            assert distance == pytest.approx(rate * factor, rel=0.01)


def test_the_discriminator_steps_more_often_once_it_is_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    real_step = loop.gan_step

    def note(gan: Gan, real: torch.Tensor, latent: torch.Tensor, **more: object) -> tuple[Gan, StepRecord]:
        taken.append((len(real), len(latent)))
        return real_step(gan, real, latent, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "gan_step", note)
    run(tmp_path / "conv", small(steps=4, warmup_steps=2, discriminator_steps=3))
    run(tmp_path / "once", small(steps=1, warmup_steps=0))
    assert taken == [(4, 4), (4, 4), (12, 4), (12, 4), (4, 4)]
    assert GanConfig(discriminator_steps=3).reals_per_step == 384
    assert GanConfig().reals_per_step == 128
    assert small(epochs=2, steps=None, discriminator_steps=3).num_steps(30) == 4


def test_a_run_whose_grids_are_gone_or_damaged(tmp_path: Path) -> None:
    run(tmp_path, small(steps=2))
    (tmp_path / "samples" / "step-0000002.png").write_bytes(b"no image")
    with pytest.raises(OutputError, match="step-0000002.png: is damaged; delete it, and start"):
        run(tmp_path, small(steps=2))
    shutil.rmtree(tmp_path / "samples")
    run(tmp_path, small(steps=2))
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-0000002.png"]
    assert read_metadata(tmp_path / "samples.mp4").num_frames == 1


def test_a_full_disk_is_an_error_and_keeps_what_was_written(tmp_path: Path) -> None:
    config = small(arch="dense", image_size=28, steps=2, sample_every=9)
    options = {"images": squares(8, 28), "out": tmp_path, "show_progress": False}
    train_gan(config=replace(config, steps=1), **options)  # type: ignore[arg-type]
    before = (tmp_path / "state.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))  # more than a grid takes
    try:
        with pytest.raises(OutputError, match=r"state.pt: cannot be written \(File too large\)"):
            train_gan(config=config, **options)  # type: ignore[arg-type]
        with pytest.raises(OutputError, match=r"g.safetensors: cannot be written \(File too large\)"):
            save_generator(tmp_path / "g.safetensors", *large_generator())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob(".state*"))
    assert len(train_gan(config=config, **options).history) == 2  # type: ignore[arg-type]


def large_generator() -> tuple[torch.nn.Module, GanSpec]:
    spec = GanSpec("dense", 100, 28)
    return create_gan(spec)[0], spec


def test_a_folder_of_another_version_or_without_options_is_rejected(tmp_path: Path) -> None:
    run(tmp_path, small(steps=1))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save({**state, "state_version": 9, "gan": {"generator": {}}}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="was written by another version; finish the run with that"):
        run(tmp_path, small(steps=2))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(OutputError, match="config.json: is damaged .it contains no options.; delete it"):
        run(tmp_path, small(steps=2))


def stepped(out: Path, config: GanConfig) -> dict[str, dict[str, torch.Tensor]]:
    run(out, config)
    networks: dict[str, dict[str, torch.Tensor]] = torch.load(out / "state.pt", weights_only=True)["gan"]
    return networks


def history(on_real: float, on_fake: float, count: int = loop.COLLAPSE_STEPS) -> list[StepRecord]:
    return [StepRecord(number, 0.7, 0.7, on_real, on_fake) for number in range(1, count + 1)]


def test_a_discriminator_that_has_won_or_learned_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert collapse_note(history(0.7, 0.6)) is None
    assert collapse_note(history(1.0, 1.0, loop.COLLAPSE_STEPS - 1)) is None
    assert collapse_note(history(1.0, 0.9, 5000)) is None
    assert "right in over 95%" in str(collapse_note(history(0.7, 0.6) + history(1.0, 0.95)))
    assert "at chance from the start" in str(collapse_note(history(1.0, 0.0)))
    assert collapse_note(history(0.9, 0.9) + history(0.5, 0.5)) is None  # it moved there
    monkeypatch.setattr(loop, "COLLAPSE_STEPS", 2)
    monkeypatch.setattr(loop, "_WON_ACCURACY", -1.0)
    lines: list[str] = []
    run(tmp_path, small(), log=lines.append)
    assert sum(line.startswith("warning: the discriminator was right") for line in lines) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "wasserstein"}, "loss: is 'wasserstein'; must be one of bce, hinge"),
        ({"precision": "fp16"}, "precision: is 'fp16'; must be one of auto, no, bf16"),
        ({"epochs": 0}, "epochs: is 0"),
        ({"sample_every": 0}, "sample_every: is 0"),
        ({"save_every": 0}, "save_every: is 0"),
        ({"steps": 0}, "steps: is 0"),
        ({"batch_size": 1}, "batch_size: is 1; must be 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate: is 0.0"),
        ({"discriminator_steps": 0}, "discriminator_steps: is 0; must be 1 or more"),
        ({"warmup_steps": -1}, "warmup_steps: is -1; must be 0 or more"),
        ({"generator_learning_rate": 0.0}, "generator_learning_rate: is 0.0; must be above 0"),
        ({"beta1": 1.0}, "beta1: is 1.0; must be at least 0 and below 1"),
        ({"beta2": -0.1}, "beta2: is -0.1"),
        ({"average_decay": 1.0}, "average_decay: is 1.0"),
        ({"seed": -1}, "seed: is -1"),
        ({"image_size": 30}, "image_size: is 30; must be a multiple of 4 for conv"),
    ],
)
def test_options_out_of_range_are_rejected(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        small(**changes)
