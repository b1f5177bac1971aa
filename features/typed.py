"""Order rows as typed columns, before the rules: where both doors, files and requests, meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from features.arrays import CodeArray, FloatArray, IntArray, ObjectArray, RuleArray
from features.columns import LINE_ITEM_COLUMNS, ORDER_ID


@dataclass(frozen=True)
class Codes:
    """A text column as codes into its distinct values; -1 is null."""

    codes: CodeArray
    values: ObjectArray

    def ranked(self, rows: IntArray) -> IntArray:
        """Codes of some rows renumbered by the order of their texts; nulls stay -1 and come first."""
        codes = self.codes[rows]
        present = np.unique(codes[codes >= 0])
        rank = np.full(len(self.values) + 1, -1, dtype=np.int64)  # the last place is the nulls'
        rank[present[np.argsort(self.values[present], kind="stable")]] = np.arange(len(present))
        return rank[codes]


@dataclass(frozen=True)
class TypedOrders:
    """Order rows after parsing, before the rules.

    `ordered_at` is µs UTC or NO_INSTANT where unreadable; `amount` is NaN where unreadable;
    `broken` carries the `Rule` a row broke while being parsed, 0 where it did not.
    """

    customer: Codes
    ordered_at: IntArray
    amount: FloatArray
    texts: Mapping[str, Codes] = field(default_factory=dict)
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    broken: RuleArray | None = None

    @property
    def has_line_items(self) -> bool:
        """Whether rows are line items, to be summed per order id."""
        mapped = {*self.texts, *self.numbers}
        return ORDER_ID in mapped and any(name in mapped for name in LINE_ITEM_COLUMNS)
