"""Find leaks: videos, people and images that the splits of a manifest share but should not.

MANIFEST is a manifest of crops, or an index of videos. Each pair of splits is compared by video, by identity
(as target and as source) and by crop (identical bytes, or nearly identical images). Within each split, the
classes are compared by number and by native size. Fingerprints of the crops are stored next to the
manifest, so a second audit is fast.

Exit codes: 0 if nothing leaks, 1 if something leaks, 2 for bad input, for example if no
crop can be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.data.options import AuditOptions

EXIT_LEAK = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest.parquet, or an index")
    add_options(parser, AuditOptions)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write duplicate crops side by side")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.features.audit import audit_manifest
    from deepfake_detect.report.audit import audit_conclusion, print_audit

    audit = audit_manifest(**keywords_of(arguments, AuditOptions))
    print_audit(audit.report)
    print("\n".join([*audit.outputs, audit_conclusion(audit.report)]))
    return EXIT_LEAK if audit.report.leaks else 0
