from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import pytest

from deepfake_detect.data.layouts.base import Selection
from deepfake_detect.data.layouts.df40 import LAYOUT, METHODS
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import DatasetVideo
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures_more import ALL_PAIRS, make_df40, place_pictures, place_video
from tests.media import write_clip

ALL = Selection()


def rows(root: Path) -> dict[str, DatasetVideo]:
    videos = LAYOUT.read(root, ALL).videos
    assert len({video.video_id for video in videos}) == len(videos)
    return {video.video_id.removeprefix("DF40/"): video for video in videos}


def test_there_are_forty_methods() -> None:
    assert len(set(METHODS)) == 40


def test_a_row_is_a_folder_of_frames_or_a_video_or_a_single_image(tmp_path: Path) -> None:
    found = rows(make_df40(tmp_path))
    assert {name: video.path.relative_to(tmp_path).as_posix() for name, video in found.items()} == {
        "simswap/ff/953_974": "DF40/simswap/ff/frames/953_974",
        "simswap/ff/071_054": "DF40_train/simswap/frames/071_054",
        "simswap/cdf/id0_id1_0000": "DF40/simswap/cdf/frames/id0_id1_0000",
        "inswap/ff/071_953": "DF40_train/inswap/frames/071_953",
        "sd2.1/ff/953": "DF40/sd2.1/ff/953",
        "sd2.1/cdf/Fake_from_Celeb-real/id2_0001": "DF40/sd2.1/cdf/Fake_from_Celeb-real/id2_0001",
        "sd2.1/cdf/Fake_from_Youtube-real/00007": "DF40/sd2.1/cdf/Fake_from_Youtube-real/00007",
        "e4e/cdf/Celeb-real/inversions/00001.jpg": "DF40/e4e/cdf/Celeb-real/inversions/00001.jpg",
        "e4e/cdf/Celeb-real/inversions/00002.jpg": "DF40/e4e/cdf/Celeb-real/inversions/00002.jpg",
        "fomm/cdf/id3_id4_0000": "DF40/fomm/cdf/id3_id4_0000.mp4",
        "stargan/000001.png": "DF40/stargan/fake/fake/000001.png",
        "stargan/000002.png": "DF40/stargan/fake/fake/000002.png",
        "stargan_real/000001.png": "DF40/stargan/real/real/000001.png",
        "heygen/a": "DF40/heygen/heygen_new/fake/frames/a",
        "heygen_real/b": "DF40/heygen/heygen_new/real/b",
    }


def test_only_what_is_below_real_is_real(tmp_path: Path) -> None:
    """A folder Celeb-real holds fakes: images made from those reals."""
    for name, video in rows(make_df40(tmp_path)).items():
        assert video.label == (0 if "_real/" in name else 1), name
        assert video.method == name.partition("/")[0]


def test_names_show_people_by_the_names_of_their_own_datasets(tmp_path: Path) -> None:
    found = rows(make_df40(tmp_path))
    people = {name: (video.target_id, video.source_id) for name, video in found.items()}
    assert {name: pair for name, pair in people.items() if pair != (None, None)} == {
        "simswap/ff/953_974": ("FaceForensics++:953", "FaceForensics++:974"),
        "simswap/ff/071_054": ("FaceForensics++:071", "FaceForensics++:054"),
        "simswap/cdf/id0_id1_0000": ("Celeb-DF-v2:id0", "Celeb-DF-v2:id1"),
        "inswap/ff/071_953": ("FaceForensics++:071", "FaceForensics++:953"),
        "sd2.1/ff/953": ("FaceForensics++:953", None),
        "sd2.1/cdf/Fake_from_Celeb-real/id2_0001": ("Celeb-DF-v2:id2", None),
        "sd2.1/cdf/Fake_from_Youtube-real/00007": ("Celeb-DF-v2:YouTube-real/00007", None),
        "fomm/cdf/id3_id4_0000": ("Celeb-DF-v2:id3", "Celeb-DF-v2:id4"),
    }


def test_splits_are_those_of_the_people_in_faceforensics_and_else_test(tmp_path: Path) -> None:
    found = rows(make_df40(tmp_path))
    assert found["simswap/ff/071_054"].split == "train"
    assert found["simswap/ff/953_974"].split == "test"
    assert found["inswap/ff/071_953"].split is None
    others = {video.split for name, video in found.items() if "/ff/" not in name}
    assert others == {"test"}


