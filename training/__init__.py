"""Features and what happened next → a fitted model, its evidence, and its place in the registry.

In the order the data flows:

- `cutoffs`, `labels`, `examples`: moments of the past, what happened after them, the training table;
- `btyd`, `trees`, `level`, `prior`: maximum likelihood, boosting, the total, the newcomers; `fitting`: all of them;
- `metrics`, `backtest`, `gate`: out-of-time evaluation and the verdict;
- `train`: all of it in one call; `fingerprint`, `plots`, `card`: its evidence;
- `registry`: the only writer of MLflow; `pyfunc`: the model as MLflow serves it.
"""
