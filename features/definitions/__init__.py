"""Every feature, one line of numpy each; the order of import is the order of the table's columns.

To add one: write a function in the module of its group (or a new module, imported here) and
regenerate `docs/features.md` with `make docs`. Definitions are pure: no I/O, clock, environment.
"""

from features.definitions import (
    rfm as rfm,  # isort: skip
    spend as spend,  # isort: skip
    windows as windows,  # isort: skip
    cadence as cadence,  # isort: skip
    trend as trend,  # isort: skip
    basket as basket,  # isort: skip
    calendar as calendar,  # isort: skip
    first_order as first_order,  # isort: skip
)
