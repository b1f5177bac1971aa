"""The only writer of MLflow: one run per training, one registered model, two aliases that move.

`challenger` is the newest training, `champion` the one that is served, `previous` the champion
before it (MLflow keeps no history of aliases).
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlflow
import numpy as np
import pandas as pd
import sqlalchemy as sa
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from features.catalogue import CATALOGUE
from features.engines import hidden
from features.errors import GateError, RegistryError, listed, not_registered
from features.machine import alone_with, sqlite_file
from features.validation import Intake
from model.bundle import CHAMPION, save_bundle
from training.card import model_card
from training.fingerprint import git_commit
from training.fitting import SEED
from training.plots import plots
from training.train import Trained
from training.trees import N_TREES, TREES

EXPERIMENT: Final = "clv"
CHALLENGER, PREVIOUS = "challenger", "previous"
GATE_TAG: Final = "clv.gate"
_NOTICED: Final = {"clv.horizons": "horizons", "clv.currency": "currency", "clv.timezone": "time zone"}


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Turn MLflow's and the network's errors into one sentence."""
    try:
        yield
    except (MlflowException, OSError, sa.exc.SQLAlchemyError) as error:
        shown = hidden(uri)
        cause = (str(error) or type(error).__name__).splitlines()[0].replace(uri, shown)
        raise RegistryError(
            f"The model registry at {shown!r} refused or cannot be reached: {cause[:300]}. Check MLFLOW_TRACKING_URI."
        ) from error


@dataclass(frozen=True)
class Registry:
    """A place where runs and models live.

    Attributes
    ----------
    uri
        MLflow tracking and registry URI.
    artifacts
        Where artefacts of a local store go; None leaves it to the server.
    """

    uri: str
    artifacts: str | None = None

    def client(self) -> mlflow.MlflowClient:
        """Client of this registry."""
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # pip itself is not in our locks
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    def ensure_reachable(self) -> None:
        """Fail before hours of work, not after; makes the tables of a new local store. Raises RegistryError."""
        with reachable(self.uri), alone_with(self.uri):
            self.client().search_experiments(max_results=1)

    def record(self, trained: Trained, intake: Intake, name: str) -> str:
        """Log a training as one run, register its model as `name`, alias it challenger; returns the version.

        An interrupted run is marked as killed and registers nothing.
        """
        with reachable(self.uri):
            client = self.client()
            self._experiment(client)
            title = f"{name} {trained.provenance.trained_on[:10]}"
            with mlflow.start_run(run_name=title, description=model_card(trained)):
                try:
                    _log_run(trained, intake)
                    uri = _log_model(trained)
                except KeyboardInterrupt:
                    mlflow.end_run(RunStatus.to_string(RunStatus.KILLED))
                    raise
            with redirect_stderr(io.StringIO()):  # it announces what the command says in its own words
                version = str(mlflow.register_model(uri, name, tags=_version_tags(trained)).version)
            client.set_registered_model_alias(name, CHALLENGER, version)
            return version

    def promote(self, name: str, version: str | None = None) -> tuple[str, str | None]:
        """Make a version (the challenger by default) champion; returns (version, former champion).

        Raises
        ------
        GateError
            The version's gate failed; the text says which condition and by how much.
        """
        self._require_store(name)
        with reachable(self.uri):
            client = self.client()
            aliases = self._aliases(client, name)
            chosen = version or aliases.get(CHALLENGER)
            if chosen is None:
                raise RegistryError(f"{name!r} has no challenger. Train one: clv train ORDERS --name {name}.")
            chosen = str(int(chosen)) if chosen.isdecimal() else chosen
            known = {str(found.version): found for found in client.search_model_versions(f"name = '{name}'")}
            if chosen not in known:
                raise RegistryError(f"{name!r} has no version {chosen}; it has {listed(sorted(map(int, known)))}.")
            verdicts = json.loads(known[chosen].tags.get(GATE_TAG, "[]"))
            failed = [verdict["text"] for verdict in verdicts if not verdict["holds"]]
            if failed or not verdicts:
                why = "; ".join(failed) or "it carries no gate result"
                raise GateError(f"Version {chosen} of {name!r} is not promoted: {why}. The champion stays.")
            former = aliases.get(CHAMPION)
            if former is not None and former != chosen:
                client.set_registered_model_alias(name, PREVIOUS, former)
            client.set_registered_model_alias(name, CHAMPION, chosen)
            return str(chosen), former

    def rollback(self, name: str) -> tuple[str, str]:
        """Swap champion and previous champion; returns (champion now, champion before)."""
        self._require_store(name)
        with reachable(self.uri):
            client = self.client()
            aliases = self._aliases(client, name)
            if CHAMPION not in aliases or PREVIOUS not in aliases:
                raise RegistryError(f"{name!r} has no previous champion to go back to: it was promoted at most once.")
            client.set_registered_model_alias(name, CHAMPION, aliases[PREVIOUS])
            client.set_registered_model_alias(name, PREVIOUS, aliases[CHAMPION])
            return aliases[PREVIOUS], aliases[CHAMPION]

    def changes(self, name: str, before: str, now: str) -> list[str]:
        """What a caller would notice of another version beside its numbers: horizons, currency, time zone."""
        with reachable(self.uri):
            client = self.client()
            former, tags = (client.get_model_version(name, version).tags for version in (before, now))
        return [
            f"{what} {former[tag]}, now {tags[tag]}"
            for tag, what in _NOTICED.items()
            if tag in former and tag in tags and former[tag] != tags[tag]
        ]

    def _require_store(self, name: str) -> None:
        """Refuse to look for a model in a local store that nobody has made yet; looking would make it."""
        file = sqlite_file(self.uri)
        if file is not None and not file.exists():
            raise not_registered(name, ())

    def _experiment(self, client: mlflow.MlflowClient) -> None:
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT, artifact_location=self.artifacts)
        mlflow.set_experiment(EXPERIMENT)

    def _aliases(self, client: mlflow.MlflowClient, name: str) -> dict[str, str]:
        try:
            found = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # the latter: no name
                raise
            raise not_registered(name, (model.name for model in client.search_registered_models())) from error
        return {alias: str(version) for alias, version in found.aliases.items()}


