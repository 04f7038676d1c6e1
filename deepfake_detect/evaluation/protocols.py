"""Common evaluation protocols as pairs of filters: rows to train on, and rows to evaluate on.

    in-domain                 all of train -> all of test
    in-domain/c23             the same for one compression
    leave-out/FaceSwap        without one method -> that method against the reals
    cross-dataset/DFDC        one dataset -> all others together
    cross-compression/c23     one compression -> the others

They are derived from the values in a manifest. Train with the first filter as ``where``, evaluate with
the name as ``protocol``; results per method always compare a method with all reals of its dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_detect.data.compare_names import sql_literals
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.sources import ManifestInput, open_manifest
from deepfake_detect.records import FAKE, REAL


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        name: Kind, and after a slash the value.
        train: SQL condition on the rows to train and validate on.
        test: SQL condition on the rows to evaluate on, within the test split.
    """

    name: str
    train: str
    test: str


def list_protocols(manifest: ManifestInput) -> tuple[Protocol, ...]:
    """Return the protocols that a manifest supports.

    Holding out a method and crossing datasets or compressions need at least two of them.

    Args:
        manifest: Rows of all splits, or the path or URL of a manifest.

    Example:
        For FaceForensics++ c23 and c40 with four methods: ``in-domain``, ``in-domain/c23``,
        ``in-domain/c40``, ``leave-out/Deepfakes`` and three more, ``cross-compression/c23`` and
        ``cross-compression/c40``.
    """
    rows = open_manifest(manifest)
    compressions, datasets = (_values(rows, name) for name in ("compression", "dataset"))
    methods = _values(rows.where(f"label = {FAKE}"), "method")
    found = [Protocol("in-domain", "true", "true")]
    for name, literal in compressions.items():
        found.append(Protocol(f"in-domain/{name}", *[f"compression = {literal}"] * 2))
    for name, literal in methods.items():
        # A method may have the name of a source of reals: reals stay on both sides.
        sides = (f"label = {REAL} or method {sign} {literal}" for sign in ("!=", "="))
        found.append(Protocol(f"leave-out/{name}", *sides))
    for column, values in (("dataset", datasets), ("compression", compressions)):
        for name, literal in values.items():
            sides = (f"{column} {sign} {literal}" for sign in ("=", "!="))
            found.append(Protocol(f"cross-{column}/{name}", *sides))
    return tuple(found)


def find_protocol(manifest: Manifest, name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        OptionError: The protocol is not possible with the manifest; the message lists those that are.
    """
    known = {protocol.name: protocol for protocol in list_protocols(manifest)}
    if name not in known:
        raise OptionError(
            "protocol", f"is {name!r}", f"must be one of {', '.join(known)} for {manifest.path}"
        )
    return known[name]


def _values(manifest: Manifest, column: str) -> dict[str, str]:
    """Return the values of a column, if several, with each as an SQL literal."""
    rows = manifest.query(f"select distinct {column} from rows where {column} is not null order by all")
    values: list[str] = rows[column].to_pylist()
    return {value: sql_literals([value]) for value in values} if len(values) > 1 else {}
