"""The console script `clv`: one short file per command, each only parse → call → print.

Heavy libraries are imported inside the commands, so that `clv --help` answers at once and
`clv serve --bundle` runs without the training packages.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else its threads spin for .08 s when numpy is imported
