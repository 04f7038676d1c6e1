"""Layouts of published files, from the names and shapes that their authors' code gives.

``published_keys.json`` is written by ``benchmarks/zoo_parity.py --keys`` with the authors' code; files whose
names are timm's own are built from timm here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from deepfake_detect.models.backbones import build_encoder, default_preprocessing
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.encoder_weights import misfits
from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.dicome import combined_evidence
from deepfake_detect.models.published.efficientnet import MapAttention, efficientnet_pytorch_b4
from deepfake_detect.models.published.encoders import clip_names
from deepfake_detect.models.published.forensics_adapter import attention_mask
from deepfake_detect.models.published.layout import Layout
from deepfake_detect.models.published.selimsef import Ensemble
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.models.zoo.convert import build_published
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.records import Preprocessing

Shapes = dict[str, tuple[int, ...]]
KEYS = json.loads(Path(__file__).with_name("published_keys.json").read_text("utf-8"))


def stored(layout: str) -> Shapes:
    """Names and shapes in a file; ``{0..2}`` stands for three numbers."""
    found: Shapes = {}
    for pattern, text in KEYS[layout].items():
        shape = tuple(int(side) for side in text.split("x")) if text else ()
        if match := re.search(r"\{(\d+)\.\.(\d+)\}", pattern):
            for number in range(int(match[1]), int(match[2]) + 1):
                found[pattern[: match.start()] + str(number) + pattern[match.end() :]] = shape
        else:
            found[pattern] = shape
    return found


def of_timm(name: str, prefix: str = "", **options: object) -> Shapes:
    with torch.device("meta"):
        network = timm.create_model(name, **options)
    return {prefix + key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def head(name: str, num_features: int, num_classes: int) -> Shapes:
    return {f"{name}.weight": (num_classes, num_features), f"{name}.bias": (num_classes,)}


def efficientnet_b4(prefix: str) -> Shapes:
    name = "efficientnet."
    return {
        prefix + key.removeprefix(name): shape
        for key, shape in stored("polimi-b4").items()
        if key.startswith(name)
    }


def attention(prefix: str) -> Shapes:
    return {f"{prefix}attconv.weight": (1, 56, 1, 1), f"{prefix}attconv.bias": (1,)}


def siamese() -> Shapes:
    norm = {f"classifier.0.{part}": (1792,) for part in ("weight", "bias", "running_mean", "running_var")}
    last = {**head("feat_ext.classifier", 1792, 1), **head("classifier.1", 1792, 1)}
    return {**efficientnet_b4("feat_ext.efficientnet."), **norm, **last}


def selimsef(network: str = "tf_efficientnet_b7", width: int = 2560) -> Shapes:
    return {**of_timm(network, "module.encoder."), **head("module.fc", width, 1)}


def xception() -> Shapes:
    names = of_timm("legacy_xception", "xception.", num_classes=1)
    return {name.replace("xception.fc.", "xception.last_linear."): shape for name, shape in names.items()}


def masked_autoencoder(name: str, **options: object) -> Shapes:
    return of_timm(name, global_pool="avg", num_classes=2, **options)


def with_adapter() -> Shapes:
    adapter = {"adapter.linear1.weight": (256, 1024), "adapter.linear2.weight": (1024, 256)}
    vit = masked_autoencoder("vit_large_patch16_224")
    return {**vit, **head("head", 2048, 2), **adapter, **head("projector", 256, 256)}


def gend_pe() -> Shapes:
    prefix = "feature_extractor.backbone."
    return {
        **of_timm("vit_pe_core_large_patch14_336", prefix, num_classes=0),
        **head("model.linear", 1024, 2),
    }


def deepguard(layout: str, efficientnet: str) -> Shapes:
    return {**stored(layout), **of_timm(efficientnet, "feat_extractor.backbone.", features_only=True)}


FILES: dict[str, Callable[[], Shapes]] = {
    "polimi-b4": lambda: stored("polimi-b4"),
    "polimi-b4-attention": lambda: {**stored("polimi-b4"), **attention("efficientnet.")},
    "polimi-b4-siamese": siamese,
    "polimi-b4-attention-siamese": lambda: {**siamese(), **attention("feat_ext.efficientnet.")},
    "polimi-xception": xception,
    "sbi-b4": lambda: {**efficientnet_b4("net."), **head("net._fc", 1792, 2)},
    "selimsef-b7": selimsef,
    "gend-clip-l": lambda: stored("gend-clip-l"),
    "gend-pe-l": gend_pe,
    "gend-dinov3-l": lambda: stored("gend-dinov3-l"),
    "effort-clip-l": lambda: stored("effort-clip-l"),
    "deepguard-b0": lambda: deepguard("deepguard-b0", "tf_efficientnet_b0"),
    "deepguard-b5": lambda: deepguard("deepguard-b5", "tf_efficientnet_b5"),
    "dicome-clip-l": lambda: stored("dicome-clip-l"),
    "forensics-adapter": lambda: stored("forensics-adapter"),
    "fsfm-vit-b": lambda: masked_autoencoder("vit_base_patch16_224"),
    "fsvfm-vit-l": lambda: masked_autoencoder("vit_large_patch16_224"),
    "fsvfm-vit-l-adapter": with_adapter,
}
SMALL = ("polimi-b4-attention-siamese", "polimi-xception", "sbi-b4")


def random_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("running_var"):
        return torch.rand(shape) + 0.5
    return torch.randn(shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5


def empty_model(layout: Layout, num_features: int) -> ForgeryClassifier:
    spec = ModelSpec(
        layout.backbone,
        default_preprocessing(layout.backbone),
        backbone_options=layout.backbone_options,
        head="linear",
        pooling=layout.pooling,
    )
    with torch.device("meta"):
        return ForgeryClassifier(spec, build_encoder(spec), num_features=num_features)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_authors_names_fits_our_network(name: str) -> None:
    layout = LAYOUTS[name]
    state = {key: torch.empty(shape, device="meta") for key, shape in FILES[name]().items()}
    converted = layout.convert(state)
    model = empty_model(layout, converted.tensors["head.weight"].shape[1])
    assert misfits(model, converted.tensors) == []
    size = model.spec.preprocessing.image_size
    assert model.eval()(torch.empty(2, 3, size, size, device="meta")).shape == (2,)
    assert set(converted.dropped) <= state.keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_random_file_gives_finite_logits(name: str) -> None:
    torch.manual_seed(0)
    state = {key: random_tensor(key, shape) for key, shape in FILES[name]().items()}
    preprocessing = Preprocessing(96, (0.5,) * 3, (0.5,) * 3)
    model, _ = build_published(
        state, LAYOUTS[name], preprocessing=preprocessing, polarity="fake", source="test"
    )
    with torch.inference_mode():
        logits = model(torch.randn(2, 3, 96, 96))
    assert bool(torch.isfinite(logits).all())
    assert logits[0] != logits[1]


def test_every_entry_names_a_layout_that_is_tested_or_refused() -> None:
    families = ("polimi", "selimsef", "sbi", "gend", "deepguard", "effort", "fsvfm", "dicome", "forensics")
    ours = [entry for name, entry in ZOO.items() if name.startswith(families)]
    assert len(ours) == 10 + 8 + 2 + 3 + 6 + 1 + 2 + 1 + 1
    assert {entry.network for entry in ours} <= {*FILES, "selimsef-b7-ensemble"}
    assert ZOO["faceforensics-xception"].refused


def test_the_published_hashes_are_at_the_end_of_the_addresses() -> None:
    entries = [entry for name, entry in ZOO.items() if name.startswith("polimi")]
    assert len({entry.files[0].sha256 for entry in entries}) == 10
    for entry in entries:
        (file,) = entry.files
        assert re.fullmatch(r".*_bestval-([0-9a-f]{64})\.pth", file.address)[1] == file.sha256


def test_dinov3_is_read_with_names_of_both_releases_of_transformers() -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in stored("gend-dinov3-l").items()}
    older = {key.replace("backbone.model.layer.", "backbone.layer."): one for key, one in state.items()}
    assert older.keys() != state.keys()
    layout = LAYOUTS["gend-dinov3-l"]
    assert layout.convert(older).tensors.keys() == layout.convert(state).tensors.keys()


def test_query_key_and_value_are_joined_in_that_order() -> None:
    layer = "encoder.layers.0.self_attn."
    state = {
        **{f"{layer}{part}_proj.weight": torch.full((2, 2), float(n)) for n, part in enumerate("qkv")},
        **{f"{layer}{part}_proj.bias": torch.full((2,), float(n)) for n, part in enumerate("qkv")},
        "embeddings.class_embedding": torch.zeros(2),
        "embeddings.position_embedding.weight": torch.zeros(5, 2),
    }
    found = clip_names(state)
    assert found["blocks.0.attn.qkv.bias"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["blocks.0.attn.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["pos_embed"].shape == (1, 5, 2)


def test_a_siamese_head_is_its_normalization_and_its_linear_layer() -> None:
    torch.manual_seed(0)
    shapes = {name: shape for name, shape in siamese().items() if name.startswith("classifier.")}
    state = {name: random_tensor(name, shape) for name, shape in shapes.items()}
    tensors = LAYOUTS["polimi-b4-siamese"].convert(state).tensors
    theirs = nn.Sequential(nn.BatchNorm1d(1792), nn.Linear(1792, 1)).eval()
    theirs.load_state_dict(
        {name.removeprefix("classifier."): one for name, one in state.items()}, strict=False
    )
    features = torch.randn(3, 1792)
    ours = nn.functional.linear(features, tensors["head.weight"], tensors["head.bias"])
    torch.testing.assert_close(ours, theirs(features), rtol=0, atol=1e-5)


def test_effort_adds_the_trained_direction_to_the_fixed_weight() -> None:
    names = stored("effort-clip-l")
    state = {key: torch.empty(shape, device="meta") for key, shape in names.items()}
    layer = "backbone.encoder.layers.3.self_attn.out_proj."
    torch.manual_seed(0)
    for part in ("weight_main", "S_residual", "U_residual", "V_residual"):
        state[layer + part] = torch.randn(names[layer + part])
    weight = LAYOUTS["effort-clip-l"].convert(state).tensors["encoder.blocks.3.attn.proj.weight"]
    outer = torch.outer(state[f"{layer}U_residual"][:, 0], state[f"{layer}V_residual"][0])
    torch.testing.assert_close(weight, state[f"{layer}weight_main"] + state[f"{layer}S_residual"] * outer)


def test_files_of_an_ensemble_fit_our_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_NETWORK", "tf_efficientnet_b0"), ("_FEATURES", 1280), ("_NUM_NETWORKS", 2)):
        monkeypatch.setattr(f"deepfake_detect.models.published.selimsef.{name}", value)
    one = selimsef("tf_efficientnet_b0", 1280)
    state = {f"{n}.{key}": torch.empty(shape) for n in range(2) for key, shape in one.items()}
    layout = LAYOUTS["selimsef-b7-ensemble"]
    converted = layout.convert(state)
    assert misfits(empty_model(layout, 1), converted.tensors) == []
    assert set(converted.dropped) == {
        f"{n}.module.encoder.classifier.{part}" for n in range(2) for part in ("weight", "bias")
    }


def test_low_rank_updates_are_added_to_their_weights() -> None:
    names = stored("dicome-clip-l")
    state = {key: torch.empty(shape, device="meta") for key, shape in names.items()}
    (layer,) = [n for n in names if n.endswith("layers.2.self_attn.v_proj.base_layer.weight")]
    torch.manual_seed(0)
    state[layer] = torch.randn(names[layer])
    up, down = (layer.replace("base_layer", f"lora_{letter}.default") for letter in "BA")
    for part in ("q", "k"):
        for name in names:
            if f"layers.2.self_attn.{part}_proj" in name and name.endswith("weight"):
                state[name] = torch.zeros(names[name])
    state[up], state[down] = torch.randn(names[up]), torch.randn(names[down])
    joined = LAYOUTS["dicome-clip-l"].convert(state).tensors["encoder.encoder.blocks.2.attn.qkv.weight"]
    expected = state[layer] + 2 * torch.einsum("or,ri->oi", state[up], state[down])
    torch.testing.assert_close(joined[2048:], expected)
    assert not joined[:2048].any()


def test_older_names_of_dicome_are_read() -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in stored("dicome-clip-l").items()}
    older = {
        key.replace("model.semantic_manifold_projector.", "model.beta_vae."): one
        for key, one in state.items()
    }
    assert older.keys() != state.keys()
    layout = LAYOUTS["dicome-clip-l"]
    assert layout.convert(older).tensors.keys() == layout.convert(state).tensors.keys()


def test_evidence_of_two_views_is_combined_by_dempsters_rule() -> None:
    torch.manual_seed(0)
    evidence = torch.rand(2, 2, dtype=torch.float64) * 5  # views, classes
    strength = evidence.sum(1) + 2
    (a, b), (u, v) = evidence / strength[:, None], 2 / strength
    agreement = 1 - (torch.outer(a, b).sum() - (a * b).sum())
    belief, doubt = (a * b + a * v + b * u) / agreement, u * v / agreement
    expected = belief * 2 / doubt + 1
    torch.testing.assert_close(combined_evidence(*evidence), expected)


def test_queries_are_read_by_themselves_alone() -> None:
    biases = torch.randn(1, 16, 128, 256)
    mask = attention_mask(biases)[0, 3]
    assert torch.equal(mask[:128, 129:], biases[0, 3])
    assert mask[5, 5] == 0
    assert (mask[5, [*range(5), *range(6, 129)]] == -100).all()
    assert (mask[128:, :128] == -100).all()
    assert not mask[128:, 128:].any()


def test_the_ensemble_gives_the_logit_of_the_mean_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    features = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2560))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: features)
    torch.manual_seed(0)
    ensemble = Ensemble()
    images = 100 * torch.randn(4, 3, 8, 8)
    probabilities = torch.stack([torch.sigmoid(one(features(images))) for one in ensemble.heads])
    torch.testing.assert_close(torch.sigmoid(ensemble(images)), probabilities.mean(0))


def test_attention_multiplies_a_map_by_one_weight_a_position() -> None:
    torch.manual_seed(0)
    layer, images = MapAttention(5), torch.randn(2, 5, 3, 3)
    weights = torch.sigmoid(
        torch.einsum("nchw,c->nhw", images, layer.conv.weight[0, :, 0, 0]) + layer.conv.bias
    )
    torch.testing.assert_close(layer(images), images * weights[:, None])


def test_efficientnet_pytorch_pads_as_for_380_pixels() -> None:
    with torch.device("meta"):
        ours, timms = efficientnet_pytorch_b4(), timm.create_model("tf_efficientnet_b4", num_classes=0)
    assert ours.state_dict().keys() == timms.state_dict().keys()
    layer = ours.get_submodule("blocks.2.0.conv_dw")
    assert layer.padding == (2, 2)  # a map of 95 pixels needs 4, one of 56 pixels would need 3
    assert layer.stride == (2, 2)
