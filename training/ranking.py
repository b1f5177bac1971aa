"""Ranks of predictions with ties at their middle, and sums along them, under the weights of a bootstrap draw."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.arrays import FloatArray

N_DECILES: Final = 10


class Ranking:
    """Ranks of one column of values, shape (n,), with ties at their middle.

    What was made of the last weights is kept: several metrics ask for it.
    """

    def __init__(self, values: FloatArray) -> None:
        _, self._group = np.unique(values, return_inverse=True)
        self._weights: FloatArray | None = None
        self._upto, self._middle = values, values
        self._held: dict[int, tuple[FloatArray, FloatArray]] = {}

    def _weigh(self, weights: FloatArray) -> None:
        if self._weights is weights:
            return
        of_group = np.bincount(self._group, weights=weights)
        self._upto = np.append(0.0, np.cumsum(of_group))
        self._middle = (self._upto[1:] - of_group / 2.0)[self._group]
        self._weights, self._held = weights, {}

    def middle(self, weights: FloatArray) -> FloatArray:
        """Weight below each row plus half the weight of its ties, shape (n,)."""
        self._weigh(weights)
        return self._middle

    def sums(self, values: FloatArray, weights: FloatArray, edges: FloatArray) -> FloatArray:
        """Weighted sum of another column up to some weights, lowest rank first, ties shared out.

        `edges` are in [0, sum of the weights], shape (m,), as is what is returned.
        """
        self._weigh(weights)
        if id(values) not in self._held:  # kept with the column itself, so that no other one takes its id
            sums = np.append(0.0, np.cumsum(np.bincount(self._group, weights=weights * values)))
            self._held[id(values)] = values, sums
        return np.asarray(np.interp(edges, self._upto, self._held[id(values)][1]), dtype=np.float64)

    def in_parts(self, values: FloatArray, weights: FloatArray, n_parts: int = N_DECILES) -> FloatArray:
        """Mean of another column over equal parts of the weight, lowest rank first, shape (n_parts,); ties shared."""
        whole = weights.sum()
        edges = np.arange(n_parts + 1.0) * whole / n_parts  # in this order: a sliver of a neighbour is no part of it
        return np.asarray(np.diff(self.sums(values, weights, edges)) * (n_parts / whole), dtype=np.float64)
