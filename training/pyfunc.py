"""The registered model as an MLflow pyfunc, logged from this file.

Catalogue columns in, one row out per row in; `params={"horizon_days": 90, "as_of": "2024-05-01"}` chooses the
horizon, 0 (the default) the shortest one fitted, and the moment the features are of, by default that of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from features.catalogue import CATALOGUE
from features.instants import parse_instant
from features.matrix import FeatureMatrix
from model.bundle import Bundle, load_bundle


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
        """Columns purchase_probability, predicted_number_of_orders, predicted_clv; the input's index."""
        model, given = self.bundle.model, params or {}
        frame = model_input.reindex(columns=list(CATALOGUE.names))
        if frame["frequency"].isna().any():
            raise ValueError("frequency is null in some rows: only customers with an order have features")
        values = np.ascontiguousarray(frame.to_numpy(dtype=np.float64))
        as_of = parse_instant(given.get("as_of") or self.bundle.provenance.trained_on)
        matrix = FeatureMatrix(as_of, CATALOGUE.names, np.arange(len(values)), values)
        answers = model.predict(matrix)
        horizon = int(given.get("horizon_days", 0)) or model.horizons[0]
        place = answers.place(horizon)
        return pd.DataFrame(
            {
                "purchase_probability": answers.purchase_probability[:, place],
                "predicted_number_of_orders": answers.orders[:, place],
                "predicted_clv": answers.clv[:, place],
            },
            index=model_input.index,
        )


set_model(ClvPyfunc())
