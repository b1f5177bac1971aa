"""Answers → rows of a batch, as Arrow tables: one row per customer and horizon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from model.bundle import Bundle
from serving.answer import customer_columns, horizon_columns, identity
from serving.scorer import Answers

_TEXT, _NUMBER, _WHOLE = pa.string(), pa.float64(), pa.int64()
SCHEMA: Final = pa.schema(
    [
        ("customer_id", _TEXT),
        ("horizon_days", _WHOLE),
        ("currency", _TEXT),
        ("as_of", _TEXT),
        ("prediction_start", _TEXT),
        ("prediction_end", _TEXT),
        ("basis", _TEXT),
        ("historic_clv", _NUMBER),
        ("historic_number_of_orders", _WHOLE),
        ("average_order_value", _NUMBER),
        ("average_days_between_orders", _NUMBER),
        ("days_since_last_order", _WHOLE),
        ("p_alive", _NUMBER),
        ("expected_date_of_next_order_window_start", _TEXT),
        ("expected_date_of_next_order", _TEXT),
        ("expected_date_of_next_order_window_end", _TEXT),
        ("percentile", _NUMBER),
        ("value_tier", _TEXT),
        ("lifecycle_status", _TEXT),
        ("rfm_score", _TEXT),
        ("purchase_probability", _NUMBER),
        ("churn_probability", _NUMBER),
        ("predicted_number_of_orders", _NUMBER),
        ("predicted_average_order_value", _NUMBER),
        ("predicted_clv", _NUMBER),
        ("predicted_clv_lower", _NUMBER),
        ("predicted_clv_upper", _NUMBER),
        ("interval_level", _NUMBER),
        ("margin", _NUMBER),
        ("discount_rate", _NUMBER),
        ("total_clv", _NUMBER),
        ("segments", _TEXT),
        ("flags", _TEXT),
        ("null_reasons", _TEXT),
        ("model_name", _TEXT),
        ("model_version", _TEXT),
        ("model_trained_on", _TEXT),
        ("model_data_fingerprint", _TEXT),
    ]
)


def to_table(bundle: Bundle, answers: Answers) -> pa.Table:
    """Answers as one row per customer and horizon, the horizons of a customer side by side."""
    n_customers, n_horizons = answers.log.n_customers, len(answers.predictions.horizons)
    about = {f"model_{key}": value for key, value in identity(bundle).items()}
    shared = {**customer_columns(bundle, answers), **about}
    shared["segments"] = np.array([_list(tuple(names)) for names in answers.place.segments], dtype=object)
    shared["flags"] = np.array([_list(tuple(flags)) for flags in answers.place.flags], dtype=object)
    nulls = (tuple(reasons.items()) for reasons in answers.null_reasons())
    shared["null_reasons"] = np.array([_mapping(items) for items in nulls], dtype=object)
    parts = [_arrow({**shared, **horizon_columns(answers, place)}, n_customers) for place in range(n_horizons)]
    side_by_side = np.arange(n_customers * n_horizons).reshape(n_horizons, n_customers).T.ravel()
    return pa.concat_tables(parts).take(pa.array(side_by_side))


@lru_cache(maxsize=4096)
def _list(names: tuple[str, ...]) -> str:
    """JSON; few lists are different in a whole base, and each is written once."""
    return json.dumps(names)


@lru_cache(maxsize=4096)
def _mapping(items: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(items), sort_keys=True)


def _arrow(columns: Mapping[str, Any], n_rows: int) -> pa.Table:
    arrays = [
        pa.array(column, from_pandas=True)
        if isinstance(column := columns[name], np.ndarray)
        else pa.repeat(column, n_rows)
        for name in SCHEMA.names
    ]
    return pa.table(arrays, names=SCHEMA.names).cast(SCHEMA)
