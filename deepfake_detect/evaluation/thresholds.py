"""The threshold of an earlier evaluation, such as of a validation split."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deepfake_detect.errors import ManifestError

METRICS_NAME = "metrics.json"


def threshold_of_report(path: str | os.PathLike[str]) -> float:
    """Return the threshold that an evaluation used.

    Args:
        path: Folder that an evaluation wrote, or its ``metrics.json``.

    Raises:
        ManifestError: There is no such file, or it is not of an evaluation.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.json"
        >>> _ = path.write_text('{"settings": {"threshold": 0.31}}')
        >>> threshold_of_report(path)
        0.31
    """
    file = Path(path) / METRICS_NAME if Path(path).is_dir() else Path(path)
    remedy = f"pass the folder of an evaluation, or its {METRICS_NAME}"
    try:
        found = json.loads(file.read_text("utf-8"))["settings"]["threshold"]
    except OSError as error:
        raise ManifestError(file, f"cannot be read ({error.strerror or error})", remedy) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(file, "is not from an evaluation", remedy) from error
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0.0 <= found <= 1.0:
        raise ManifestError(file, f"has the threshold {found!r}, which is not from 0 to 1", remedy)
    return float(found)
