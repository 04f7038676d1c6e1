"""The table of every result; ``docs/generate.py`` writes them into README and docs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import quality_tables, speed_tables
from benchmarks.results import Result
from benchmarks.scale_page import tables_of as scale_tables
from benchmarks.studies.few_people_page import tables_of as few_people_tables
from benchmarks.studies.forged_region_page import tables_of as forged_region_tables
from benchmarks.studies.unseen_people_page import tables_of as unseen_people_tables

TABLES: dict[str, Callable[[Result], str]] = {
    "accuracy": quality_tables.accuracy,
    "score": speed_tables.score,
    "decode": speed_tables.decode,
    "faces": speed_tables.faces,
    "extract": speed_tables.extract,
    "runtimes": speed_tables.runtimes,
    "memory": speed_tables.memory,
    "manifest": speed_tables.manifest,
    "features": speed_tables.features,
    "metrics": speed_tables.metrics,
    "segments": quality_tables.segments,
    "mutants": quality_tables.mutants,
    "few_people": lambda result: few_people_tables(result["figures"]["rows"]),
    "forged_region": lambda result: forged_region_tables(result["figures"]),
    "unseen_people": lambda result: unseen_people_tables(result["figures"]),
    "coverage": quality_tables.coverage,
    "zoo_parity": quality_tables.zoo_parity,
    "zoo_measured": quality_tables.zoo_measured,
    "scale": lambda result: "\n\n".join(scale_tables(result).values()),
}
