"""The published schema of a clip's JSON document, for the tests of everything that writes one."""

from __future__ import annotations

import functools
from typing import Any

from jsonschema import Draft202012Validator

from deepfake_detect.records import result_schema


@functools.cache
def _validator() -> Draft202012Validator:
    schema = result_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_document(document: Any) -> None:
    """Raise jsonschema's ValidationError unless the document follows the schema."""
    _validator().validate(document)
