"""Every feature, one line of numpy each; the order of import is the order of the table's columns.

To add one: write a function in the module of its group (or a new module, imported here) and
regenerate `docs/features.md` with `make docs`. Definitions are pure: no I/O, clock, environment.
"""

from features.definitions import (
    basket as basket,  # isort: skip
)
from features.definitions import (
    cadence as cadence,  # isort: skip
)
from features.definitions import (
    calendar as calendar,  # isort: skip
)
from features.definitions import (
    first_order as first_order,  # isort: skip
)
from features.definitions import (
    rfm as rfm,  # isort: skip
)
from features.definitions import (
    spend as spend,  # isort: skip
)
from features.definitions import (
    trend as trend,  # isort: skip
)
from features.definitions import (
    windows as windows,  # isort: skip
)