def test_a_whole_method_is_split_as_its_originals_are(tmp_path: Path) -> None:
    for first, second in ALL_PAIRS:
        for name in (f"{first}_{second}", f"{second}_{first}"):
            place_video(tmp_path / "train" / "fsgan" / f"{name}.mp4", None)
    videos = LAYOUT.read(tmp_path, ALL).videos
    assert Counter(video.split for video in videos) == {"train": 720, "val": 140, "test": 140}


def test_the_listing_says_what_one_must_know(tmp_path: Path) -> None:
    root = make_df40(tmp_path)
    torn, repeated = LAYOUT.read(root, ALL).notes
    assert torn.startswith("1 fakes combine people of two official FaceForensics++ splits")
    assert repeated.startswith("1 have the name of another")
    (note,) = LAYOUT.read(root, Selection(methods=("fomm",))).notes
    assert "no reals were found: read those of FaceForensics++ for ff" in note


def test_methods_bring_their_own_reals(tmp_path: Path) -> None:
    listing = LAYOUT.read(make_df40(tmp_path), Selection(methods=("stargan",)))
    assert listing.counts() == {"stargan_real": (1, None), "stargan": (2, None)}


def test_folders_whose_label_cannot_be_told_are_not_read(tmp_path: Path) -> None:
    root = make_df40(tmp_path)
    place_pictures(root / "DF40" / "heygen" / "samples", ["0.png"])
    place_pictures(root / "DF40" / "fomm" / "real_mp4", ["0.png"])
    (root / "Celeb-DF-v2").mkdir()
    listing = LAYOUT.read(root, ALL)
    assert set(listing.ignored) == {root / "DF40" / "heygen" / "samples", root / "Celeb-DF-v2"}
    assert {video.method: video.label for video in listing.videos}["fomm_real"] == 0


def test_links_are_followed(tmp_path: Path) -> None:
    place_pictures(tmp_path / "elsewhere" / "frames" / "000_003", ["000.png"])
    (tmp_path / "root" / "fsgan").mkdir(parents=True)
    (tmp_path / "root" / "fsgan" / "ff").symlink_to(tmp_path / "elsewhere")
    assert rows(tmp_path / "root").keys() == {"fsgan/ff/000_003"}


def test_fake_and_real_at_once_is_an_error(tmp_path: Path) -> None:
    place_pictures(tmp_path / "stargan" / "fake" / "real", ["0.png"])
    with pytest.raises(DatasetLayoutError, match="is below both real and fake"):
        LAYOUT.read(tmp_path, ALL)


@pytest.mark.parametrize(
    ("right", "misspelled"),
    [
        ("DF40/simswap", "DF40/simswapp"),
        ("DF40/stargan/real", "DF40/stargan/Real"),
        ("DF40/simswap/cdf", "DF40/simswap/CDF"),
        ("DF40_train", "DF40_trian"),
    ],
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(
    tmp_path: Path, right: str, misspelled: str
) -> None:
    root = make_df40(tmp_path)
    (root / right).rename(root / misspelled)
    assert LAYOUT.recognize(root) is not None
    with pytest.raises(DatasetLayoutError, match=f"rename it to {Path(right).name}$"):
        LAYOUT.read(root, ALL)


def test_other_names_of_the_owners_are_known(tmp_path: Path) -> None:
    for name in ("Whichisreal", "StarGAN2", "rddm"):
        place_pictures(tmp_path / name / "fake", ["0.png"])
    methods = {video.method for video in LAYOUT.read(tmp_path, ALL).videos}
    assert methods == {"whichfaceisreal", "starganv2", "RDDM"}


def test_other_trees_and_options_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    with pytest.raises(DatasetLayoutError, match="contains none of its methods: fsgan"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        LAYOUT.read(tmp_path / "absent", ALL)
    (tmp_path / "simswap" / "ff").mkdir(parents=True)
    with pytest.raises(DatasetLayoutError, match="contains neither images nor videos of DF40"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(OptionError, match="methods: 'SimSwap' is unknown; must be one of fsgan"):
        LAYOUT.read(tmp_path, Selection(methods=("SimSwap",)))


def test_the_clips_and_images_of_a_miniature_decode(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=4)
    root = make_df40(tmp_path / "tree", clip)
    assert "simswap" in str(LAYOUT.recognize(root))
    found = rows(root)
    assert read_metadata(found["fomm/cdf/id3_id4_0000"].path).num_frames == 4
    for picture in (found["stargan/000001.png"].path, found["sd2.1/ff/953"].path / "seed1.png"):
        image = cv2.imread(str(picture))
        assert image is not None
        assert image.shape == (8, 8, 3)
