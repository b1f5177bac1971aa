# ruff: noqa: I001  the order of these lines is the order of the table's columns
"""Every feature, one line of numpy each.

To add one: write a function in the module of its group (or a new module, imported here) and
regenerate `docs/features.md` with `make docs`. Definitions are pure: no I/O, clock, environment.
"""

from features.definitions import rfm as rfm
from features.definitions import spend as spend
from features.definitions import windows as windows
from features.definitions import cadence as cadence
from features.definitions import trend as trend
from features.definitions import basket as basket
from features.definitions import calendar as calendar
from features.definitions import first_order as first_order
