"""Options of a dataclass as arguments of a parser."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from deepfake_detect.cli.arguments import add_options, in_flags, keywords_of
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.options import check_options, option


@dataclass(frozen=True)
class Options:
    num_crops: int = option(8, help="number of crops", low=1, flag="--crops", aliases=("--count",))
    names: tuple[str, ...] = option((), help="names")
    reads_images: bool = option(True, help="do not read images")

    def __post_init__(self) -> None:
        check_options(self)


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="p", allow_abbrev=False)
    parser.add_argument("root")
    add_options(parser, Options)
    return parser


@pytest.mark.parametrize("flag", ["--crops", "--count"])
def test_aliases_and_arguments_become_keywords(flag: str, parser: argparse.ArgumentParser) -> None:
    arguments = parser.parse_args(["a", flag, "3", "--names", "x", "y", "--no-reads-images"])
    assert keywords_of(arguments, Options) == {
        "root": "a",
        "num_crops": 3,
        "names": ("x", "y"),
        "reads_images": False,
    }
    assert keywords_of(parser.parse_args(["a"]), Options) == {
        "root": "a",
        "num_crops": 8,
        "names": (),
        "reads_images": True,
    }
    assert "[--crops N]" in parser.format_usage()


def test_errors_name_the_first_flag(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(OptionError, match="num_crops: is 0; must be 1 or more") as caught:
        keywords_of(parser.parse_args(["a", "--crops", "0"]), Options)
    assert str(in_flags(caught.value, parser)) == "--crops: is 0; must be 1 or more"
    error = ManifestError("num_crops", "is too small", "raise `num_crops`, `root` or `other`")
    assert str(in_flags(error, parser)) == "num_crops: is too small; raise --crops, root or other"
