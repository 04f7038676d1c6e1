from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.ffpp import FORGERY_METHODS, LAYOUT, official_split_pairs
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures_more import (
    ALL_PAIRS,
    DFD_FAKES,
    NUMBERED_METHODS,
    make_dfd,
    make_ffpp,
    make_ffpp_mirror,
    place_video,
    write_mirror_list,
    write_splits,
)
from tests.media import write_clip


def read(
    root: Path, methods: tuple[str, ...] | None = None, compressions: tuple[str, ...] | None = None
) -> VideoListing:
    return LAYOUT.read(root, Selection(methods=methods, compressions=compressions))


def place(root: Path, *names: str) -> Path:
    for name in names:
        place_video(root / f"{name}.mp4", None)
    return root


@pytest.fixture(scope="module")
def full_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name of FaceForensics++ c23, DeepFakeDetection included."""
    root = make_ffpp(tmp_path_factory.mktemp("full"), pairs=ALL_PAIRS)
    return make_dfd(
        root,
        reals=[f"{n:02d}__walking" for n in range(363)],
        fakes=[f"01_02__walking__ABCD{n:04d}" for n in range(3068)],
    )


def test_the_full_tree_has_the_published_counts(full_tree: Path) -> None:
    listing = read(full_tree)
    assert listing.counts() == {
        "original c23": (1000, 1000),
        "actors c23": (363, 363),
        **dict.fromkeys([f"{method} c23" for method in NUMBERED_METHODS], (1000, 1000)),
        "DeepFakeDetection c23": (3068, 3068),
    }
    assert listing.missing == ()
    assert listing.ignored == ()
    assert listing.notes == ()
    splits = Counter((video.method, video.split) for video in listing.videos)
    for method in ("original", *NUMBERED_METHODS):
        assert [splits[method, split] for split in ("train", "val", "test")] == [720, 140, 140]
    assert splits["actors", None] == 363
    assert splits["DeepFakeDetection", None] == 3068


def test_a_video_of_four_methods_is_four_videos(full_tree: Path) -> None:
    videos = read(full_tree).videos
    assert len({video.video_id for video in videos}) == len(videos)
    same_name = [video for video in videos if video.path.stem == "000_003"]
    assert len(same_name) == 5
    assert {video.video_id for video in same_name} == {
        f"FaceForensics++/{method}/c23/000_003" for method in NUMBERED_METHODS
    }


def test_labels_and_identities(full_tree: Path) -> None:
    for video in read(full_tree).videos:
        is_real = video.method in ("original", "actors")
        assert video.label == (0 if is_real else 1)
        assert (video.source_id is None) == is_real
        if video.method in NUMBERED_METHODS:
            assert video.path.stem == f"{video.target_id}_{video.source_id}"
        if video.method == "DeepFakeDetection":
            assert (video.target_id, video.source_id) == ("actor01", "actor02")


def test_no_identity_is_in_two_splits(full_tree: Path) -> None:
    """Target *and* source: a split by target alone leaves most test sources in training."""
    splits_of: dict[str, set[str | None]] = {}
    for video in read(full_tree, methods=NUMBERED_METHODS).videos:
        for identity in (video.target_id, video.source_id):
            if identity is not None:
                splits_of.setdefault(identity, set()).add(video.split)
    assert len(splits_of) == 1000
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_a_partial_download_is_listed_and_counted(tmp_path: Path) -> None:
    names = [f"{a}_{b}" for a, b in ALL_PAIRS[:412]]
    place(tmp_path / "manipulated_sequences" / "Deepfakes" / "c23" / "videos", *names, "extra")
    place(tmp_path / "original_sequences" / "youtube" / "c23" / "videos", "000", "003")
    listing = read(tmp_path)
    assert [video.video_id for video in listing.videos[:3]] == [
        "FaceForensics++/original/c23/000",
        "FaceForensics++/original/c23/003",
        "FaceForensics++/Deepfakes/c23/" + min(names),
    ]
    assert listing.counts()["Deepfakes c23"] == (412, 1000)
    assert listing.counts()["FaceShifter c23"] == (0, 1000)
    assert "actors c23" not in listing.counts()
    assert len(listing.missing) == 6000 - 414
    assert [path.name for path in listing.ignored] == ["extra.mp4"]


def test_suffixes_may_be_in_any_case(tmp_path: Path) -> None:
    top = tmp_path / "manipulated_sequences" / "Deepfakes"
    upper = [
        place_video(tmp_path / "original_sequences" / "youtube" / "c23" / "videos" / "000.MP4", None),
        place_video(top / "c23" / "videos" / "000_003.Mp4", None),
    ]
    mask = place_video(top / "masks" / "videos" / "000_003.MP4", None)
    listing = read(tmp_path, methods=("Deepfakes",))
    assert [video.path for video in listing.videos] == upper
    assert listing.videos[1].mask_path == mask
    assert listing.videos[1].video_id == "FaceForensics++/Deepfakes/c23/000_003"
    assert listing.ignored == ()
    assert len(listing.missing) == 2000 - 2
    # Of two files of one name the one spelt as the owners do is the video.
    usual = place_video(upper[0].with_suffix(".mp4"), None)
    listing = read(tmp_path, methods=("Deepfakes",))
    assert (listing.videos[0].path, listing.ignored) == (usual, (upper[0],))


def test_methods_bring_their_own_reals(full_tree: Path) -> None:
    def sources(*methods: str) -> set[str]:
        return {video.method for video in read(full_tree, methods=methods).videos}

    assert sources("FaceSwap") == {"original", "FaceSwap"}
    assert sources("DeepFakeDetection") == {"actors", "DeepFakeDetection"}


def test_every_level_that_is_there_is_read(tmp_path: Path) -> None:
    make_ffpp(tmp_path, compressions=("raw", "c40"))
    videos = read(tmp_path).videos
    assert Counter(video.compression for video in videos) == {"raw": 36, "c40": 36}
    assert len({video.video_id for video in videos}) == 72
    assert {video.compression for video in read(tmp_path, compressions=("c40",)).videos} == {"c40"}


def test_a_level_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    make_ffpp(tmp_path, compressions=("raw", "c0"))
    with pytest.raises(DatasetLayoutError, match="contains no c23 video.*pass raw or c0 as `compression`"):
        read(tmp_path, compressions=("c23",))
    with pytest.raises(
        DatasetLayoutError, match="contains no video of actors, DeepFakeDetection; put videos"
    ):
        read(tmp_path, methods=("DeepFakeDetection",))


def test_deepfakedetection_is_expected_where_something_of_it_is_there(tmp_path: Path) -> None:
    make_ffpp(tmp_path, compressions=("c23", "c40"))
    place(tmp_path / "original_sequences" / "actors" / "c40" / "videos", "01__walking", "stray")
    counts = read(tmp_path).counts()
    assert counts["actors c40"] == (1, 363)
    assert counts["DeepFakeDetection c23"] == (0, 3068)
    assert [path.name for path in read(tmp_path).ignored] == ["stray.mp4"]


def test_masks_are_next_to_the_levels_and_have_the_name_of_their_video(tmp_path: Path) -> None:
    make_ffpp(tmp_path, compressions=("c23", "c40"), with_dfd=True, with_masks=True)
    masks = tmp_path / "manipulated_sequences" / "Face2Face" / "masks" / "videos"
    (masks / "071_054.mp4").unlink()
    with_mask = Counter(video.method for video in read(tmp_path).videos if video.mask_path)
    assert with_mask == {
        **{"Deepfakes": 12, "Face2Face": 10, "FaceSwap": 12, "NeuralTextures": 12},
        "DeepFakeDetection": 4,
    }
    (low,) = (v for v in read(tmp_path).videos if v.video_id == "FaceForensics++/Face2Face/c40/054_071")
    assert low.mask_path == masks / "054_071.mp4"


def test_the_mirror_is_read_with_the_same_names(tmp_path: Path) -> None:
    dfd = [f"01_02__walking__ABCD{n:04d}" for n in range(1000)]
    make_ffpp_mirror(tmp_path, pairs=ALL_PAIRS, dfd_names=dfd)
    for root in (tmp_path, tmp_path / "FaceForensics++_C23"):
        listing = read(root)
        assert set(listing.counts().values()) == {(1000, 1000)}
        assert len(listing.videos) == 7000
        assert not listing.missing
        assert not listing.ignored
    assert {video.method for video in listing.videos if video.label == 0} == {"original"}
    assert "FaceForensics++/Deepfakes/c23/000_003" in {video.video_id for video in listing.videos}
    assert Counter(v.split for v in listing.videos) == {"train": 4320, "val": 840, "test": 840, None: 1000}
    assert "none of the originals" in listing.notes[0]


def test_a_partial_mirror_knows_what_its_list_names(tmp_path: Path) -> None:
    make_ffpp_mirror(tmp_path)
    top = tmp_path / "FaceForensics++_C23"
    (top / "DeepFakeDetection" / f"{DFD_FAKES[0]}.mp4").unlink()
    listing = read(tmp_path, methods=("DeepFakeDetection",))
    assert listing.counts() == {"DeepFakeDetection c23": (1, 1000)}
    assert [video.path.stem for video in listing.missing] == [DFD_FAKES[0]]
    (top / "csv" / "FF++_Metadata.csv").unlink()
    assert read(tmp_path, methods=("DeepFakeDetection",)).missing == ()
    with pytest.raises(DatasetLayoutError, match="contains no raw video.*pass c23 as `compression`"):
        read(tmp_path, compressions=("raw",))


@pytest.mark.parametrize(("file", "label"), [("original/071.mp4", "FAKE"), ("Deepfakes/071_054.mp4", "REAL")])
def test_a_list_that_contradicts_the_folders_is_an_error(tmp_path: Path, file: str, label: str) -> None:
    top = make_ffpp_mirror(tmp_path) / "FaceForensics++_C23"
    path = write_mirror_list(top, [("original/054.mp4", "REAL"), (file, label)])
    with pytest.raises(DatasetLayoutError, match=f"labels {file} {label}, but its folder means"):
        read(tmp_path)
    path.write_text(path.read_text()[: path.read_text().index(file)] + "\n")
    with pytest.raises(DatasetLayoutError, match="labels None, but its folder means FAKE"):
        read(tmp_path)
    path.write_text("name,label\n")
    with pytest.raises(
        DatasetLayoutError, match="lacks the columns File Path, Label; it needs File Path, Label"
    ):
        read(tmp_path)


@pytest.mark.parametrize("folder", [".", "splits", "dataset/splits"])
def test_split_files_take_the_place_of_the_official_split(tmp_path: Path, folder: str) -> None:
    make_ffpp(tmp_path)
    write_splits(
        tmp_path / folder, train=[("071", "720"), ("953", "974")], val=[("054", "000")], test=[("672", "001")]
    )
    listing = read(tmp_path, methods=("Deepfakes",))
    assert {video.path.stem: video.split for video in listing.videos} == {
        **{"071": "train", "720": "train", "953": "train", "974": "train", "054": "val", "672": "test"},
        # Their people are in two parts.
        **{"071_054": None, "054_071": None, "720_672": None, "672_720": None},
        **{"953_974": "train", "974_953": "train"},
    }
    # 000 and 001 are named and not there, 992 are not named at all; only 071 is where it was.
    assert "they differ from the official ones for 999 identities" in listing.notes[0]


def official_pairs_of(part: str) -> list[tuple[str, str]]:
    return [(first, second) for split, first, second in official_split_pairs() if split == part]


def test_without_all_split_files_the_official_split_fills_the_rest(tmp_path: Path) -> None:
    make_ffpp(tmp_path)
    write_splits(tmp_path / "splits", train=official_pairs_of("train"))
    listing = read(tmp_path)
    assert Counter(video.split for video in listing.videos) == {"train": 12, "val": 12, "test": 12}
    assert listing.notes == (
        f"splits are those of train.json in {tmp_path / 'splits'}: "
        "the 280 identities that they do not name keep their official split",
    )


def test_the_official_split_never_contradicts_the_split_files_that_are_there(tmp_path: Path) -> None:
    make_ffpp(tmp_path)
    # Of train without 054, with 720 of val; 672 of val and those of test are named nowhere.
    pairs = [pair for pair in official_pairs_of("train") if "054" not in pair]
    write_splits(tmp_path, train=[*pairs, ("071", "720")])
    listing = read(tmp_path, methods=("Deepfakes",))
    assert {video.path.stem: video.split for video in listing.videos} == {
        **{"071": "train", "720": "train", "672": "val", "953": "test", "974": "test"},
        **{"054": None, "071_054": None, "054_071": None, "720_672": None, "672_720": None},
        **{"953_974": "test", "974_953": "test"},
    }
    assert listing.notes[0].endswith(
        "they differ from the official ones for 2 identities; "
        "the 279 identities that they do not name keep their official split"
    )


def test_split_files_like_the_official_split_change_nothing(tmp_path: Path) -> None:
    make_ffpp(tmp_path)
    official: dict[str, list[tuple[str, str]]] = {"train": [], "val": [], "test": []}
    for split, first, second in official_split_pairs():
        official[split].append((second, first))
    write_splits(tmp_path / "splits", **official)
    assert read(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('[["071", "054"', "is damaged"),
        ('{"071": "054"}', "instead of a pair of identities"),
        ('[["071", "054"], ["000"]]', r'contains \["000"\] instead of a pair'),
        ("[[71, 54]]", "instead of a pair of identities"),
    ],
)
def test_damaged_split_files_are_rejected(tmp_path: Path, text: str, cause: str) -> None:
    make_ffpp(tmp_path)
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DatasetLayoutError, match=f"train.json: .*{cause}.*download it again"):
        read(tmp_path)


def test_an_identity_in_two_split_files_is_rejected(tmp_path: Path) -> None:
    make_ffpp(tmp_path)
    write_splits(tmp_path, train=[("071", "054")], test=[("054", "000")])
    with pytest.raises(DatasetLayoutError, match="test.json: names 054, as train.json does"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("misspelled", "right"),
    [
        ("manipulated_sequenecs/Deepfakes/c23/videos", "manipulated_sequences"),
        ("manipulated_sequences/Deepfake/c23/videos", "Deepfakes"),
        ("manipulated_sequences/Deepfakes/C23/videos", "c23"),
        ("manipulated_sequences/Deepfakes/c23/video", "videos"),
        ("manipulated_sequences/Deepfakes/mask/videos", "masks"),
    ],
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(
    tmp_path: Path, misspelled: str, right: str
) -> None:
    place(tmp_path / "original_sequences" / "youtube" / "c23" / "videos", "000")
    place(tmp_path / misspelled, "000_003")
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(DatasetLayoutError, match=f"is not a folder of.*rename it to {right}$"):
        read(tmp_path)


def test_a_misspelled_folder_of_the_mirror_is_named_too(tmp_path: Path) -> None:
    top = make_ffpp_mirror(tmp_path) / "FaceForensics++_C23"
    (top / "Deepfakes").rename(top / "Deepfake")
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(DatasetLayoutError, match="Deepfake: is not a folder.*rename it to Deepfakes"):
        read(tmp_path)


def test_a_folder_of_another_kind_is_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    with pytest.raises(DatasetLayoutError, match="contains neither original_sequences nor"):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


def test_the_trees_are_recognized_by_their_folders(tmp_path: Path) -> None:
    assert "download script" in str(LAYOUT.recognize(make_ffpp(tmp_path / "official")))
    assert "Kaggle mirror" in str(LAYOUT.recognize(make_ffpp_mirror(tmp_path / "mirror")))


def test_unknown_options_are_rejected_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="compression: 'c24' is unknown; must be one of raw, c0, c23, c40"):
        read(tmp_path, compressions=("c24",))
    with pytest.raises(OptionError, match="methods: 'Deepfake' is unknown; must be one of Deepfakes"):
        read(tmp_path, methods=("Deepfake",))
    with pytest.raises(OptionError, match="methods: is empty"):
        read(tmp_path, methods=())
    with pytest.raises(OptionError, match="fake_label: applies only to CSV files, and this is FaceForensics"):
        LAYOUT.read(tmp_path, Selection(fake_label="1"))


def test_the_clips_of_a_miniature_decode(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=4)
    make_ffpp(tmp_path / "official", clip, with_dfd=True, with_masks=True)
    listing = read(tmp_path / "official")
    assert {video.method for video in listing.videos} == {"original", "actors", *FORGERY_METHODS}
    for video in (listing.videos[0], listing.videos[-1]):
        assert read_metadata(video.path).num_frames == 4
    assert listing.videos[-1].mask_path is not None
    assert read_metadata(listing.videos[-1].mask_path).num_frames == 4
