"""The registered model as an MLflow pyfunc, logged from this file.

Catalogue columns in, one row out per row in. `params={"horizon_days": 90, "as_of": "2024-05-01"}` chooses the horizon,
by default (0) the primary one, and the moment that the features are of: by default that of the column `as_of`, which
`clv features` writes, and without one that of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from features.arrays import FloatArray
from features.catalogue import CATALOGUE, NEVER
from features.errors import listed
from features.instants import parse_instant
from features.matrix import FeatureMatrix
from model.bundle import Bundle, load_bundle

_LOW: Final = np.array([-np.inf if entry.low is None else entry.low for entry in CATALOGUE])
_HIGH: Final = np.array([np.inf if entry.high is None else entry.high for entry in CATALOGUE])
_NEVER_NULL: Final = np.array([entry.null == NEVER for entry in CATALOGUE])


class ClvPyfunc(PythonModel):
    """Frame of features → frame of predictions."""

    bundle: Bundle

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that lies in the artefact."""
        self.bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  mlflow passes it
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Columns purchase_probability, predicted_number_of_orders, predicted_clv; the input's index.

        Raises
        ------
        ValueError
            A value that its feature cannot have, or features of several moments.
        """
        model, given = self.bundle.model, params or {}
        values = _features(model_input)
        as_of = parse_instant(given.get("as_of") or _moment(model_input) or self.bundle.provenance.trained_on)
        matrix = FeatureMatrix(as_of, CATALOGUE.names, np.arange(len(values)), values)
        answers = model.predict(matrix)
        horizon = int(given.get("horizon_days", 0)) or model.primary_horizon
        place = answers.place(horizon)
        return pd.DataFrame(
            {
                "purchase_probability": answers.purchase_probability[:, place],
                "predicted_number_of_orders": answers.orders[:, place],
                "predicted_clv": answers.clv[:, place],
            },
            index=model_input.index,
        )


def _features(frame: pd.DataFrame) -> FloatArray:
    """Columns of the catalogue, shape (n, n_features); one that is not there is null."""
    values = np.ascontiguousarray(frame.reindex(columns=list(CATALOGUE.names)).to_numpy(dtype=np.float64))
    wrong = np.isinf(values) | (values < _LOW) | (values > _HIGH) | (np.isnan(values) & _NEVER_NULL)
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        entry = CATALOGUE[CATALOGUE.names[place]]
        raise ValueError(
            f"{entry.name} is {values[row, place]} in row {row} (from 0), and {wrong[:, place].sum():,} rows in all "
            f"hold what it cannot be: its values are finite, from {_LOW[place]} to {_HIGH[place]}, and null where: "
            f"{entry.null}. Customers without an order have no features."
        )
    return values


def _moment(frame: pd.DataFrame) -> str | None:
    """Moment that all rows say their features are of; None where none says one."""
    if "as_of" not in frame.columns:
        return None
    found = frame["as_of"].dropna().unique().tolist()
    if len(found) > 1:
        raise ValueError(f"as_of holds {len(found)} moments, {listed(found)}: predict for one at a time.")
    return str(found[0]) if found else None


set_model(ClvPyfunc())
