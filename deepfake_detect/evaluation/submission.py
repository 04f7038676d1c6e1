"""Answers for the FaceForensics++ benchmark, in the form its server takes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping

from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import atomic_path

_JSON_NAME = "submission.json"


def write_submission(path: str | os.PathLike[str], answers: Mapping[str, bool]) -> None:
    """Write a zip that holds exactly one JSON: ``{"0000.png": "fake" or "real", ...}``.

    Args:
        path: File to write, ending in ``.zip``.
        answers: Whether each picture is called fake, by file name.

    Raises:
        OptionError: Another suffix, or no answer.

    Source: the submission form of the FaceForensics++ benchmark (arXiv:1901.08971).

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/answers.zip"
        >>> write_submission(path, {"0000.png": True, "0001.png": False})
        >>> with zipfile.ZipFile(path) as archive:
        ...     archive.namelist(), json.loads(archive.read("submission.json"))
        (['submission.json'], {'0000.png': 'fake', '0001.png': 'real'})
    """
    if os.path.splitext(path)[1].lower() != ".zip":
        raise OptionError("out", f"{os.fspath(path)} does not end in .zip", "give it the suffix .zip")
    if not answers:
        raise OptionError("answers", "there is none", "answer every picture of the benchmark")
    words = {name: "fake" if answers[name] else "real" for name in sorted(answers)}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_JSON_NAME, json.dumps(words, indent=1))
