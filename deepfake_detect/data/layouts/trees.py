"""Datasets whose folders and file names say everything, as declarations; :mod:`declared` reads them.

Each names the source of its layout and of its published size.
"""

from __future__ import annotations

from deepfake_detect.data.layouts.declared import IMAGES, DeclaredTree, Place
from deepfake_detect.records import FAKE, REAL

_KODF_METHODS = ("dfl", "dffs", "fsgan", "fo", "audio-driven")
_DFDM_METHODS = ("Faceswap", "Lightweight", "IAE", "Dfaker", "DFL-H128")
_DFDM_QUALITIES = ("crf0", "crf10", "crf23")

# Kaggle, xhlulu/140k-real-and-fake-faces: 70,000 faces of FFHQ and 70,000 of StyleGAN, 256 x 256 JPEG. Its
# train.csv, valid.csv and test.csv have label 1 for real; the folders say the same in words.
KAGGLE_140K = DeclaredTree(
    name="kaggle140k",
    dataset="140k-real-and-fake-faces",
    summary="real_vs_fake/real-vs-fake/{train,valid,test}/{real,fake}/*.jpg",
    label_source="folders (the label of its CSVs is 1 for real)",
    split_source="folders train, valid and test",
    published="70,000 reals and 70,000 fakes, 50,000/10,000/10,000 each",
    source="Kaggle, xhlulu/140k-real-and-fake-faces",
    places=(
        Place(r"(?P<split>train|valid|test)/real/.+", REAL, "real"),
        Place(r"(?P<split>train|valid|test)/fake/.+", FAKE, "StyleGAN"),
    ),
    marks=("real_vs_fake/real-vs-fake", "real-vs-fake/train", "real-vs-fake/valid", "real-vs-fake/test"),
    wrappers=("real_vs_fake/real-vs-fake", "real-vs-fake"),
    levels=(("train", "valid", "test"), ("real", "fake")),
    num_expected={"real": 70_000, "StyleGAN": 70_000},
    suffixes=IMAGES,
)
# Kaggle, manjilkarki/deepfake-and-real-images: faces of OpenForensics, 256 x 256 JPEG.
KAGGLE_IMAGES = DeclaredTree(
    name="kaggle-images",
    dataset="deepfake-and-real-images",
    summary="Dataset/{Train,Validation,Test}/{Real,Fake}/*.jpg",
    label_source="folders",
    split_source="folders Train, Validation and Test",
    published="190,335 images: 140,002/39,428/10,905",
    source="Kaggle, manjilkarki/deepfake-and-real-images",
    places=(
        Place(r"(?P<split>Train|Validation|Test)/Real/.+", REAL, "real"),
        Place(r"(?P<split>Train|Validation|Test)/Fake/.+", FAKE, "fake"),
    ),
    marks=tuple(
        f"Dataset/{split}/{name}" for split in ("Train", "Validation", "Test") for name in ("Real", "Fake")
    ),
    wrappers=("Dataset",),
    levels=(("Train", "Validation", "Test"), ("Real", "Fake")),
    num_expected={
        "real": 70_001 + 19_787 + 5_413,
        "fake": 70_001 + 19_641 + 5_492,
    },
    suffixes=IMAGES,
)
# peterwang512/CNNDetection, README (CVPR 2020): ProGAN for training, and its test set of eleven generators.
# Many later detectors of generated images publish their test sets in this form.
CNN_DETECTION = DeclaredTree(
    name="cnndetection",
    dataset="CNNDetection",
    summary="[train|val|test/]<generator or category>/[<category>/]{0_real,1_fake}/*.png",
    label_source="folders 0_real and 1_fake",
    split_source="folders train, val and test, if there are any",
    published="ProGAN: 360,000 reals and as many fakes in train; 11 generators in test",
    source="peterwang512/CNNDetection, README; arXiv:1912.11035",
    places=(
        Place(r"(?P<split>train|val)/(?:.+/)?0_real/.+", REAL, "real"),
        Place(r"(?P<split>train|val)/(?:.+/)?1_fake/.+", FAKE, "progan"),
        Place(r"(?:(?P<split>test)/)?(?:.+/)?0_real/.+", REAL, "real"),
        Place(r"(?:(?P<split>test)/)?(?P<method>[^/]+)/(?:.+/)?1_fake/.+", FAKE),
        Place(r"1_fake/.+", FAKE, "fake"),
    ),
    marks=tuple(f"{'*/' * depth}{name}" for depth in range(4) for name in ("0_real", "1_fake")),
    suffixes=IMAGES,
)
# deepbrainai-research/kodf (arXiv:2103.10094): 403 people; names <actor>_<number> and
# <target>_<source>_<method>_<number>. Six models in five folders, of which audio-driven holds two.
KODF = DeclaredTree(
    name="kodf",
    dataset="KoDF",
    summary="kodf_release/original_videos/<actor>/*.mp4, kodf_release/synthesized_videos/<method>/…/*.mp4",
    label_source="folders: original_videos is 0, synthesized_videos 1",
    split_source="none",
    published="62,166 reals and 175,776 fakes of 403 people, by 6 models",
    source="deepbrainai-research/kodf; arXiv:2103.10094",
    places=(
        Place(r"original_videos/(?:.+/)?(?P<target>[^/]+)_[^/_]+", REAL, "original"),
        Place(
            r"synthesized_videos/(?P<method>[^/]+)/(?:.+/)?(?P<target>[^/_]+)_(?P<source>[^/_]+)_\d_[^/_]+",
            FAKE,
        ),
        Place(r"synthesized_videos/(?P<method>[^/]+)/.+", FAKE),
    ),
    marks=("synthesized_videos",),
    wrappers=("kodf_release",),
    levels=(("original_videos", "synthesized_videos"),),
    methods=_KODF_METHODS,
    num_expected={"original": 62_166},
)
# iab-rubric.org/old/df-platter-database (CVPR 2023). Set A: one person by FSGAN, FaceSwap or FaceShifter;
# sets B and C: several people. C23 and C40 are compressed copies.
DF_PLATTER = DeclaredTree(
    name="dfplatter",
    dataset="DF-Platter",
    summary="{C0,C23,C40}/…/{Train,Test}/{real,fake}/[<method>/]*.mp4",
    label_source="folders",
    split_source="folders Train and Test, if there are any",
    published="764 reals and 132,496 fakes: 130,696 of set A, 900 of B and 900 of C",
    source="iab-rubric.org/old/df-platter-database; CVPR 2023, pages 9739-9748",
    places=(
        Place(r"(?P<compression>C0|C23|C40)/(?:.+/)?(?P<split>Train|Val|Test)/real/.+", REAL, "real"),
        Place(r"(?P<compression>C0|C23|C40)/(?:.+/)?real/.+", REAL, "real"),
        Place(
            r"(?P<compression>C0|C23|C40)/(?:.+/)?(?P<split>Train|Val|Test)/fake/"
            r"(?:(?:.+/)?(?P<method>FSGAN|FaceSwap|FaceShifter)/)?.+",
            FAKE,
            "fake",
        ),
        Place(
            r"(?P<compression>C0|C23|C40)/(?:.+/)?fake/(?:(?:.+/)?(?P<method>FSGAN|FaceSwap|FaceShifter)/)?.+",
            FAKE,
            "fake",
        ),
    ),
    marks=tuple(
        f"{level}/{inner}{name}"
        for level in ("C0", "C23", "C40")
        for inner in ("", "*/", "*/*/")
        for name in ("real", "fake")
    ),
    methods=("FSGAN", "FaceSwap", "FaceShifter"),
)
# idiap.ch/en/scientific-research/data/deepfaketimit (arXiv:1812.08685): 32 people of VidTIMIT in 16 pairs,
# ten sentences each, by GANs of 64 and of 128 pixels.
DEEPFAKE_TIMIT = DeclaredTree(
    name="deepfaketimit",
    dataset="DeepfakeTIMIT",
    summary="{lower_quality,higher_quality}/<person>/<sentence>-video-<source>.avi",
    label_source="all are fakes",
    split_source="none",
    published="320 fakes of lower and 320 of higher quality, 32 people",
    source="idiap.ch/en/scientific-research/data/deepfaketimit; arXiv:1812.08685",
    places=(
        Place(r"(?P<method>(?:lower|higher)_quality)/(?P<target>[^/]+)/[^/]+-video-(?P<source>[^/-]+)", FAKE),
    ),
    marks=("lower_quality", "higher_quality"),
    wrappers=("DeepfakeTIMIT",),
    levels=(("lower_quality", "higher_quality"),),
    methods=("lower_quality", "higher_quality"),
    num_expected={"lower_quality": 320, "higher_quality": 320},
    no_real="no reals were found: they are those of VidTIMIT",
)
# shanface33/Deepfake_Model_Attribution (arXiv:2202.12951): five autoencoders of Faceswap on people of
# Celeb-DF-v2; names <target>_<source>_<recording>_<model>. The model of a real is 1_original, as its owners
# say in issue 1; copies often lack them.
DFDM = DeclaredTree(
    name="dfdm",
    dataset="DFDM",
    summary="DFDM_crf{0,10,23}/<model>/<target>_<source>_<recording>_<model>.mp4",
    label_source="file names: those of reals end in 1_original",
    split_source="none",
    published="6,450 fakes: 430 by each of 5 models at 3 qualities",
    source="shanface33/Deepfake_Model_Attribution, README; arXiv:2202.12951",
    places=(
        Place(r"DFDM_(?P<compression>crf\d+)/(?:.+/)?(?P<target>id\d+)_.+_original", REAL, "real"),
        Place(
            r"DFDM_(?P<compression>crf\d+)/(?P<method>[^/]+)/(?:.+/)?(?P<target>id\d+)_(?P<source>id\d+)_.+",
            FAKE,
        ),
    ),
    marks=("DFDM_crf0", "DFDM_crf10", "DFDM_crf23"),
    wrappers=("DFDM",),
    levels=(("DFDM_crf0", "DFDM_crf10", "DFDM_crf23"),),
    methods=_DFDM_METHODS,
    num_expected={f"{method} {quality}": 430 for method in _DFDM_METHODS for quality in _DFDM_QUALITIES},
    people_of="Celeb-DF-v2",
    no_real="no reals were found: they are those of Celeb-DF-v2",
)
LAYOUTS = tuple(
    tree.layout()
    for tree in (KAGGLE_140K, KAGGLE_IMAGES, CNN_DETECTION, KODF, DF_PLATTER, DEEPFAKE_TIMIT, DFDM)
)
