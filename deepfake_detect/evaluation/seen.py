"""Evaluated videos that a detector was trained, selected or calibrated on."""

from __future__ import annotations

from deepfake_detect.data.compare_names import splits_of
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.models.config import TrainingFacts

CALIBRATED_USE = "calibrated"
_USES = {"train": "trained", "val": "selected", CALIBRATED_USE: "calibrated"}
_CONSEQUENCE = "these figures do not show how it performs on new videos"


def seen_notes(training: TrainingFacts, measured: Manifest) -> tuple[str, ...]:
    """Return a warning for each earlier use that the detector made of evaluated videos.

    A detector file records a digest of every video that it was trained, selected and calibrated on.
    Older files record only a hash of each set: their videos are recognized if the evaluated rows, or a
    split that these belong to, are exactly that set. A warning states that single videos would not be.
    """
    digests = set(video_digests(measured))
    known = {use: digests & training.digests(use) for use in _USES}
    if known[CALIBRATED_USE] <= known["val"]:  # training calibrates on the videos it selects on
        del known[CALIBRATED_USE]
    notes = [
        f"{measured.path}: the detector was {_USES[use]} on {len(found):,} of the {len(digests):,} "
        f"evaluated videos: {_CONSEQUENCE}"
        for use, found in known.items()
        if found
    ]
    if "train" not in (training.video_sha256_prefixes or {}):
        notes += _notes_by_whole_sets(training, measured)
        notes.append(
            f"{measured.path}: the detector file does not list the videos it was trained on: some of the "
            "evaluated videos may be among them"
        )
    return tuple(notes)


def _notes_by_whole_sets(training: TrainingFacts, measured: Manifest) -> tuple[str, ...]:
    hashes = {use: getattr(training, f"{name}_videos_sha256") for name, use in _USES.items()}
    uses = {digest: use for use, digest in hashes.items() if digest is not None}
    if not uses:
        return ()
    whole = read_manifest(measured.path)
    parts = {"the evaluated rows": measured}
    parts |= {f"split {name}": whole.split(name) for name in splits_of(measured)}
    found: dict[str, str] = {}
    for words, part in parts.items():
        use = uses.get(part.video_ids_sha256())
        if use is not None:
            found.setdefault(use, words)  # the rows themselves come before their split
    return tuple(
        f"{measured.path}: the detector was {use} on the videos of {words}: {_CONSEQUENCE}"
        for use, words in found.items()
    )
