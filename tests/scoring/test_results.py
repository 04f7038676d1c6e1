from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepfake_detect.errors import OptionError, OutputError, VideoUnreadableError
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.records import ClipResult, DetectorInfo, FaceScore, FrameScore, TrackScore
from deepfake_detect.scoring import (
    BatchItem,
    ClipSource,
    ResultsTable,
    ScoringOptions,
    run_settings,
)
from deepfake_detect.scoring.pipeline import file_facts
from deepfake_detect.scoring.results import COLUMNS

SETTINGS = {"detector": "small 1", "detector_sha256": "ab", "settings": "frames=3"}
INFO = DetectorInfo("small", "1", 0.4, 0.6, "most_suspicious_track")
FORMATS = ["csv", "parquet"]


def clip(folder: Path, name: str, content: bytes = b"pictures") -> ClipSource:
    (folder / name).write_bytes(content)
    return ClipSource(str(folder / name), str(folder / name))


def scored(source: ClipSource, probability: float = 0.75) -> tuple[ClipSource, BatchItem]:
    faces = [FaceScore(None, 0, 1.0, p) for p in (probability, probability / 2)]  # type: ignore[arg-type]
    frames = tuple(FrameScore(n, n * 0.5, (face,)) for n, face in enumerate(faces))
    track = TrackScore(0, 2, probability, True)
    result = ClipResult(
        source.name, "fake", probability, 2, (*frames, FrameScore(2, 1.0, ())), (track,), INFO
    )
    facts = file_facts(source.path) if source.path else None
    return source, BatchItem(source.name, result, None, 1.5, facts, None, "signed by A")


def failed(source: ClipSource) -> tuple[ClipSource, BatchItem]:
    error = VideoUnreadableError(source.name, "is no video", "pass one")
    facts = file_facts(source.path) if source.path else None
    return source, BatchItem(source.name, None, error, 0.1, facts)


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_row_holds_what_was_found(kind: str, tmp_path: Path) -> None:
    source, table = clip(tmp_path, "a.mp4"), tmp_path / "new" / f"r.{kind}"
    with ResultsTable(table, SETTINGS) as results:
        results.add(*scored(source))
        results.add(*failed(clip(tmp_path, "b.mp4")))
    first, second = rows(table)
    assert list(first) == list(COLUMNS)
    assert first["path"] == str(tmp_path / "a.mp4")
    assert (first["verdict"], float(first["fake_probability"]), int(first["num_people"])) == ("fake", 0.75, 1)
    assert [int(first[name]) for name in ("num_frames", "num_frames_scored", "deciding_track")] == [3, 2, 0]
    assert [float(first[name]) for name in ("peak_probability", "peak_time_seconds", "seconds")] == [
        *(0.75, 0.0, 1.5)
    ]
    assert (int(first["size_bytes"]), first["sha256"]) == (8, file_facts(source.path).sha256)
    assert (first["content_credentials"], first["detector"]) == ("signed by A", "small 1")
    assert second["error"] == f"{tmp_path / 'b.mp4'}: is no video; pass one"
    assert second["verdict"] in (None, "")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_in_the_table_is_not_needed_again_unless_it_changed(kind: str, tmp_path: Path) -> None:
    table = tmp_path / f"r.{kind}"
    same, touched, longer, other, broken = (clip(tmp_path, f"{n}.mp4") for n in "abcde")
    with ResultsTable(table, SETTINGS) as results:
        for source in (same, touched, longer, other):
            results.add(*scored(source))
        results.add(*failed(broken))
    os.utime(tmp_path / "b.mp4", (1, 1))
    (tmp_path / "c.mp4").write_bytes(b"more pictures")
    (tmp_path / "d.mp4").write_bytes(b"PICTURES")
    os.utime(tmp_path / "d.mp4", (2, 2))
    with ResultsTable(table, SETTINGS) as results:
        needed = [results.needs(source) for source in (same, touched, longer, other, broken)]
        assert needed == [False, False, True, True, False]
        assert results.needs(broken, retry_failed=True)
        assert not results.needs(same, retry_failed=True)
        assert results.needs(clip(tmp_path, "f.mp4"))
        (tmp_path / "a.mp4").unlink()
        assert not results.needs(same)  # what is gone keeps its row
        assert len(results) == 5


