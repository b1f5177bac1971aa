"""The array types that cross module borders."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
ObjectArray: TypeAlias = NDArray[np.object_]
AnyArray: TypeAlias = NDArray[Any]
CodeArray: TypeAlias = NDArray[np.int32]
RuleArray: TypeAlias = NDArray[np.uint8]
MonthArray: TypeAlias = NDArray[np.int16]
ByteArray: TypeAlias = NDArray[np.uint8]
