"""The register of features: one entry each, with all that a reader or a model needs to know of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final, TypeAlias

import numpy as np

from features.arrays import FloatArray
from features.history import Purchases

NEVER: Final = "never"


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes
    ----------
    name, group
        Column name and the family it belongs to.
    definition
        One line, in words.
    dtype
        `int` (whole numbers) or `float`; the engine computes both as float64.
    unit
        days, orders, money, share, ratio, ...
    low, high
        Closed range of the values; None is unbounded.
    null
        What a null (NaN) means, or `never`.
    needs
        Optional columns without which the feature is null for everyone.
    compute
        Values of shape (n_customers,) from the purchases view.
    """

    name: str
    group: str
    definition: str
    dtype: str
    unit: str
    low: float | None
    high: float | None
    null: str
    needs: tuple[str, ...]
    compute: Callable[[Purchases], FloatArray]


class Catalogue:
    """Ordered mapping of feature names to entries."""

    def __init__(self) -> None:
        self._entries: dict[str, Feature] = {}

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> Feature:
        return self._entries[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All feature names, in the order of the table's columns."""
        return tuple(self._entries)

    def values(self, orders: Purchases, name: str) -> FloatArray:
        """Compute a feature, null for everyone where a needed column is absent."""
        entry = self._entries[name]
        if entry.needs and not orders.available.issuperset(entry.needs):
            return np.full(orders.n_customers, np.nan)
        return entry.compute(orders)

    def add(self, entry: Feature) -> None:
        """Register an entry. Raises ValueError when the name is taken."""
        if entry.name in self._entries:
            raise ValueError(f"feature {entry.name!r} is defined twice")
        self._entries[entry.name] = entry


CATALOGUE: Final = Catalogue()

Definition: TypeAlias = Callable[..., FloatArray]


def feature(
    name: str,
    unit: str,
    *,
    low: float | None = 0.0,
    high: float | None = None,
    null: str = NEVER,
    dtype: str = "float",
    needs: tuple[str, ...] = (),
    **parameters: tuple[int, ...],
) -> Callable[[Definition], Definition]:
    """Register a definition, once per combination of its parameters.

    The name and the docstring may speak of a parameter as `{w}`; the group is the module's name.
    """

    def register(define: Definition) -> Definition:
        group = define.__module__.rpartition(".")[2]
        text = re.sub(r"\s+", " ", define.__doc__ or "").strip().rstrip(".")
        for values in product(*parameters.values()):
            bound = dict(zip(parameters, values, strict=True))
            CATALOGUE.add(
                Feature(
                    name=name.format(**bound),
                    group=group,
                    definition=text.format(**bound),
                    dtype=dtype,
                    unit=unit,
                    low=low,
                    high=high,
                    null=null,
                    needs=needs,
                    compute=_bind(define, bound),
                )
            )
        return define

    return register


def _bind(define: Definition, bound: dict[str, int]) -> Callable[[Purchases], FloatArray]:
    return partial(define, **bound) if bound else define
