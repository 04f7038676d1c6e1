"""Forms in which people hold data: what is read from each, and which contradictions are errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.data.layouts import LAYOUTS, VideoListing, read_layout
from deepfake_detect.data.layouts.base import Selection
from deepfake_detect.data.layouts.trees import DFDM, KAGGLE_140K, KAGGLE_IMAGES, KODF
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts import miniatures_forms as forms
from tests.data.layouts.miniatures import assert_sound, place_video, tiny_clip, write_json


def read(root: Path) -> VideoListing:
    listing = read_layout(root)[2]
    assert_sound(listing)
    return listing


def by_method(listing: VideoListing) -> dict[tuple[str, int, str | None], int]:
    return dict(Counter((video.method, video.label, video.split) for video in listing.videos))


def people(listing: VideoListing, method: str) -> set[tuple[str | None, str | None]]:
    return {(video.target_id, video.source_id) for video in listing.videos if video.method == method}


def test_kaggle_140k_has_its_labels_from_folders(tmp_path: Path) -> None:
    listing = read(forms.make_kaggle140k(tmp_path))
    assert by_method(listing) == {
        **{("real", REAL, split): 2 for split in ("train", "val", "test")},
        **{("StyleGAN", FAKE, split): 2 for split in ("train", "val", "test")},
    }
    assert listing.videos[0].video_id == "140k-real-and-fake-faces/real/test/real/rtest1"
    assert sum(KAGGLE_140K.num_expected.values()) == 140_000
    # Its own lists, in which 1 is real, give the same labels.
    lists = tmp_path / "140k"
    for name in ("train", "valid", "test"):
        inner = lists / "real_vs_fake" / "real-vs-fake" / f"{name}.csv"
        (lists / f"{name}.csv").rename(inner)
        listed = read(inner)
        assert {video.path: video.label for video in listed.videos}.items() <= {
            video.path: video.label for video in listing.videos
        }.items()
        assert listed.notes[0] == "label 0 means fake here, as label_str says"


def test_deepfake_and_real_images(tmp_path: Path) -> None:
    listing = read(forms.make_kaggle_images(tmp_path))
    assert set(by_method(listing)) == {
        (word, label, split)
        for word, label in (("real", 0), ("fake", 1))
        for split in ("train", "val", "test")
    }
    assert sum(KAGGLE_IMAGES.num_expected.values()) == 190_335


def test_cnndetection(tmp_path: Path) -> None:
    assert by_method(read(forms.make_cnndetection(tmp_path))) == {
        **{("real", REAL, "train"): 2, ("real", REAL, "val"): 2, ("real", REAL, "test"): 4},
        **{("progan", FAKE, "train"): 2, ("progan", FAKE, "val"): 2, ("progan", FAKE, "test"): 2},
        ("stargan", FAKE, "test"): 2,
    }


def test_kodf_names_tell_people(tmp_path: Path) -> None:
    listing = read(forms.make_kodf(tmp_path))
    assert set(by_method(listing)) == {
        ("original", REAL, None),
        *((method, FAKE, None) for method in KODF.methods),
    }
    assert people(listing, "dfl") == {("100001", "100002")}
    assert people(listing, "original") == {("100001", None), ("0123456789abcdef0123", None)}
    assert listing.counts()["original"] == (4, 62_166)


def test_df_platter(tmp_path: Path) -> None:
    listing = read(forms.make_dfplatter(tmp_path))
    assert {video.compression for video in listing.videos} == {"c0", "c23"}
    assert set(by_method(listing)) == {
        (method, label, split)
        for method, label in (("real", REAL), ("FSGAN", FAKE), ("fake", FAKE))
        for split in ("train", "test")
    }


def test_deepfaketimit_and_dfdm_have_the_published_counts(tmp_path: Path) -> None:
    timit = read(forms.make_deepfaketimit(tmp_path, num_people=32, num=10))
    assert timit.counts() == {"lower_quality": (320, 320), "higher_quality": (320, 320)}
    assert ("p000", "p001") in people(timit, "lower_quality")
    assert timit.notes == ("no reals were found: they are those of VidTIMIT",)
    dfdm = read(forms.make_dfdm(tmp_path, num=430))
    assert len(dfdm.videos) == 6450
    assert set(dfdm.counts().values()) == {(430, 430)}
    assert ("Celeb-DF-v2:id28", "Celeb-DF-v2:id29") in people(dfdm, "Dfaker")
    assert set(DFDM.methods) == {video.method for video in dfdm.videos}


def test_a_forged_sound_leaves_a_face_real(tmp_path: Path) -> None:
    listing = read(forms.make_fakeavceleb(tmp_path))
    assert by_method(listing) == {
        ("RealVideo-RealAudio", REAL, None): 1,
        ("RealVideo-FakeAudio", REAL, None): 1,
        ("faceswap", FAKE, None): 1,
        ("wav2lip", FAKE, None): 1,
    }
    assert people(listing, "wav2lip") == {("id00076", "id00476")}
    assert people(listing, "RealVideo-FakeAudio") == {("id00076", None)}
    root = tmp_path / "FakeAVCeleb_v1.2"
    absent = next(path for path in root.rglob("*.mp4"))
    absent.unlink()
    place_video(root / "FakeVideo-RealAudio" / "x" / "y" / "id1" / "unlisted.mp4")
    listing = read(root)
    assert [video.path for video in listing.missing] == [absent]
    (root / "meta_data.csv").unlink()
    assert read(root).notes == ("without meta_data.csv the method of a fake is its folder",)
    assert ("FakeVideo-RealAudio", FAKE, None) in by_method(read(root))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "FakeAVCeleb/FakeVideo",
            "FakeAVCeleb/RealVideo",
            "line 4 has the type 'FakeVideo-RealAudio', but its fold",
        ),
        ("00109.mp4", "../00109.mp4", "line 2 has the path FakeAVCeleb/RealVideo-RealAudio"),
        (",00109.mp4,", ",", "line 2 has 9 cells, not 10"),
    ],
)
def test_a_damaged_list_of_fakeavceleb(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = forms.make_fakeavceleb(tmp_path)
    text = (root / "meta_data.csv").read_text()
    (root / "meta_data.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(DatasetLayoutError, match=message):
        read(root)


@pytest.mark.parametrize("name", ["metadata.json", "metadata.min.json"])
def test_lavdf_gives_the_seconds_of_forged_pictures(tmp_path: Path, name: str) -> None:
    root = forms.make_lavdf(tmp_path, name=name)
    listing = read(root)
    assert by_method(listing) == {
        (f"{picture}Video-{sound}Audio", int(picture == "Fake"), split): 1
        for picture in ("Real", "Fake")
        for sound in ("Real", "Fake")
        for split in ("train", "val", "test")
    }
    assert {(video.label, video.fake_segments) for video in listing.videos} == {(0, ()), (1, ((1.2, 1.8),))}
    assert len({video.target_id for video in listing.videos}) == 3  # fakes go with their original
    assert read(root.parent).videos == listing.videos


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fake_periods": []}, r"modify_video, modify_audio \(True, True\), but the fake_periods \[\]"),
        ({"split": "dev2"}, "has split 'dev2' and modify_video"),
        ({"modify_audio": None}, "has split 'train' and modify_video, modify_audio"),
        ({"fake_periods": [[2, 1]]}, "has segments that end before they begin"),
        ({"fake_periods": [1, 2]}, "has the segments"),
        ({"file": "../x.mp4"}, r"entry 3 \(from 0\) has no file below its folder"),
    ],
)
def test_a_damaged_list_of_lavdf(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    root = forms.make_lavdf(tmp_path)
    entries = json.loads((root / "metadata.json").read_text())
    write_json(root / "metadata.json", [*entries[:3], {**entries[3], **change}, *entries[4:]])
    with pytest.raises(DatasetLayoutError, match=message):
        read(root)


def test_av_deepfake1m_gives_the_seconds_of_the_picture_not_of_the_sound(tmp_path: Path) -> None:
    root = forms.make_avdeepfake1m(tmp_path)
    listing = read(root)
    assert set(by_method(listing)) == {
        (f"{picture}Video-{sound}Audio", int(picture == "Fake"), split)
        for picture in ("Real", "Fake")
        for sound in ("Real", "Fake")
        for split in ("train", "val")
    }
    assert {(video.label, video.fake_segments) for video in listing.videos} == {(0, ()), (1, ((2.0, 2.4),))}
    assert {video.target_id for video in listing.videos} == {"id00011", "id00012"}
    assert listing.notes == ("the videos of test have no labels: not read",)
    entries = json.loads((root / "val_metadata.json").read_text())
    for change, message in (
        ({"visual_fake_segments": []}, r"modify_type visual_modified, but the visual fake segments \[\]"),
        ({"modify_type": "lips"}, "has the modify_type 'lips'; types are real"),
    ):
        write_json(root / "val_metadata.json", [entries[0], {**entries[2], **change}])
        with pytest.raises(DatasetLayoutError, match=message):
            read(root)


def test_deepfake_eval_takes_the_truth_of_the_picture(tmp_path: Path) -> None:
    root = forms.make_deepfakeeval(tmp_path)
    listing = read(root)
    assert {(video.path.name, video.label, video.split) for video in listing.videos} == {
        *(
            ("a.mp4", REAL, "train"),
            ("b.mp4", FAKE, "test"),
            ("d.png", FAKE, "train"),
            ("e.jpg", REAL, "test"),
        ),
    }
    assert listing.notes == ("left out because their label is unknown: 1",)
    (root / "image-metadata-publish.csv").write_text(
        "Filename,Ground Truth,Finetuning Set\n../d.png,Fake,Train\n"
    )
    with pytest.raises(DatasetLayoutError, match=r"line 2 has the Filename '\.\./d.png'"):
        read(root)


def test_openforensics_reads_which_number_means_fake(tmp_path: Path) -> None:
    for number, names in enumerate((("Real", "Fake"), ("Fake", "Real"))):
        listing = read(forms.make_openforensics(tmp_path / str(number), names=names))
        found = {(video.path.name, video.label, video.split) for video in listing.videos}
        first = int(names[0] == "Fake")
        assert found == {
            *(("Train0.jpg", first, "train"), ("Train1.jpg", 1 - first, "train")),
            *(("Test-Dev0.jpg", first, "test"), ("Test-Dev1.jpg", 1 - first, "test")),
        }
        assert listing.notes == ("left out because they show both real and forged faces: 2",)
    root = tmp_path / "0" / "OpenForensics"
    content = json.loads((root / "Train_poly.json").read_text())
    for change, message in (
        ({"images": [{"id": 0, "file_name": "/etc/x.jpg"}]}, "has the file_name '/etc/x.jpg'"),
        ({"annotations": [{"image_id": 0}]}, "is not in MS-COCO's form"),
        ({"categories": [{"id": 0, "name": "cat"}]}, "image 0 has the label 'cat'"),
    ):
        write_json(root / "Train_poly.json", {**content, **change})
        with pytest.raises(DatasetLayoutError, match=message):
            read(root)


def test_forgerynet_turns_frames_into_seconds(tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path)
    root = forms.make_forgerynet(tmp_path, clip, stretches="2 0 1 0 1 2 1")
    listing = read(root)
    assert set(by_method(listing)) == {
        (method, label, split)
        for method, label in (("real", REAL), ("StyleGAN2", FAKE), ("FSGAN", FAKE))
        for split in ("train", "val")
    }
    partly = next(video for video in listing.videos if video.method == "FSGAN")
    rate = read_metadata(clip).frames_per_second
    assert [partly.label_at(frame / rate) for frame in range(3)] == [REAL, FAKE, FAKE]
    whole = read(forms.make_forgerynet(tmp_path / "whole", clip))
    assert {video.fake_segments for video in whole.videos} == {None}
    # A video that cannot be opened has no seconds.
    damaged = forms.make_forgerynet(tmp_path / "damaged", stretches="2 0 1 0 1 2 1")
    assert read(damaged).notes == ("forged in part and not readable: 2",)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "image_list.txt",
            "x.jpg 0 0 3",
            "line 1 has the binary label 0, but the sixteen-way label 3, DeepFakes",
        ),
        ("image_list.txt", "x.jpg 0", "line 1 is not a name with 3 labels"),
        ("image_list.txt", "../x.jpg 1 1 3", r"line 1 has '\.\./x.jpg' and the label 3"),
        ("image_list.txt", "x.jpg 1 1 77", "line 1 has 'x.jpg' and the label 77"),
        ("video_list.txt", "1 x.mp4 0 9 0 1 1 3", "has the label 3, DeepFakes, but the stretches 0 9 0"),
    ],
)
def test_a_damaged_list_of_forgerynet(tmp_path: Path, name: str, line: str, message: str) -> None:
    root = forms.make_forgerynet(tmp_path)
    (root / "Training" / name).write_text(f"{line}\n")
    with pytest.raises(DatasetLayoutError, match=message):
        read(root)


EMPTIERS: dict[str, Callable[[Path], Path]] = {
    "contains no file of KoDF; expected kodf_release": forms.make_kodf,
    "contains no video of FakeAVCeleb; expected RealVideo": forms.make_fakeavceleb,
    "contains none of the 12 listed videos of LAV-DF": forms.make_lavdf,
    "contains none of the 4 listed videos and images of Deepfake-Eval-2024": forms.make_deepfakeeval,
    "contains none of the 4 listed images of OpenForensics": forms.make_openforensics,
    "contains none of the 8 files listed for ForgeryNet": forms.make_forgerynet,
}


@pytest.mark.parametrize("message", EMPTIERS)
def test_a_copy_without_any_file_says_what_was_expected(tmp_path: Path, message: str) -> None:
    root = EMPTIERS[message](tmp_path)
    for path in root.rglob("*"):
        if path.suffix in (".mp4", ".jpg", ".png"):
            path.unlink()
    with pytest.raises(DatasetLayoutError, match=message):
        read(root)


def test_a_misspelled_folder_of_a_declared_tree_is_an_error(tmp_path: Path) -> None:
    root = forms.make_kaggle140k(tmp_path)
    home = root / "real_vs_fake" / "real-vs-fake"
    (home / "train" / "fake").rename(home / "train" / "faek")
    with pytest.raises(DatasetLayoutError, match="faek: is not a folder of 140k.*; rename it to fake"):
        read(root)
    kodf = forms.make_kodf(tmp_path)
    (kodf / "kodf_release" / "synthesized_videos").rename(kodf / "kodf_release" / "synthesised_videos")
    with pytest.raises(DatasetLayoutError, match="rename it to synthesized_videos"):
        read(kodf)


def test_files_that_are_not_of_a_declared_tree_are_named(tmp_path: Path) -> None:
    root = forms.make_deepfaketimit(tmp_path)
    stray = place_video(root / "lower_quality" / "p000" / "other.avi")
    listing = LAYOUTS["deepfaketimit"].read(root, Selection(methods=("lower_quality",)))
    assert listing.ignored == (stray,)
    assert listing.counts() == {"lower_quality": (4, 320)}
