from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.ffpp import FORGERY_METHODS, official_split_pairs, read_ffpp
from deepfake_detect.errors import DatasetLayoutError, OptionError
from tests.data.trees import name_only_ffpp

OFFICIAL = FORGERY_METHODS[:5]


@pytest.fixture(scope="module")
def full_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name of FaceForensics++ c23, DeepFakeDetection included."""
    fakes = [name for _, a, b in official_split_pairs() for name in (f"{a}_{b}", f"{b}_{a}")]
    names = {f"manipulated_sequences/{method}/c23": fakes for method in OFFICIAL}
    names["original_sequences/youtube/c23"] = [f"{number:03d}" for number in range(1000)]
    names["original_sequences/actors/c23"] = [f"{n:02d}__walking" for n in range(363)]
    names["manipulated_sequences/DeepFakeDetection/c23"] = [
        f"01_{n:04d}__walking__ABCD{n:04d}" for n in range(3068)
    ]
    return name_only_ffpp(tmp_path_factory.mktemp("full"), names)


def test_the_full_tree_has_the_published_counts(full_tree: Path) -> None:
    listing = read_ffpp(full_tree)
    assert listing.counts() == {
        "original": (1000, 1000),
        "actors": (363, 363),
        **dict.fromkeys(OFFICIAL, (1000, 1000)),
        "DeepFakeDetection": (3068, 3068),
    }
    assert listing.missing == ()
    assert listing.ignored == ()
    splits = Counter((video.method, video.split) for video in listing.videos)
    for method in ("original", *OFFICIAL):
        assert [splits[method, split] for split in ("train", "val", "test")] == [720, 140, 140]
    assert splits["actors", None] == 363
    assert splits["DeepFakeDetection", None] == 3068


def test_a_video_of_four_methods_is_four_videos(full_tree: Path) -> None:
    videos = read_ffpp(full_tree).videos
    assert len({video.video_id for video in videos}) == len(videos)
    same_name = [video for video in videos if video.path.stem == "000_003"]
    assert len(same_name) == 5
    assert {video.video_id for video in same_name} == {f"FaceForensics++/{m}/c23/000_003" for m in OFFICIAL}


def test_labels_and_identities(full_tree: Path) -> None:
    for video in read_ffpp(full_tree).videos:
        is_real = video.method in ("original", "actors")
        assert video.label == (0 if is_real else 1)
        assert (video.source_id is None) == is_real
        if video.method in OFFICIAL:
            assert video.path.stem == f"{video.target_id}_{video.source_id}"


def test_no_identity_is_in_two_splits(full_tree: Path) -> None:
    """Target *and* source: a split by target alone leaves most test sources in training."""
    splits_of: dict[str, set[str | None]] = {}
    for video in read_ffpp(full_tree, methods=OFFICIAL).videos:
        for identity in (video.target_id, video.source_id):
            if identity is not None:
                splits_of.setdefault(identity, set()).add(video.split)
    assert len(splits_of) == 1000
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_a_partial_download_is_listed_and_counted(tmp_path: Path) -> None:
    root = name_only_ffpp(
        tmp_path,
        {
            "original_sequences/youtube/c23": ["000", "003", "extra"],
            "manipulated_sequences/Deepfakes/c23": ["000_003"],
        },
    )
    listing = read_ffpp(root)
    assert [video.video_id for video in listing.videos] == [
        "FaceForensics++/original/c23/000",
        "FaceForensics++/original/c23/003",
        "FaceForensics++/Deepfakes/c23/000_003",
    ]
    assert listing.counts()["Deepfakes"] == (1, 1000)
    assert listing.counts()["FaceShifter"] == (0, 1000)
    assert len(listing.missing) == 6000 - 3
    assert [path.name for path in listing.ignored] == ["extra.mp4"]


def test_methods_bring_their_own_reals(full_tree: Path) -> None:
    def sources(*methods: str) -> set[str]:
        return {video.method for video in read_ffpp(full_tree, methods=methods).videos}

    assert sources("FaceSwap") == {"original", "FaceSwap"}
    assert sources("DeepFakeDetection") == {"actors", "DeepFakeDetection"}


def test_each_compression_is_its_own(tmp_path: Path) -> None:
    root = name_only_ffpp(
        tmp_path, {f"original_sequences/youtube/{c}": ["000"] for c in ("raw", "c0", "c40")}
    )
    for compression in ("raw", "c0", "c40"):
        (video,) = read_ffpp(root, compression=compression).videos
        assert video.video_id == f"FaceForensics++/original/{compression}/000"
    with pytest.raises(DatasetLayoutError, match="holds no c23 video.*pass --compression raw"):
        read_ffpp(root, compression="c23")


def test_a_misspelt_folder_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    root = name_only_ffpp(
        tmp_path,
        {"original_sequences/youtube/c23": ["000"], "manipulated_sequences/Deepfake/c23": ["000_003"]},
    )
    with pytest.raises(DatasetLayoutError, match="Deepfake: is no folder.*rename it to Deepfakes"):
        read_ffpp(root)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="holds neither original_sequences nor"):
        read_ffpp(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read_ffpp(tmp_path / "absent")


def test_unknown_options_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="compression: 'c24' is unknown; choose raw, c0, c23, c40"):
        read_ffpp(tmp_path, compression="c24")
    with pytest.raises(OptionError, match="methods: 'Deepfake' is unknown; choose from Deepfakes"):
        read_ffpp(tmp_path, methods=["Deepfake"])
