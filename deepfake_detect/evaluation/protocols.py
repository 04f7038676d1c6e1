"""The field's protocols as pairs of filters: what to train on, what to measure on.

    in-domain                 all of train -> all of test
    in-domain/c23             one compression, both
    leave-out/FaceSwap        without one method -> that method against the reals
    cross-dataset/DFDC        one dataset -> each of the others together
    cross-compression/c23     one compression -> the others

They follow from a manifest's own values. Train with ``--where`` and the first filter, measure with
``--protocol`` and the name; per-method results are each method against all reals of its dataset in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_detect.data.compare_names import sql_literals
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE, REAL


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        name: Kind, and after a slash the value it is about.
        train: SQL condition of the rows to train and validate on.
        test: SQL condition of the rows to measure on, within the test split.
    """

    name: str
    train: str
    test: str


def protocols_of(manifest: Manifest) -> tuple[Protocol, ...]:
    """Return every protocol that a manifest can serve.

    A value takes part where the other side of its protocol is there too: a method is left out where
    there are others, a dataset or compression is crossed where there are others.

    Args:
        manifest: Rows of all splits.

    Example:
        For FaceForensics++ c23 and c40 with four methods: ``in-domain``, ``in-domain/c23``,
        ``in-domain/c40``, ``leave-out/Deepfakes`` and three more, ``cross-compression/c23`` and
        ``cross-compression/c40``.
    """
    compressions, datasets = (_values(manifest, name) for name in ("compression", "dataset"))
    methods = _values(manifest.where(f"label = {FAKE}"), "method")
    found = [Protocol("in-domain", "true", "true")]
    if len(compressions) > 1:
        found += [_same("in-domain", "compression", value) for value in compressions]
    if len(methods) > 1:
        found += [_left_out(method) for method in methods]
    if len(datasets) > 1:
        found += [_crossed("cross-dataset", "dataset", value) for value in datasets]
    if len(compressions) > 1:
        found += [_crossed("cross-compression", "compression", value) for value in compressions]
    return tuple(found)


def find_protocol(manifest: Manifest, name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        OptionError: The manifest has no such protocol; the message lists those it has.
    """
    known = {protocol.name: protocol for protocol in protocols_of(manifest)}
    if name not in known:
        raise OptionError(
            "protocol", f"{name!r} is none that {manifest.path} can serve", f"choose of: {', '.join(known)}"
        )
    return known[name]


def _values(manifest: Manifest, column: str) -> list[str]:
    rows = manifest.query(f"select distinct {column} from rows where {column} is not null order by all")
    values: list[str] = rows[column].to_pylist()
    return values


def _same(kind: str, column: str, value: str) -> Protocol:
    condition = f"{column} = {sql_literals([value])}"
    return Protocol(f"{kind}/{value}", condition, condition)


def _left_out(method: str) -> Protocol:
    literal = sql_literals([method])
    # A name may stand for a method and for the source of reals: reals stay on both sides.
    return Protocol(
        f"leave-out/{method}",
        f"label = {REAL} or method != {literal}",
        f"label = {REAL} or method = {literal}",
    )


def _crossed(kind: str, column: str, value: str) -> Protocol:
    literal = sql_literals([value])
    return Protocol(f"{kind}/{value}", f"{column} = {literal}", f"{column} != {literal}")
