"""Who is the same person over several datasets.

Names of people are a dataset's own: the ``id1`` of Celeb-DF is nobody's ``id1`` elsewhere. Two
exceptions are known: a dataset made from another's videos names its people
``"<other dataset>:<name>"`` (DF40 has ``FaceForensics++:003``), and the releases of Celeb-DF share
their names. The same rule is given for Python and for SQL.
"""

from __future__ import annotations

# Dataset -> the dataset whose names of people it uses.
SAME_PEOPLE = {"Celeb-DF-v1": "Celeb-DF-v2", "Celeb-DF++": "Celeb-DF-v2"}


def identity_key(dataset: str, identity: str) -> str:
    """Return a person's name over all datasets.

    Example:
        >>> identity_key("FaceForensics++", "003"), identity_key("DF40", "FaceForensics++:003")
        ('FaceForensics++:003', 'FaceForensics++:003')
    """
    return identity if ":" in identity else f"{SAME_PEOPLE.get(dataset, dataset)}:{identity}"


def identity_sql(column: str) -> str:
    """Return the SQL expression of :func:`identity_key` over the columns of an index or manifest.

    It is null where the column is null or empty: an unknown person is nobody's double.

    Args:
        column: ``target_id`` or ``source_id``.
    """
    cases = " ".join(f"when '{dataset}' then '{home}'" for dataset, home in SAME_PEOPLE.items())
    return (
        f"case when nullif({column}, '') is null or contains({column}, ':') then nullif({column}, '') "
        f"else concat(case dataset {cases} else dataset end, ':', {column}) end"
    )
