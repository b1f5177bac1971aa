"""A fitted model on disk: text boosters and a manifest, hash-checked, without a single customer row.

BUNDLE/manifest.json     everything but the trees, and the SHA-256 of each file
BUNDLE/churn_90.txt      LightGBM text model, one per part and horizon
BUNDLE/registered.json   name and version, written by whoever took it from a registry
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from features.catalogue import CATALOGUE
from features.errors import BundleError, listed
from features.options import zone_named
from model.btyd import BgNbd, Btyd, GammaGamma
from model.clv import Blend, ClvModel, HorizonModel, NextOrder, Part, Typical
from model.curve import Curve
from model.prior import Prior
from model.season import Season
from model.spread import Spread
from model.standing import Standing

FORMAT: Final = 8
MANIFEST: Final = "manifest.json"
REGISTERED: Final = "registered.json"
CHAMPION: Final = "champion"
"""Alias of the registered version that is to be served."""
NEXT_ORDER: Final = "next_order.txt"
PARTS: Final = ("churn", "orders", "spend", "value")


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes
    ----------
    trained_on
        ISO instant: every training label window ends at or before it.
    data_fingerprint
        SHA-256 of the orders it was trained on, first 16 hex digits.
    currency, timezone
        Currency of all money, and the business time zone of days and hours.
    optional_columns
        Optional columns that the training log had.
    """

    trained_on: str
    data_fingerprint: str
    currency: str
    timezone: str
    optional_columns: tuple[str, ...]

    @property
    def zone(self) -> tzinfo:
        """The business time zone."""
        return zone_named(self.timezone)


@dataclass(frozen=True)
class Bundle:
    """A model with its provenance and identity (`version` is the registry's, or the bundle's hash)."""

    model: ClvModel
    provenance: Provenance
    name: str
    version: str


def save_bundle(folder: Path, model: ClvModel, provenance: Provenance) -> None:
    """Write a bundle into a new folder."""
    folder.mkdir(parents=True)
    boosters = {f"{kind}_{part.horizon_days}.txt": getattr(part, kind).trees for part in model.parts for kind in PARTS}
    hashes = {}
    for name, trees in {**boosters, NEXT_ORDER: model.next_order.trees}.items():
        text = trees.model_to_string().encode()
        (folder / name).write_bytes(text)
        hashes[name] = hashlib.sha256(text).hexdigest()
    manifest = _manifest(model, provenance, hashes)
    (folder / MANIFEST).write_text(json.dumps(signed(manifest), indent=1, sort_keys=True) + "\n")


