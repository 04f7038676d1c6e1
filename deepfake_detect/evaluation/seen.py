"""What a detector's file tells of the videos it was trained and selected on, and those measured."""

from __future__ import annotations

from deepfake_detect.data.compare_names import splits_of
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.models.config import TrainingFacts

CALIBRATED_USE = "calibrated"
_USES = {"train": "trained", "val": "selected", CALIBRATED_USE: "calibrated"}
_CONSEQUENCE = "these figures do not tell how it does on new ones"


def seen_notes(training: TrainingFacts, measured: Manifest) -> tuple[str, ...]:
    """Return a line for each use the detector has made of measured videos; none is good news.

    A detector's file holds a digest of every video it was trained, selected and calibrated on. An
    older one holds a hash of each set alone: there the videos are known again only where the
    measured rows, or a split of the file that they belong to, hold exactly those; some of them among
    others are not noticed, and a line says so.

    Args:
        training: ``DetectorConfig.training``.
        measured: Rows that are measured.

    Returns:
        Lines that begin with the manifest's path.
    """
    digests = set(video_digests(measured))
    known = {use: digests & training.digests(use) for use in _USES}
    if known[CALIBRATED_USE] <= known["val"]:
        known[CALIBRATED_USE] = set()  # training calibrates on what it selects on: once is enough
    notes = [
        f"{measured.path}: the detector was {_USES[use]} on {len(found):,} of the {len(digests):,} "
        f"measured videos: {_CONSEQUENCE}"
        for use, found in known.items()
        if found
    ]
    if "train" not in (training.video_sha256_prefixes or {}):
        notes += _notes_by_whole_sets(training, measured)
        notes.append(
            f"{measured.path}: the detector's file does not tell one by one which videos it was trained "
            "on: some of the measured ones may be among them"
        )
    return tuple(notes)


def _notes_by_whole_sets(training: TrainingFacts, measured: Manifest) -> tuple[str, ...]:
    hashes = {use: getattr(training, f"{name}_videos_sha256") for name, use in _USES.items()}
    uses = {digest: use for use, digest in hashes.items() if digest is not None}
    if not uses:
        return ()
    whole = read_manifest(measured.path)
    parts = {"the measured rows": measured}
    parts |= {f"split {name}": whole.split(name) for name in splits_of(measured)}
    told: dict[str, str] = {}
    for words, part in parts.items():
        use = uses.get(part.video_ids_sha256())
        if use is not None:
            told.setdefault(use, words)  # the rows themselves come before their split
    return tuple(
        f"{measured.path}: the detector was {use} on the videos of {words}: {_CONSEQUENCE}"
        for use, words in told.items()
    )
