"""Tests of the page; skipped with a word where its extra is not installed."""

import pytest

for _module in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(_module, reason="the page's extra is not installed: pip install '.[app]'")