def signed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the SHA-256 of all else that it says, however it is laid out."""
    said = {name: value for name, value in manifest.items() if name != "sha256"}
    return {**said, "sha256": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()}


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it whole.

    Raises
    ------
    BundleError
        Missing, damaged, of another format, or fitted on another feature catalogue.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = json.loads(raw)
    except (OSError, ValueError) as error:
        raise BundleError(f"There is no model in {str(folder)!r}: its {MANIFEST} is missing or damaged.") from error
    try:
        return _checked_bundle(folder, raw, manifest)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, lgb.basic.LightGBMError) as error:
        raise BundleError(
            f"The model in {str(folder)!r} is damaged ({type(error).__name__}): export it again."
        ) from error


def _checked_bundle(folder: Path, raw: bytes, manifest: dict[str, Any]) -> Bundle:
    _check(folder, manifest)
    registered = folder / REGISTERED
    identity = json.loads(registered.read_text()) if registered.is_file() else {}
    origin = manifest["provenance"]
    return Bundle(
        model=_model(folder, manifest),
        provenance=Provenance(**{**origin, "optional_columns": tuple(origin["optional_columns"])}),
        name=identity.get("name", "clv"),
        version=identity.get("version", hashlib.sha256(raw).hexdigest()[:12]),
    )


def catalogue_fingerprint() -> str:
    """SHA-256 of the names and definitions of all features."""
    text = "\n".join(f"{entry.name}\t{entry.unit}\t{entry.definition}" for entry in CATALOGUE)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(model: ClvModel, provenance: Provenance, hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "provenance": asdict(provenance),
        "catalogue": catalogue_fingerprint(),
        "features": model.features,
        "horizons": model.horizons,
        "btyd": asdict(model.btyd),
        "blends": {
            f"{kind}_{part.horizon_days}": asdict(getattr(part, kind).blend) for part in model.parts for kind in PARTS
        },
        "typicals": {str(part.horizon_days): asdict(part.typical) for part in model.parts},
        "value_shares": {str(part.horizon_days): part.value_share for part in model.parts},
        "spreads": {str(part.horizon_days): _spread(part.spread) for part in model.parts},
        "curves": {str(part.horizon_days): _curve(part.curve) for part in model.parts},
        "season": {
            "trained_on": model.season.trained_on,
            "orders": model.season.orders.tolist(),
            "value": model.season.value.tolist(),
        },
        "prior": _prior(model.prior),
        "standing": {
            "quantiles": model.standing.quantiles.tolist(),
            "edges": model.standing.edges.tolist(),
            "usual_gap_days": model.standing.usual_gap_days,
            "historic_clv_p90": model.standing.historic_clv_p90,
            "average_order_value_p80": model.standing.average_order_value_p80,
        },
        "next_order": {"window": model.next_order.window, "spread": _spread(model.next_order.spread)},
        "files": hashes,
    }


def _check(folder: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"The model in {str(folder)!r} has format {manifest.get('format')}, this version reads {FORMAT}: retrain."
        )
    if manifest["sha256"] != signed(manifest)["sha256"]:
        raise BundleError(f"The model in {str(folder)!r} is damaged: its {MANIFEST} fails its hash. Export it again.")
    expected = {f"{kind}_{days}.txt" for kind in PARTS for days in manifest["horizons"]} | {NEXT_ORDER}
    if set(manifest["files"]) != expected:
        raise BundleError(f"The model in {str(folder)!r} is damaged: its list of files is not its horizons'.")
    damaged = [name for name, digest in manifest["files"].items() if _digest(folder / name) != digest]
    if damaged:
        raise BundleError(
            f"The model in {str(folder)!r} is damaged: {listed(damaged)} fail their hash. Export it again."
        )
    if manifest["catalogue"] != catalogue_fingerprint():
        unknown = sorted(set(manifest["features"]) - set(CATALOGUE.names))
        which = f" (unknown here: {listed(unknown)})" if unknown else ""
        raise BundleError(f"The model in {str(folder)!r} was fitted on another feature catalogue{which}: retrain it.")


def _prior(prior: Prior) -> dict[str, Any]:
    return {
        "purchase_probability": prior.purchase_probability.tolist(),
        "orders": prior.orders.tolist(),
        "clv": prior.clv.tolist(),
        "by": {column: {value: _prior(one) for value, one in values.items()} for column, values in prior.by.items()},
        "without_order": _prior(prior.without_order) if prior.without_order else None,
    }


def _read_prior(saved: dict[str, Any]) -> Prior:
    probability, orders, clv = (np.array(saved[name]) for name in ("purchase_probability", "orders", "clv"))
    by = {column: {value: _read_prior(one) for value, one in values.items()} for column, values in saved["by"].items()}
    without_order = _read_prior(saved["without_order"]) if saved["without_order"] else None
    return Prior(probability, orders, clv, by, without_order)


def _spread(spread: Spread) -> dict[str, Any]:
    return {
        "knots": spread.knots.tolist(),
        "log_ratios": spread.log_ratios.tolist(),
        "level_sd": spread.level_sd,
    }


def _read(saved: dict[str, Any]) -> Spread:
    return Spread(np.array(saved["knots"]), np.array(saved["log_ratios"]), saved["level_sd"])


def _curve(curve: Curve) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in asdict(curve).items()}


def _read_curve(saved: dict[str, Any]) -> Curve:
    read: dict[str, Any] = {
        name: np.array(value) if isinstance(value, list) else value for name, value in saved.items()
    }
    return Curve(**read)


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _model(folder: Path, manifest: dict[str, Any]) -> ClvModel:
    def part(kind: str, horizon: int) -> Part:
        blend = Blend(**manifest["blends"][f"{kind}_{horizon}"])
        return Part(lgb.Booster(model_file=folder / f"{kind}_{horizon}.txt"), blend)

    btyd = manifest["btyd"]
    return ClvModel(
        features=tuple(manifest["features"]),
        btyd=Btyd(
            BgNbd(**btyd["purchases"]),
            GammaGamma(**btyd["value"]),
            GammaGamma(**btyd["repeat_value"]),
            btyd["orders_a_day"],
            btyd["later_over_first"],
        ),
        parts=tuple(
            HorizonModel(
                h,
                **{kind: part(kind, h) for kind in PARTS},
                value_share=manifest["value_shares"][str(h)],
                spread=_read(manifest["spreads"][str(h)]),
                curve=_read_curve(manifest["curves"][str(h)]),
                typical=Typical(**manifest["typicals"][str(h)]),
            )
            for h in manifest["horizons"]
        ),
        season=Season(
            manifest["season"]["trained_on"],
            np.array(manifest["season"]["orders"]),
            np.array(manifest["season"]["value"]),
        ),
        next_order=NextOrder(
            lgb.Booster(model_file=folder / NEXT_ORDER),
            _read(manifest["next_order"]["spread"]),
            manifest["next_order"]["window"],
        ),
        prior=_read_prior(manifest["prior"]),
        standing=Standing(
            **{
                **manifest["standing"],
                "quantiles": np.array(manifest["standing"]["quantiles"]),
                "edges": np.array(manifest["standing"]["edges"]),
            }
        ),
    )
