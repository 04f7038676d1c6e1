"""The parts of README and docs that are made from results, by page and marker; see ``docs/generate.py``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.markers import filled, markdown_table
from benchmarks.results import ROOT, Result, ratio, read_result, spread
from benchmarks.scale_page import tables_of
from benchmarks.studies.few_people_page import facenet_table
from benchmarks.studies.unseen_people_page import sentence_of
from benchmarks.tables import TABLES

_SCRIPTS = {
    "mutants": "mutate.py",
    "few_people": "studies/few_people.py",
    "forged_region": "studies/forged_region.py",
    "unseen_people": "studies/unseen_people.py",
    "zoo_parity": "zoo_parity.py",
    "zoo_measured": "zoo_measured.py",
}
_TIMED = ("score", "decode", "faces", "extract", "runtimes", "manifest", "features", "metrics")
_ON_PAGE = (*_TIMED, "memory", "segments", "mutants", "few_people", "unseen_people", "forged_region")


def result_parts() -> dict[Path, dict[str, str]]:
    """Return page -> marker -> text."""
    figures = {"figures": accuracy()}
    sections = {name: section(name) for name in _ON_PAGE}
    of_page = {"summary": summary(), "accuracy": section("accuracy"), **sections, "measured": measured()}
    return {
        ROOT / "README.md": figures,
        ROOT / "deepfake_detect" / "weights" / "README.md": figures,
        ROOT / "docs" / "benchmarks.md": of_page,
        ROOT / "docs" / "evaluation.md": {"coverage": section("coverage")},
        ROOT / "docs" / "transfer-learning.md": {"facenet": facenet()},
        ROOT / "docs" / "zoo.md": {"parity": section("zoo_parity")},
        ROOT / "benchmarks" / "scale.md": scale_parts(),
    }


def accuracy() -> str:
    """Return the bundled detector's figures: on DFDC, and on unseen people of FaceForensics++."""
    table = TABLES["accuracy"](read_result("accuracy"))
    return f"{table}\n\n{sentence_of(read_result('unseen_people')['figures'])}"


def write_pages() -> None:
    """Write the parts into their pages, as ``docs/generate.py`` does with all others."""
    for path, parts in result_parts().items():
        text = path.read_text("utf-8")
        if (new := filled(text, parts)) != text:
            path.write_text(new, "utf-8")


def section(name: str) -> str:
    """Return the table of a result and when which script wrote it."""
    result = read_result(name)
    if result is None:
        return f"Not measured yet: run `{_script(name)}`."
    machine = result["machine"]
    load = machine["load_before"] or 0
    busy = f" With {load:.0f} other processes on {machine['cores']} cores: trust the ratios, not the seconds."
    words = busy if load > machine["cores"] / 2 and name in _TIMED else ""
    return f"{TABLES[name](result)}\n\n`{_script(name)}`, {result['date']}.{words}"


def facenet() -> str:
    """Return what the study of few people found of FaceNet."""
    result = read_result("few_people")
    if result is None:
        return section("few_people")
    return f"{facenet_table(result['figures']['rows'])}\n\n`{_script('few_people')}`, {result['date']}."


def _script(name: str) -> str:
    return f"benchmarks/{_SCRIPTS.get(name, f'bench_{name}.py')}"


def scale_parts() -> dict[str, str]:
    """Return the parts of benchmarks/scale.md."""
    result = read_result("scale")
    names = ("stages", "check", "limits", "cost")
    return dict.fromkeys(names, section("scale")) if result is None else tables_of(result)


def measured() -> str:
    """Return when, on what and with which code and options each result was measured."""
    results = [one for name in TABLES if (one := read_result(name)) is not None]
    machines = list(dict.fromkeys(map(_machine, results)))
    rows = [
        [
            f"`{_script(one['benchmark'])}`",
            one["date"],
            _code(one["code"]),
            machines.index(_machine(one)) + 1,
            "not known" if (load := one["machine"]["load_before"]) is None else load,
            ", ".join(f"{name} {version}" for name, version in one["versions"].items()),
            _call(one["arguments"]) + (f"; {one['note']}" if "note" in one else ""),
        ]
        for one in results
    ]
    header = ["script", "date", "library", "machine", "load before", "versions", "called with"]
    lines = "\n".join(f"{number}. {machine}" for number, machine in enumerate(machines, 1))
    return f"{markdown_table(header, rows)}\n\nMachines:\n\n{lines}"


