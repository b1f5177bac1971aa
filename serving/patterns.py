"""Which of some rules hold for each customer, as lists of their names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.arrays import BoolArray


def names_of(holds: Mapping[str, BoolArray]) -> list[list[str]]:
    """Names of what holds, in the mapping's order, per customer; at most 62 of them. Customers alike share one list."""
    patterns = sum(mask.astype(np.int64) << place for place, mask in enumerate(holds.values()))
    distinct, which = np.unique(np.asarray(patterns), return_inverse=True)
    lists = [[name for place, name in enumerate(holds) if code >> place & 1] for code in distinct.tolist()]
    return [lists[place] for place in which.tolist()]