def _version_tags(trained: Trained) -> dict[str, str]:
    verdicts = [{"holds": verdict.holds, "text": verdict.text} for verdict in trained.verdicts]
    return {
        GATE_TAG: json.dumps(verdicts),
        "clv.trained_on": trained.provenance.trained_on,
        "clv.horizons": ",".join(map(str, trained.model.horizons)),
        "clv.currency": trained.provenance.currency,
        "clv.timezone": trained.provenance.timezone,
    }


def _log_run(trained: Trained, intake: Intake) -> None:
    mlflow.log_params({**TREES, "n_trees": N_TREES, "seed": SEED})
    mlflow.log_params(
        {
            "horizons": list(trained.model.horizons),
            "n_features": len(trained.model.features),
        }
    )
    mlflow.set_tags(
        {
            "data_fingerprint": trained.provenance.data_fingerprint,
            "trained_on": trained.provenance.trained_on,
            "currency": trained.provenance.currency,
            "timezone": trained.provenance.timezone,
            "git_commit": git_commit(),
        }
    )
    rows = {
        "rows_read": intake.accounts.n_read,
        "rows_valid": intake.accounts.n_valid,
        "rows_rejected": intake.accounts.n_rejected,
    }
    mlflow.log_metrics(
        {
            **rows,
            "customers": intake.accounts.n_customers,
            "customers_trained_on": trained.n_customers,
            "identical_rows": intake.accounts.identical_rows,
        }
    )
    mlflow.log_dict(intake.accounts.rejected_by_rule, "rejected_by_rule.json")
    for case in trained.cases:
        for model, answered in case.models.items():
            known = {metric: value for metric, value in answered.metrics.items() if value is not None}
            mlflow.log_metrics({f"{model}.{metric}.{case.horizon_days}d": value for metric, value in known.items()})
    mlflow.log_dict({"cutoffs": [case.document() for case in trained.cases]}, "held_out.json")
    for case in trained.cases:
        for file, figure in plots(case, trained.model).items():
            mlflow.log_figure(figure, f"plots/{file}.png")
    mlflow.log_text(model_card(trained), "model_card.md")


def _log_model(trained: Trained) -> str:
    with (
        tempfile.TemporaryDirectory(prefix="clv-bundle-") as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # mlflow's own deprecations are not the user's business
        bundle = Path(folder) / "bundle"
        save_bundle(bundle, trained.model, trained.provenance)
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"bundle": str(bundle)},
            signature=signature(),
            input_example=input_example(),
            pip_requirements=["predictive-clv", f"numpy=={np.__version__}"],
        )
        return str(logged.model_uri)


def signature() -> ModelSignature:
    """All catalogue features to three doubles; the horizon and the moment are parameters.

    What needs an optional column of the order log may be absent, and so may the moment that the features are of.
    """
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.double, entry.name, required=not entry.needs) for entry in CATALOGUE
    ]
    inputs.append(ColSpec(DataType.string, "as_of", required=False))
    names = ("purchase_probability", "predicted_number_of_orders", "predicted_clv")
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in names]
    return ModelSignature(
        Schema(inputs),
        Schema(outputs),
        ParamSchema([ParamSpec("horizon_days", DataType.long, 0), ParamSpec("as_of", DataType.string, "")]),
    )


def input_example() -> pd.DataFrame:
    """Two made-up customers: nobody's row."""
    return pd.DataFrame({entry.name: np.minimum([1.0, 2.0], entry.high or 2.0) for entry in CATALOGUE})
