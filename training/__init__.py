"""Features and what happened next → a fitted model, its evidence, and its place in the registry.

In the order the data flows:

- `cutoffs`, `labels`, `examples`: moments of the past, what happened after them, the training table;
- `btyd`, `curve`, `trees`, `parts`, `spread`: maximum likelihood, regression, boosting, the models of a horizon and
  their intervals;
- `windows`, `prices` → `level`, `prior`: the total, the newcomers; `extremes`: whom they pass over; `fitting`: all of
  them; `guards`: what must not leak;
- `ranking` → `metrics`, `bootstrap`, `rivals` (`pareto_nbd`), `checks`, `backtest`, `gate`: out-of-time evaluation,
  the verdict;
- `simulation`: shops with known truth, which tests hold all of it against;
- `train`: all of it in one call; `fingerprint`, `plots`, `card`: its evidence;
- `registry`: the only writer of MLflow; `pyfunc`: the model as MLflow serves it.
"""