def _machine(result: Result) -> str:
    machine = result["machine"]
    threads = ", ".join(f"{name} {count}" for name, count in machine["threads"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['gpu'] or 'no GPU'}, {machine['os']}; threads: {threads}"
    )


def _code(code: Mapping[str, Any] | None) -> str:
    if code is None:
        return "not known"
    return f"{code['version']}, {code['commit']}" + (" with changes" if code["is_changed"] else "")


def _call(arguments: Mapping[str, Any]) -> str:
    words = (
        f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in arguments.items()
        if value is not False
    )
    return ", ".join(words)


def summary() -> str:
    """Return the page in one table."""
    known = {name: result for name in _SUMMARY if (result := read_result(name)) is not None}
    rows = [row for name, result in known.items() for row in _SUMMARY[name](result)]
    return markdown_table(["what", "figure", "next to"], rows)


def _accuracy_rows(result: Result) -> Iterator[list[str]]:
    for one in result["figures"]["rows"]:
        auc, verdicts = one["metrics"]["auc"], one["verdicts"]
        interval = f"AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
        right = f"verdicts on {100 * verdicts['given']:.0f}%, {100 * verdicts['right']:.1f}% of them correct"
        yield [f"accuracy on {one['data']}", interval, right]


def _score_rows(result: Result) -> Iterator[list[str]]:
    rows = {(one["process"], one["way"]): one["seconds"] for one in result["figures"]["rows"]}
    for process, words in {"new": "a first verdict, whole command", "warm": "each further verdict"}.items():
        rival = next(seconds for (kind, _), seconds in rows.items() if kind == process)
        way = "the default command" if process == "new" else "the bundled detector, ONNX Runtime"
        own = rows[process, way]
        faster = f"{ratio(rival, own):.1f} times as fast as OpenCV's seek, facenet-pytorch and eager FaceNet"
        yield [f"{words}, 10 s at 720p", f"{statistics.median(own):.2f} s", faster]


def _decode_rows(result: Result) -> Iterator[list[str]]:
    ratios, seconds = [], []
    for clip in result["figures"]["clips"]:
        own = clip["ways"]["deepfake_detect"]["seconds"]
        seconds.append(statistics.median(own))
        ratios.append(ratio(clip["ways"]["OpenCV seek and read"]["seconds"], own))
    num = result["arguments"]["frames"]
    yield [
        f"{num} frames of a clip",
        f"{spread(seconds)} s",
        f"{spread(ratios, 1)} times OpenCV's seek",
    ]


def _face_rows(result: Result) -> Iterator[list[str]]:
    inputs = result["figures"]["inputs"]
    seconds = [1000 * statistics.median(one["ways"]["default"]) for one in inputs]
    plain, same = (
        [ratio(one["ways"][rival], one["ways"]["default"]) for one in inputs]
        for rival in ("facenet-pytorch", "facenet-pytorch, our smallest face")
    )
    words = f"{spread(plain, 1)} times facenet-pytorch; {spread(same, 1)} with the same smallest face"
    yield ["faces of a frame", f"{spread(seconds, 0)} ms", words]


def _extract_rows(result: Result) -> Iterator[list[str]]:
    speed = [one for one in result["figures"]["speed"] if one["way"] == "extraction"]
    best = max(speed, key=lambda one: one["workers"])
    videos = statistics.median(best["videos"] / seconds for seconds in best["seconds"])
    peak = max(one["peak_mb"] for one in result["figures"]["memory"])
    given = result["arguments"]
    words = f"{given['frames']} frames of {given['clip_frames']}; {peak:,.0f} MB a worker"
    yield [f"extraction at 720p, {best['workers']} workers", f"{videos:.1f} videos a second", words]


def _memory_rows(result: Result) -> Iterator[list[str]]:
    peaks = {one["input"]: statistics.median(one["peak_mb"]) for one in result["figures"]["inputs"]}
    first, most = next(iter(peaks)), max(peaks, key=peaks.__getitem__)
    yield ["memory of scoring", f"{peaks[first]:,.0f} MB", f"{first}; {most}: {peaks[most]:,.0f} MB"]


_SUMMARY: dict[str, Callable[[Result], Iterable[list[str]]]] = {
    "accuracy": _accuracy_rows,
    "score": _score_rows,
    "decode": _decode_rows,
    "faces": _face_rows,
    "extract": _extract_rows,
    "memory": _memory_rows,
}
