"""Identities that are the same person in several datasets.

Identities are local to a dataset: the ``id1`` of Celeb-DF is not the ``id1`` of another one. There are
two exceptions: a dataset made from another's videos names its people ``"<other dataset>:<name>"`` (DF40
has ``FaceForensics++:003``), and the releases of Celeb-DF have identities in common. The rule exists
for Python and for SQL.
"""

from __future__ import annotations

# Dataset -> the dataset whose identities it uses.
SAME_PEOPLE = {"Celeb-DF-v1": "Celeb-DF-v2", "Celeb-DF++": "Celeb-DF-v2"}


def identity_key(dataset: str, identity: str) -> str:
    """Return an identity that is unique over all datasets.

    Example:
        >>> identity_key("FaceForensics++", "003"), identity_key("DF40", "FaceForensics++:003")
        ('FaceForensics++:003', 'FaceForensics++:003')
    """
    return identity if ":" in identity else f"{SAME_PEOPLE.get(dataset, dataset)}:{identity}"


def identity_sql(column: str) -> str:
    """Return the SQL expression of :func:`identity_key` over the columns of an index or manifest.

    It is null where the column is null or empty: an unknown person equals no other.

    Args:
        column: ``target_id`` or ``source_id``.
    """
    cases = " ".join(f"when '{dataset}' then '{home}'" for dataset, home in SAME_PEOPLE.items())
    return (
        f"case when nullif({column}, '') is null or contains({column}, ':') then nullif({column}, '') "
        f"else concat(case dataset {cases} else dataset end, ':', {column}) end"
    )
