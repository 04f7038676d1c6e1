"""The authors' networks behind the zoo's entries: how each is built from a checkout of their code."""

from zoo_authors import clip_based, deepfakebench, deepguard, gend, polimi, sbi, selimsef
from zoo_authors.case import Case

CASES: tuple[Case, ...] = (
    *polimi.CASES,
    *selimsef.CASES,
    *sbi.CASES,
    *deepfakebench.CASES,
    *gend.CASES,
    *deepguard.CASES,
    *clip_based.CASES,
)
"""Every comparison, in the order of the page."""
