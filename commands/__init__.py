"""The console script `clv`: one short file per command, each only parse → call → print.

Heavy libraries are imported inside the commands, so that `clv --help` answers at once and
`clv serve --bundle` runs without the training packages.
"""
