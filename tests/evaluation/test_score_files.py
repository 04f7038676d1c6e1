"""Scores of any tool, read and measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation import Coverage, ScoreTable, evaluate_scores, video_samples
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.score_files import read_scores, write_scores

HEADER = "video_id,dataset,method,label,frame_index,fake_probability"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def csv(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def scored(path: Path):
    file = read_scores(path)
    return evaluate_scores(file.table, file.coverage, threshold=0.5, aggregation_rule="mean", num_resamples=5)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_four_methods_that_share_a_name_give_the_true_auc(kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    videos = [("youtube", f"{n:03d}", 0, 0.5) for n in range(30)]
    for harder, method in enumerate(METHODS):
        videos += [(method, f"{n:03d}_{n + 1:03d}", 1, 0.8 - 0.1 * harder) for n in range(30)]
    rows, means, labels = [], [], []
    for method, name, label, center in videos:
        probabilities = np.clip(generator.normal(center, 0.3, 3), 0, 1)
        means.append(probabilities.mean())
        labels.append(label)
        rows += [(name, "FF", method, label, frame, one) for frame, one in enumerate(probabilities)]
    table = pa.table(dict(zip(HEADER.split(","), map(list, zip(*rows, strict=True)), strict=True)))
    path = tmp_path / f"scores.{kind}"
    (pq.write_table if kind == "parquet" else pyarrow.csv.write_csv)(table, path)
    evaluation = scored(path)
    assert len(evaluation.video_ids) == 150
    assert evaluation.video.metrics["auc"].value == pytest.approx(roc_auc_score(labels, means), abs=1e-9)
    by_name: dict[str, list[float]] = {}
    for (_, name, _, _), mean in zip(videos, means, strict=True):
        by_name.setdefault(name, []).append(mean)
    collapsed = roc_auc_score(["_" in name for name in by_name], [np.mean(v) for v in by_name.values()])
    assert abs(collapsed - evaluation.video.metrics["auc"].value) > 0.02


def test_rows_without_a_probability_count_against_coverage(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "a,FF,youtube,0,0,0.25,",
        "a,FF,youtube,0,9,,blurred",  # of a scored video
        "b,FF,Deepfakes,1,0,0.75,",
        "c,FF,Deepfakes,1,0,,no_face",
        "d,FF,Deepfakes,1,0,NaN,",
        header=HEADER + ",reason",
    )
    evaluation = scored(path)
    assert evaluation.coverage == Coverage(
        4, 2, 1, 1, (("FF/Deepfakes/c", "no_face"), ("FF/Deepfakes/d", "no fake_probability")), 3
    )
    sentence = "2 of 4 videos scored, 1 without a face, 1 could not be read; 3 faces without a score"
    assert evaluation.coverage.sentence() == sentence
    assert evaluation.video.scores.tolist() == [0.75, 0.25]  # never a made-up 0.5


def test_a_class_whose_folder_was_missing_is_seen_in_the_coverage_and_not_in_the_scores(
    tmp_path: Path,
) -> None:
    lines = [f"{n},CDF,fakes,1,0,0.{n}" for n in range(1, 9)]
    lines += [f"r{n},CDF,YouTube-real,0,0," for n in range(8)]
    evaluation = scored(csv(tmp_path, *lines))
    assert evaluation.coverage.sentence().startswith(
        "8 of 16 videos scored, 0 without a face, 8 could not be read"
    )
    assert np.isnan(evaluation.video.metrics["auc"].value)


def test_names_stay_text_and_further_columns_slice(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "003,FF,youtube,0,0,0.25,2,40.5,c23,003",
        "003_000,FF,Deepfakes,1,0,0.75,0,,c40,007",
        header=HEADER + ",track_id,blur,quality,identity",
    )
    table = read_scores(path).table
    assert table.video_id.tolist() == ["FF/youtube/003", "FF/Deepfakes/003_000"]
    assert table.track_id.tolist() == [2, 0]
    assert table.details["identity"].tolist() == ["003", "007"]
    assert table.details["quality"].tolist() == ["c23", "c40"]
    np.testing.assert_array_equal(table.details["blur"], [40.5, np.nan])
    assert table.details["dataset"].tolist() == ["FF", "FF"]


def test_an_id_that_names_dataset_and_method_already_is_kept(tmp_path: Path) -> None:
    table = read_scores(csv(tmp_path, "FF/Deepfakes/c23/003_000,FF,Deepfakes,1,0,0.75")).table
    assert table.video_id.tolist() == ["FF/Deepfakes/c23/003_000"]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    table = ScoreTable(
        video_id=np.array(["x/a", "x/b"], object),
        method=np.array(["real", "fake"], object),
        label=np.array([0, 1]),
        track_id=np.array([0, 3], np.int32),
        frame_index=np.array([5, 6], np.int32),
        fake_probability=np.array([0.1, 1 / 3]),
        details={"native_size": np.array([np.nan, 90.0]), "source_id": np.array([None, "7"], object)},
    )
    coverage = Coverage(3, 2, 1, 0, (("x/c", "no_face"),))
    write_scores(tmp_path / "scores.parquet", table, coverage, decision=DecisionFacts("made", 0.25))
    file = read_scores(tmp_path)
    assert file.coverage == coverage
    assert file.decision == DecisionFacts("made", 0.25)
    for name, column in table.columns().items():
        np.testing.assert_array_equal(file.table.columns()[name], column)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,FF,real,0,0,1.5"], "1 values of fake_probability are outside 0 to 1, such as 1.5"),
        (
            ["b,FF,real,0,0,0.5", "a,FF,real,0,0,-1e-3"],
            "such as -0.001 in row 2 below the header; write prob",
        ),
        (["a,FF,real,0,0,1.0000012"], "such as 1.0000012 in row 1 below the header; write probabilities"),
        (["a,FF,real,2,0,0.5"], "column label has values other than 0 and 1"),
        (["a,FF,real,,0,0.5"], "column label has values other than 0 and 1"),
        (["a,FF,real,fake,0,0.5"], "column label has 'fake', which is not a number; write 1 for fake and 0"),
        (["a,FF,real,0,0,high"], "column fake_probability has 'high', which is not a number; write numbers"),
        (["a,FF,real,0,0.5,0.5"], "column frame_index has values that are not integers"),
        (["a,FF,real,0,inf,0.5"], "column frame_index has values that are not integers from 0"),
        (["a,FF,real,0,1e30,0.5"], "column frame_index has values that are not integers from 0"),
        (["a,FF,real,0,-1,0.5"], "column frame_index has values that are not integers from 0"),
        (["a,FF,real,0,0,0.5"] * 2, "has duplicate rows, such as those of video FF/real/a, frame 0"),
        (["a,FF,real,0,,0.5"], "column frame_index has values that are not integers"),
        (["a,,real,0,0,0.5"], "column dataset has empty or missing text"),
        (["a,FF,real,0,0,0.5", "a,FF,real,1,1,0.5"], "video FF/real/a is labeled real and fake"),
        (["a,FF,real,0,0,0.5", "a,FF,real,1,1,"], "video FF/real/a is labeled real and fake"),
        (["a,FF,real,0,0,", "b,FF,real,0,0,"], "no row has a fake_probability"),
        (["a,FF,real,0,0"], "cannot be read as CSV"),
        ([], "has no rows; write a row per face"),
    ],
)
def test_refuses(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_scores(csv(tmp_path, *lines))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_probabilities_rounded_past_one_are_clipped_with_a_warning(kind: str, tmp_path: Path) -> None:
    above, below = np.nextafter(np.float32(1), np.float32(2)), np.float32(-1e-7)
    path = csv(tmp_path, "a,FF,real,0,0,0.5", f"b,FF,swap,1,0,{float(above)!r}", f"c,FF,real,0,0,{below!s}")
    if kind == "parquet":
        path = tmp_path / "scores.parquet"
        pq.write_table(pyarrow.csv.read_csv(tmp_path / "scores.csv"), path)
    with pytest.warns(
        UserWarning, match=r"2 values of .* such as 1.0000001192092896 in row 2 below the head"
    ):
        file = read_scores(path)
    assert file.table.fake_probability.tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_scores_that_a_spreadsheet_saved_are_read(tmp_path: Path, encoding: str) -> None:
    path = csv(tmp_path, "ä,FF,real,0,0,0.25", "'=b,FF,'-m,1,0,0.75")
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    table = read_scores(path).table
    assert table.fake_probability.tolist() == [0.25, 0.75]
    assert table.video_id.tolist() == ["FF/real/ä", "FF/-m/=b"]


def test_refuses_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="absent.csv: there is no such file of scores"):
        read_scores(tmp_path / "absent.csv")
    with pytest.raises(ManifestError, match="lacks the columns dataset, fake_probability; it must have vid"):
        read_scores(csv(tmp_path, "a,b,0,0", header="video_id,method,label,frame_index"))
    (tmp_path / "scores.parquet").write_bytes(b"no parquet")
    with pytest.raises(ManifestError, match="scores.parquet: cannot be read as Parquet"):
        read_scores(tmp_path)
    for content in (b"", b"\xff\xfe\x00\n\xff"):
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(ManifestError, match="odd.csv: (cannot be read as CSV|lacks the columns)"):
            read_scores(tmp_path / "odd.csv")
    columns = {name: ["x"] for name in HEADER.split(",")}
    pq.write_table(pa.table(columns), tmp_path / "text.parquet")
    with pytest.raises(ManifestError, match="column label has text; write 1 for fake and 0"):
        read_scores(tmp_path / "text.parquet")


def test_several_faces_of_a_frame_need_no_further_column(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        *("a,FF,youtube,0,0,0.1", "a,FF,youtube,0,0,0.3", "a,FF,youtube,0,9,0.2"),
        *("b,FF,Deepfakes,1,0,0.2", "b,FF,Deepfakes,1,0,0.9", "b,FF,Deepfakes,1,0,0.4"),
    )
    table = read_scores(path).table
    assert table.track_id.tolist() == [0, 1, 0, 0, 1, 2]
    evaluation = scored(path)
    assert evaluation.video.scores.tolist() == pytest.approx([0.5, 0.2])  # FF/Deepfakes/b comes first
    assert len(evaluation.frame.scores) == 6
    # Nobody knows whose faces these are: no track level, and no rule about people.
    assert np.isnan(evaluation.track.metrics["auc"].value)
    assert np.isnan(evaluation.per_method["Deepfakes"].track.metrics["accuracy"].value)
    assert evaluation.to_json()["reliability"]["track"]["edges"] == []
    assert not {"most_suspicious_track", "longest_track"} & set(evaluation.aggregations)
    assert "frame_maxima" in evaluation.aggregations
    with pytest.raises(
        OptionError,
        match="is longest_track, which needs .* lack track_id; add",
    ):
        video_samples(table, aggregation_rule="longest_track")
    write_scores(tmp_path / "s.parquet", table, read_scores(path).coverage, decision=DecisionFacts("made"))
    again = read_scores(tmp_path / "s.parquet").table
    assert not again.has_tracks
    assert again.track_id.tolist() == table.track_id.tolist()
    assert not table.take(np.arange(3)).has_tracks


def test_one_face_a_frame_is_one_person(tmp_path: Path) -> None:
    evaluation = scored(csv(tmp_path, "a,FF,youtube,0,0,0.1", "a,FF,youtube,0,9,0.3", "b,FF,x,1,0,0.9"))
    assert evaluation.aggregations["most_suspicious_track"] == evaluation.video.metrics
    assert len(evaluation.track.scores) == 0


def test_equal_faces_are_not_duplicate_rows(tmp_path: Path) -> None:
    lines = ["a,FF,x,1,0,0.5,left", "a,FF,x,1,0,0.5,right", "a,FF,x,1,0,0.5,"]
    table = read_scores(csv(tmp_path, *lines, header=HEADER + ",side")).table
    assert table.track_id.tolist() == [0, 1, 2]
    with pytest.raises(ManifestError, match="has duplicate rows, .* write each face once; a column track"):
        read_scores(csv(tmp_path, *lines, lines[1], header=HEADER + ",side"))


def test_two_videos_never_share_an_identity(tmp_path: Path) -> None:
    # The second gives the first's whole identity as its name; the last two differ by a slash.
    path = csv(tmp_path, "x,A,B,1,0,0.9", "A/B/x,A,B,1,0,0.1", "c/d,a,b,1,0,0.5", "d,a,b/c,1,0,0.6")
    ids = read_scores(path).table.video_id.tolist()
    assert ids == ["A/B/x", "A/B/A/B/x", "a/b/c%2Fd", "a/b%2Fc/d"]
    whole = csv(tmp_path, "A/B/x,A,B,1,0,0.9", "A/B/y,A,B,1,0,0.1")
    assert read_scores(whole).table.video_id.tolist() == ["A/B/x", "A/B/y"]


def test_a_column_of_compressions_is_part_of_the_identity(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        *("000_003,FF,Deepfakes,1,0,0.9,c23", "000_003,FF,Deepfakes,1,0,0.8,c40"),
        *("c23/000,FF,youtube,0,0,0.2,c23", "001,FF,youtube,0,0,0.2,"),
        header=HEADER + ",compression",
    )
    assert read_scores(path).table.video_id.tolist() == [
        *("FF/Deepfakes/c23/000_003", "FF/Deepfakes/c40/000_003", "FF/youtube/c23/000", "FF/youtube/001")
    ]


def test_identities_may_be_numbers(tmp_path: Path) -> None:
    columns = {
        "video_id": ["a", "b", "c"],
        "dataset": ["D"] * 3,
        "method": ["m"] * 3,
        "label": [1] * 3,
        "frame_index": [0] * 3,
        "fake_probability": [0.5] * 3,
    }
    for identity, expected in (([7, 7, None], ["7", "7", None]), ([1, 2, 3], ["1", "2", "3"])):
        pq.write_table(pa.table({**columns, "identity": identity}), tmp_path / "scores.parquet")
        assert read_scores(tmp_path).table.details["identity"].tolist() == expected


def test_numbers_and_truth_values_that_are_clear_are_taken(tmp_path: Path) -> None:
    columns = {
        "video_id": [3, 4],
        "dataset": ["D", "D"],
        "method": ["real", "NA"],
        "label": [False, True],
        "frame_index": [0, 0],
        "fake_probability": pa.array([0.25, 0.5]).cast(pa.decimal128(5, 3)),
        "box": [[1.0], [2.0]],
        "flag": [True, False],
    }
    pq.write_table(pa.table(columns), tmp_path / "scores.parquet")
    table = read_scores(tmp_path).table
    assert table.video_id.tolist() == ["D/real/3", "D/NA/4"]
    assert (table.label.tolist(), table.fake_probability.tolist()) == ([0, 1], [0.25, 0.5])
    assert table.details["flag"].tolist() == ["True", "False"]
    assert "box" not in table.details
    pq.write_table(pa.table({**columns, "video_id": [["a"], ["b"]]}), tmp_path / "scores.parquet")
    with pytest.raises(ManifestError, match="column video_id has lists; write text"):
        read_scores(tmp_path)


def test_none_and_na_are_names_in_text_and_nothing_in_numbers(tmp_path: Path) -> None:
    table = read_scores(csv(tmp_path, "1,NA,None,1,0,0.5", "2,NA,None,1,0,NA", "3,NA,real,0,0,0.1")).table
    assert table.video_id.tolist() == ["NA/None/1", "NA/real/3"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace(",", ";"), "has columns separated by semicolons; separate them by commas"),
        (HEADER.replace(",", "\t"), "has columns separated by tabs; separate them by commas"),
        (HEADER + ",label", "has column label 2 times; drop one of them"),
    ],
)
def test_a_header_of_another_kind_is_named(header: str, message: str, tmp_path: Path) -> None:
    sign = next(sign for sign in ";\t," if sign in header)
    for probability in ("0.5", "0,5"):  # with the comma of many languages
        row = sign.join(["a", "D", "m", "1", "0", probability])
        if sign == ",":
            row = "a,D,m,1,0,0.5,1"
        with pytest.raises(ManifestError, match=message):
            read_scores(csv(tmp_path, row, header=header))


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    table = read_scores(csv(tmp_path, "0,a,D,m,1,0,0.5,,", header=f",{HEADER},,")).table
    assert list(table.details) == ["dataset"]


@pytest.mark.parametrize("reason", ["no face", "No_Face", "NO-FACE", "no_face"])
def test_no_face_is_known_however_it_is_written(reason: str, tmp_path: Path) -> None:
    path = csv(tmp_path, "a,D,m,1,0,0.5,", f"b,D,m,1,0,,{reason}", header=HEADER + ",reason")
    coverage = read_scores(path).coverage
    assert (coverage.videos_without_face, coverage.videos_failed) == (1, 0)
    assert coverage.unscored == (("D/m/b", reason),)


def test_rows_without_a_probability_are_written_too(tmp_path: Path) -> None:
    lines = ["a,D,r,0,0,0.5,", "a,D,r,0,9,,blurred", "b,D,m,1,0,0.25,", "c,D,m,1,0,,no_face"]
    file = read_scores(csv(tmp_path, *lines, header=HEADER + ",reason"))
    write_scores(tmp_path / "s.parquet", file.table, file.coverage, decision=DecisionFacts("x"))
    stored = pq.read_table(tmp_path / "s.parquet")
    rows = {row["video_id"]: row for row in stored.slice(2).to_pylist()}
    assert rows["D/r/a"]["frame_index"] == 9
    assert rows["D/m/c"]["fake_probability"] is None
    assert (rows["D/m/c"]["reason"], rows["D/m/c"]["label"]) == ("no_face", 1)
    again = read_scores(tmp_path / "s.parquet")
    assert again.coverage == file.coverage
    assert again.decision == DecisionFacts("x")
    # A filtered copy is measured as far as it goes.
    for chosen, expected in (([True, False, False, True], (2, 1)), ([True, True, True, False], (2, 2))):
        pq.write_table(stored.filter(pa.array(chosen)), tmp_path / "part.parquet")
        part = read_scores(tmp_path / "part.parquet").coverage
        assert (part.videos_expected, part.videos_scored) == expected
        assert scored(tmp_path / "part.parquet").coverage == part
