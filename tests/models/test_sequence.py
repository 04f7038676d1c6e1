from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepfake_detect.errors import OptionError
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.sequence import SequenceClassifier, create_sequence_model
from deepfake_detect.models.spec import SequenceSpec
from deepfake_detect.records import CropGeometry


@pytest.fixture(scope="module", params=["lstm", "transformer"])
def model(request: pytest.FixtureRequest) -> SequenceClassifier:
    torch.manual_seed(0)
    built = create_sequence_model("test_resnet", temporal=request.param, hidden=32, image_size=64)
    with torch.no_grad():
        for parameter in built.head.parameters():
            parameter.mul_(3)  # logits that differ
    return built


def clips(count: int, steps: int) -> torch.Tensor:
    return 3 * torch.randn(count, steps, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_padding_never_changes_a_logit(model: SequenceClassifier) -> None:
    images = clips(3, 5)
    lengths = torch.tensor([5, 2, 3])
    with torch.inference_mode():
        model.eval()
        logits = model(images, lengths)
        alone = torch.cat([model(images[n : n + 1, :length]) for n, length in enumerate(lengths.tolist())])
        images[1, 2:] = torch.nan
        again = model(images, lengths)
    assert logits.unique().numel() == 3
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)
    assert torch.equal(logits, again)


def test_padding_does_not_reach_batch_norm(model: SequenceClassifier) -> None:
    images = clips(2, 4)
    logits = []
    for padding in (0.0, 100.0):
        images[1, 1:] = padding
        torch.manual_seed(3)
        with torch.no_grad():
            logits.append(model.train()(images, torch.tensor([4, 1])))
    assert torch.equal(*logits)


def test_crops_matter_and_so_does_their_order(model: SequenceClassifier) -> None:
    images = clips(1, 6)
    with torch.inference_mode():
        model.eval()
        logit, reversed_, other = model(images), model(images.flip(1)), model(clips(2, 6)[1:])
    assert abs(logit - reversed_) > 1e-4
    assert abs(logit - other) > 1e-4


def test_gradients_reach_the_encoder_unless_it_is_frozen(model: SequenceClassifier) -> None:
    for frozen in (False, True):
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
        model.encoder.requires_grad_(not frozen)
        model.train()(clips(2, 3), torch.tensor([3, 2])).sum().backward()
        assert all((p.grad is None) == frozen for p in model.encoder.parameters())
        assert all(p.grad is not None for p in model.head.parameters())
    held = {id(p) for _, block in model.blocks() for p in block.parameters()}
    assert held == {id(p) for p in model.encoder.parameters()}


def test_it_is_stored_as_any_detector(model: SequenceClassifier, tmp_path: Path) -> None:
    config = DetectorConfig("x", "1", model.spec, CropGeometry())
    save_detector(tmp_path / "d.safetensors", model, config)
    again, stored = read_detector(tmp_path / "d.safetensors")
    assert isinstance(again, SequenceClassifier)
    assert stored.model == model.spec
    images, lengths = clips(2, 3), torch.tensor([1, 3])
    with torch.inference_mode():
        assert torch.equal(model.eval()(images, lengths), again(images, lengths))


def test_the_published_recipe() -> None:
    """512 features a crop, LSTM(1024), 1024, 32, 1."""
    model = create_sequence_model("facenet")
    assert model.spec.sequence == SequenceSpec("lstm", 1024, 1)
    assert (model.head.lstm.input_size, model.head.lstm.hidden_size) == (512, 1024)
    widths = [layer.out_features for layer in model.head.project if isinstance(layer, torch.nn.Linear)]
    assert widths == [1024, 32, 1]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 4], r"lengths: are \[1, 4\] for clips of 3; pass 1 to 3"),
        ([0, 3], r"lengths: are \[0, 3\]"),
        ([3], r"lengths: have the shape \(1,\); pass one for each of 2 clips"),
    ],
)
def test_lengths_out_of_range_are_refused(
    model: SequenceClassifier, lengths: list[int], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        model(clips(2, 3), torch.tensor(lengths))


def test_single_crops_are_refused(model: SequenceClassifier) -> None:
    with pytest.raises(OptionError, match=r"images: have the shape \(2, 3, 64, 64\); pass clips"):
        model(torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "gru"}, "temporal: 'gru' is unknown; must be one of lstm, transformer"),
        ({"hidden": 0}, "hidden: is 0; must be 1 or more"),
        ({"num_layers": -1}, "num_layers: is -1"),
        ({"temporal": "transformer", "hidden": 30}, "hidden: is 30; must be a multiple of 4"),
        ({"dropout": 1.0}, "dropout: is 1.0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        create_sequence_model("test_resnet", **options)  # type: ignore[arg-type]
