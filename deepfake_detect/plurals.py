"""Counts in text: 1 clip, 2 clips."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, singular or plural, with commas between thousands.

    Args:
        number: How many.
        noun: In the singular.
        plural: For nouns that do not take an s.

    Example:
        >>> counted(1, "clip"), counted(2400, "clip"), counted(3, "person", "people")
        ('1 clip', '2,400 clips', '3 people')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
