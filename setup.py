"""What setup.cfg cannot say: README.md for an index, where relative links and images lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

# The address of the repository's files, such as "https://HOST/OWNER/NAME/blob/main/", once there is one.
FILES = ""


def readme_of_an_index(readme: str) -> str:
    """Return README.md without images, and with absolute links, or none as long as there is no address."""
    text = re.sub(r"<!-- images -->.*?<!-- end of images -->\n+", "", readme, flags=re.S)
    link = rf"[\1]({FILES}\2)" if FILES else r"\1"
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]*)\)", link, text)


if __name__ == "__main__":
    setup(long_description=readme_of_an_index(Path(__file__).with_name("README.md").read_text("utf-8")))