def test_addresses_are_not_needed_again_and_standard_input_always(tmp_path: Path) -> None:
    address, stdin = ClipSource("http://a/b.mp4", None), replace(clip(tmp_path, "s"), name="-")
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        assert results.needs(address)
        results.add(*scored(address))
        results.add(*scored(stdin))
        assert not results.needs(address)
        assert results.needs(stdin)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_rows_are_on_disk_before_the_run_ends(kind: str, tmp_path: Path) -> None:
    """As after a kill: the first table is never closed."""
    table = tmp_path / f"r.{kind}"
    sources = [clip(tmp_path, f"{number}.mp4") for number in range(60)]
    killed = ResultsTable(table, SETTINGS)
    for source in sources[:57]:
        killed.add(*scored(source))
    killed._lock.release()  # which the system does
    with ResultsTable(table, SETTINGS) as results:
        assert [results.needs(source) for source in sources] == [False] * 57 + [True] * 3
        for source in sources[57:]:
            results.add(*scored(source))
    assert [row["path"] for row in rows(table)] == [source.name for source in sources]
    assert not list(tmp_path.glob(".r*.csv"))  # no journal is left


def test_parquet_is_written_every_fifty_clips(tmp_path: Path) -> None:
    table = tmp_path / "r.parquet"
    with ResultsTable(table, SETTINGS) as results:
        for number in range(51):
            results.add(*scored(clip(tmp_path, f"{number}.mp4")))
            assert len(rows(table)) == (50 if number >= 49 else 0)
    assert len(rows(table)) == 51


@pytest.mark.parametrize(
    "tail", [b'/x/"torn.mp4,fake', b'"/x/torn\nname', b"/x/caf\xc3", b"/x/a.mp4,fake,0.5"]
)
def test_a_row_that_was_cut_off_is_judged_again(tail: bytes, tmp_path: Path) -> None:
    table, source = tmp_path / "r.csv", clip(tmp_path, "a.mp4")
    with ResultsTable(table, SETTINGS) as results:
        results.add(*scored(source))
    whole = table.read_bytes()
    table.write_bytes(whole + tail)
    with ResultsTable(table, SETTINGS) as results:
        assert len(results) == 1
        assert not results.needs(source)
    assert table.read_bytes() == whole


@pytest.mark.parametrize("kind", FORMATS)
def test_a_clip_judged_again_has_one_row_in_its_old_place(kind: str, tmp_path: Path) -> None:
    table, sources = tmp_path / f"r.{kind}", [clip(tmp_path, f"{n}.mp4") for n in "ab"]
    with ResultsTable(table, SETTINGS) as results:
        results.add(*failed(sources[0]))
        results.add(*scored(sources[1]))
        results.add(*scored(sources[0], 0.25))
    first, second = rows(table)
    assert (first["path"], float(first["fake_probability"])) == (sources[0].name, 0.25)
    assert second["path"] == sources[1].name


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_another_detector_or_settings_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    table = tmp_path / f"r.{kind}"
    with ResultsTable(table, SETTINGS) as results:
        results.add(*scored(clip(tmp_path, "a.mp4")))
    before = rows(table)
    with pytest.raises(OptionError, match=f"was written with {name} .*; this run has 'other'"):
        ResultsTable(table, {**SETTINGS, name: "other"})
    assert rows(table) == before
    with ResultsTable(table, SETTINGS):  # and the table was let go of
        pass


def test_the_settings_tell_all_that_moves_a_verdict(small_detector: Path) -> None:
    detector: Any = SimpleNamespace(config=read_detector(small_detector)[1], name="small 1", sha256="ab" * 32)
    plain = ScoringOptions(detector=(str(small_detector),))
    settings = run_settings(plain, detector)
    assert settings["detector"] == "small 1"
    assert settings["detector_sha256"] == "ab" * 32
    same = replace(plain, device="cpu", aggregation_rule="most_suspicious_track")
    assert run_settings(same, detector) == settings
    for change in (
        {"num_frames": 3},
        {"aggregation_rule": "mean"},
        {"min_face": 20.0},
        {"allow_truncated": True},
        {"precision": "bf16"},
    ):
        assert run_settings(replace(plain, **change), detector)["settings"] != settings["settings"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"hello", b"\xff\n"])
def test_another_file_is_not_written_over(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / f"r.{kind}").write_bytes(content)
    with pytest.raises(OutputError, match=f"r.{kind}: is not a table of results"):
        ResultsTable(tmp_path / f"r.{kind}", SETTINGS)
    assert (tmp_path / f"r.{kind}").read_bytes() == content


