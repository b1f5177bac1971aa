"""Small trees, many rows: all comparisons of a booster at once, by numpy; LightGBM's own scores to the bit.

LightGBM walks each row through each tree, and the processor guesses wrong at every other fork. Here each fork is
compared with a whole column of rows; the answers of a tree's forks, one bit each, are the place of the leaf in a
table. Several times as fast from some fifty rows on; leaves are added in the order of the trees, as LightGBM does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import BoolArray, ByteArray, FloatArray, IntArray

MOST_FORKS: Final = 8
_ROWS: Final = 1024
_TREES: Final = 64
"""Rows and trees at a time: what lies between two steps is small enough to stay in the cache."""
_CATEGORICAL, _DEFAULT_LEFT, _MISSING, _MISSING_IS_ZERO = 1, 2, 12, 4
"""Bits of LightGBM's `decision_type`."""
_ZERO: Final = float(np.float32(1e-35))
"""Values this near to 0 are 0 to LightGBM."""


@dataclass(frozen=True)
class _Forks:
    """Forks of all trees that compare one column in one way.

    Attributes
    ----------
    compare
        What their bit says: "less or equal", or "greater" where a missing value goes left. Both are false for a missing
        value.
    zeroed
        Whether a missing value counts as 0.
    thresholds
        Shape (n_forks, 1).
    rows
        Rows of the bit matrix that are theirs.
    """

    column: int
    compare: np.ufunc
    zeroed: bool
    thresholds: FloatArray
    rows: slice


@dataclass(frozen=True)
class Forest:
    """Trees of a booster, at most MOST_FORKS forks each, as tables.

    Attributes
    ----------
    places
        Row of the bit matrix of each tree's fork, shape (n_trees, width).
    leaves
        Value of the leaf for every answer of a tree's forks, shape (n_trees * 2 ** width,).
    first_leaf
        Place of each tree's first one, shape (n_trees, 1).
    """

    n_columns: int
    forks: tuple[_Forks, ...]
    n_bits: int
    places: IntArray
    leaves: FloatArray
    first_leaf: IntArray

    def scores(self, inputs: FloatArray) -> FloatArray:
        """Sum of the leaves for each row, shape (n,)."""
        out = np.empty(len(inputs))
        for low in range(0, len(inputs), _ROWS):
            out[low : low + _ROWS] = self._some(inputs[low : low + _ROWS])
        return out

    def _some(self, inputs: FloatArray) -> FloatArray:
        if len(inputs) == 1:  # numpy would add the leaves of a lone row in another order
            return self._some(np.repeat(inputs, 2, axis=0))[:1]
        columns = np.ascontiguousarray(inputs.T)
        bits = np.empty((self.n_bits, len(inputs)), dtype=np.bool_)
        for forks in self.forks:
            column = columns[forks.column]
            if forks.zeroed:
                column = np.where(np.isnan(column), 0.0, column)
            forks.compare(column, forks.thresholds, out=bits[forks.rows])
        answers, out = bits.view(np.uint8), np.zeros(len(inputs))
        for begin in range(0, len(self.places), _TREES):
            values = self._leaves_of(slice(begin, begin + _TREES), answers)
            values[0] += out
            np.add.reduce(values, axis=0, out=out)
        return out

    def _leaves_of(self, trees: slice, answers: ByteArray) -> FloatArray:
        """Values of some trees' leaves, shape (n_trees, n)."""
        places = self.places[trees]
        leaf = answers.take(places[:, 0], axis=0)
        for fork in range(1, places.shape[1]):
            leaf += leaf  # one to the left: numpy shifts bytes one by one, and adds many at once
            leaf |= answers.take(places[:, fork], axis=0)
        return np.asarray(self.leaves.take(self.first_leaf[trees] + leaf))


def forest_of(text: str) -> Forest | None:
    """The trees of a booster's text; None where they ask for more than columns, thresholds and a few forks.

    `text` is what `Booster.model_to_string` gives.
    """
    head, *parts = text.split("\nTree=")
    trees = [_fields(part) for part in parts]
    n_forks = [int(tree["num_leaves"]) - 1 for tree in trees]
    if "average_output" in head or not trees or max(n_forks) > MOST_FORKS or min(n_forks) < 1:
        return None
    split = [_integers(tree["decision_type"]) for tree in trees]
    kinds = np.concatenate(split)
    linear = any(tree.get("is_linear", "0") != "0" for tree in trees)
    if linear or (kinds & (_CATEGORICAL | _MISSING_IS_ZERO)).any():
        return None
    columns = np.concatenate([_integers(tree["split_feature"]) for tree in trees])
    thresholds = _beside_zero(np.concatenate([_numbers(tree["threshold"]) for tree in trees]))
    left, zeroed = kinds & _DEFAULT_LEFT > 0, kinds & _MISSING == 0
    above = left & ~zeroed
    order = np.lexsort([thresholds, above, zeroed, columns])
    new = np.ones(len(order), dtype=np.bool_)  # forks of several trees that ask the same are asked once
    ordered = [kind[order] for kind in (thresholds, above, zeroed, columns)]
    new[1:] = np.any([kind[1:] != kind[:-1] for kind in ordered], axis=0)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    asked = order[new]
    width = max(n_forks)
    places = np.zeros((len(trees), width), dtype=np.int64)
    leaves = np.empty((len(trees), 1 << width))
    begin = 0
    for number, (tree, n) in enumerate(zip(trees, n_forks, strict=True)):
        own = slice(begin, begin + n)
        places[number, :n] = place[own]
        leaves[number] = _table(tree, above[own], width)
        begin += n
    n_columns = int(_fields(head)["max_feature_idx"]) + 1
    forks = tuple(_grouped(columns[asked], above[asked], zeroed[asked], thresholds[asked]))
    first_leaf = (np.arange(len(trees)) << width)[:, np.newaxis]
    return Forest(n_columns, forks, len(asked), places, leaves.ravel(), first_leaf)


def _beside_zero(thresholds: FloatArray) -> FloatArray:
    """Thresholds that tell values apart as if those next to 0 were 0."""
    near = np.where(thresholds < 0.0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    return np.where(np.abs(thresholds) <= _ZERO, near, thresholds)


def _grouped(columns: IntArray, above: BoolArray, zeroed: BoolArray, thresholds: FloatArray) -> Iterator[_Forks]:
    keys = columns * 4 + zeroed * 2 + above
    edges = np.flatnonzero(np.diff(keys, prepend=-1, append=-1))
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        compare = np.greater if above[low] else np.less_equal
        yield _Forks(int(columns[low]), compare, bool(zeroed[low]), thresholds[low:high, np.newaxis], slice(low, high))


def _table(tree: Mapping[str, str], above: BoolArray, width: int) -> FloatArray:
    """Value of the leaf for every answer; the first fork's bit is the highest, those of absent forks mean nothing."""
    left, right = _integers(tree["left_child"]), _integers(tree["right_child"])
    values = _numbers(tree["leaf_value"])
    answers = np.arange(1 << width)
    node = np.zeros(1 << width, dtype=np.int64)
    while (inner := node >= 0).any():
        fork = np.maximum(node, 0)
        goes_left = (answers >> (width - 1 - fork) & 1 == 1) != above[fork]
        node = np.where(inner, np.where(goes_left, left[fork], right[fork]), node)
    return values[~node]


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _integers(text: str) -> IntArray:
    return np.array(text.split(), dtype=np.int64)


def _numbers(text: str) -> FloatArray:
    return np.array(text.split(), dtype=np.float64)