def test_values_of_another_kind_are_no_table(tmp_path: Path) -> None:
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        results.add(*scored(clip(tmp_path, "a.mp4")))
    text = (tmp_path / "r.csv").read_text()
    for spoiled in (text.replace("0.75", "high"), text + "one,two\n"):
        (tmp_path / "r.csv").write_text(spoiled)
        with pytest.raises(OutputError, match="is not a table of results"):
            ResultsTable(tmp_path / "r.csv", SETTINGS)


def test_no_cell_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    source, item = scored(clip(tmp_path, "a.mp4"))
    signer = "=HYPERLINK(evil)"  # a file's own words
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        results.add(source, replace(item, credentials=signer))
    assert [row["content_credentials"] for row in rows(tmp_path / "r.csv")] == [f"'{signer}"]
    saved = b"\xef\xbb\xbf" + (tmp_path / "r.csv").read_bytes()  # as a spreadsheet saves it
    (tmp_path / "r.csv").write_bytes(saved)
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        assert not results.needs(source, retry_failed=False, files=[])
        results.add(*failed(clip(tmp_path, "b.mp4")))
    assert [row["content_credentials"] for row in rows(tmp_path / "r.csv")][:1] == [f"'{signer}"]


def test_an_empty_file_becomes_a_table(tmp_path: Path) -> None:
    (tmp_path / "r.csv").touch()
    with ResultsTable(tmp_path / "r.csv", SETTINGS):
        pass
    assert (tmp_path / "r.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_one_run_writes_a_table_at_a_time(tmp_path: Path) -> None:
    with (
        ResultsTable(tmp_path / "r.csv", SETTINGS),
        pytest.raises(OutputError, match="is being written by another run"),
    ):
        ResultsTable(tmp_path / "r.csv", SETTINGS)


def test_an_ending_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"results: is .*r\.xlsx'; must end in \.csv or \.parquet"):
        ResultsTable(tmp_path / "r.xlsx", SETTINGS)


@pytest.mark.parametrize("kind", FORMATS)
def test_names_that_are_no_text_or_hold_line_ends(kind: str, tmp_path: Path) -> None:
    table = tmp_path / f"r.{kind}"
    names = [os.fsdecode(b"\xff.mp4"), 'line\nend, "quoted".mp4', "carriage\rreturn.mp4", "both\r\n.mp4"]
    sources = [clip(tmp_path, name) for name in names]
    with ResultsTable(table, SETTINGS) as results:
        for source in sources:
            results.add(*scored(source))
    with ResultsTable(table, SETTINGS) as results:
        assert [results.needs(source) for source in sources] == [False] * 4
    assert rows(table)[0]["path"].endswith("\\udcff.mp4")


def test_no_room_on_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ResultsTable(tmp_path / "r.csv", SETTINGS)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"r.csv: cannot be written \(No space left on device\)"):
        results.add(*scored(clip(tmp_path, "a.mp4")))


def test_a_clip_is_needed_for_files_that_are_not_there(tmp_path: Path) -> None:
    """Who asks for a report of a clip that is in the table gets one."""
    source, bad, report = clip(tmp_path, "a.mp4"), clip(tmp_path, "b.mp4"), tmp_path / "r.html"
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        results.add(*scored(source))
        results.add(*failed(bad))
        assert results.needs(source, files=[report])
        assert not results.needs(bad, files=[report])  # it would fail again
        report.touch()
        assert not results.needs(source, files=[report])
        address = ClipSource("https://example.org/a.mp4", None)
        results.add(*scored(address))
        assert results.needs(address, files=[tmp_path / "s.html"])
        assert not results.needs(address, files=[report])
        Path(source.name).unlink()
        assert not results.needs(source, files=[tmp_path / "s.html"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_table_that_was_saved_in_another_encoding_is_resumed(encoding: str, tmp_path: Path) -> None:
    source, item = scored(clip(tmp_path, "süß.mp4"))
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        results.add(source, item)
    text = (tmp_path / "r.csv").read_text(encoding="utf-8")
    (tmp_path / "r.csv").write_bytes(text.encode(encoding))
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        assert not results.needs(source)
    assert (tmp_path / "r.csv").read_text(encoding="utf-8") == text


def test_control_characters_of_a_name_are_written_as_escapes(tmp_path: Path) -> None:
    source, item = scored(clip(tmp_path, "red\x1b[31m\x9b\x7f.mp4"))
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        results.add(source, item)
    assert rows(tmp_path / "r.csv")[0]["path"].endswith("red\\x1b[31m\\x9b\\x7f.mp4")
    with ResultsTable(tmp_path / "r.csv", SETTINGS) as results:
        assert not results.needs(source)
