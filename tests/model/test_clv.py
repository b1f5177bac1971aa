"""Identities of the answer, the joined horizons, and the bundle on disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.errors import BundleError, HorizonError
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.baselines import BgNbdGammaGamma, CarryForward
from model.btyd import summarise
from model.bundle import Bundle, Provenance, load_bundle, save_bundle, signed
from model.predictions import Predictions, non_decreasing
from training.fingerprint import data_fingerprint
from training.fitting import fit

rows = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(0, 100))


@settings(max_examples=100, deadline=None)
@given(rows)
def test_joined_horizons_never_fall_and_keep_the_sum(values: np.ndarray) -> None:
    joined = non_decreasing(values)
    assert (np.diff(joined, axis=1) >= -1e-9).all()
    np.testing.assert_allclose(joined.sum(axis=1), values.sum(axis=1), atol=1e-9)
    np.testing.assert_allclose(non_decreasing(np.sort(values, axis=1)), np.sort(values, axis=1), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(rows, st.floats(0, 5))
def test_joining_keeps_order_between_quantities(values: np.ndarray, more: float) -> None:
    assert (non_decreasing(values + more) >= non_decreasing(values) - 1e-9).all()


def predictions_of(model: str, bundle: Bundle, matrix: FeatureMatrix) -> Predictions:
    known = {
        "clv": bundle.model,
        "carry_forward": CarryForward((30, 90)),
        "bgnbd_gamma_gamma": BgNbdGammaGamma(
            (30, 90), replace(bundle.model.btyd.purchases, modified=False), bundle.model.btyd.value
        ),
    }
    return known[model].predict(matrix)


@pytest.mark.parametrize("model", ["clv", "carry_forward", "bgnbd_gamma_gamma"])
def test_identities(model: str, bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    found = predictions_of(model, bundle, matrix)
    assert found.clv.shape == (len(matrix.customers), 2)
    for values in (found.purchase_probability, found.orders, found.clv):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (np.diff(values, axis=1) >= 0).all()
    assert (found.purchase_probability <= 1).all()
    assert (found.orders >= found.purchase_probability - 1e-12).all()
    product = found.orders * found.average_order_value
    np.testing.assert_allclose(product, found.clv, rtol=1e-12)


def test_one_row_at_a_time_gives_the_same_bits(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    whole = bundle.model.predict(matrix, threads=2)
    for place in range(0, len(matrix.customers), 37):
        one = replace(matrix, customers=matrix.customers[[place]], values=matrix.values[[place]].copy())
        alone = bundle.model.predict(one)
        for name in ("purchase_probability", "orders", "clv", "p_alive", "lower", "upper", "next_order_days"):
            assert getattr(alone, name)[0].tobytes() == getattr(whole, name)[place].tobytes(), name


def test_a_horizon_that_was_not_fitted_names_the_fitted_ones(bundle: Bundle, shop: OrderLog) -> None:
    found = bundle.model.predict(feature_matrix(shop, shop.complete_until))
    with pytest.raises(HorizonError, match=r"Fitted: 30, 90\. Train with --horizon-days 365"):
        found.place(365)
    with pytest.raises(HorizonError, match=r"Fitted: 30, 90\.$"):  # nobody can train for it
        found.place(-1)


def test_p_alive_is_null_for_one_purchase_day_in_a_textbook_shop(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    found, once = bundle.model.predict(matrix).p_alive, matrix.column("purchase_days") == 1
    assert not bundle.model.btyd.purchases.modified
    assert (np.isnan(found) == once).all()


@pytest.mark.slow
def test_p_alive_is_known_for_everyone_where_silence_speaks(cdnow_bundle_folder: Path, cdnow: OrderLog) -> None:
    model, matrix = load_bundle(cdnow_bundle_folder).model, feature_matrix(cdnow, cdnow.complete_until)
    found, once = model.btyd.purchases.p_alive_or_null(summarise(matrix)), matrix.column("purchase_days") == 1
    assert model.btyd.purchases.modified
    assert ((found > 0) & (found < 1)).all()
    assert np.corrcoef(found[once], matrix.column("recency_days")[once])[0, 1] < -0.9


def test_textbook_p_alive_is_null_where_bg_nbd_can_only_say_one(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    found = predictions_of("bgnbd_gamma_gamma", bundle, matrix).p_alive
    assert (np.isnan(found) == (matrix.column("purchase_days") == 1)).all()


def test_a_bundle_loads_back_to_the_same_bits(bundle: Bundle, bundle_folder: Path, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    again = load_bundle(bundle_folder).model.predict(matrix)
    assert again.clv.tobytes() == bundle.model.predict(matrix).clv.tobytes()


def test_a_bundle_holds_no_customer(shop: OrderLog, tmp_path: Path) -> None:
    """Neither ids nor rows: ids that cannot be mistaken for numbers are looked for in every file."""
    ids = np.array([f"buyer{place:04d}@shop.example" for place in range(shop.n_customers)], dtype=object)
    named = replace(shop, customer_ids=ids)
    provenance = Provenance("2024-02-25T00:00:00Z", data_fingerprint(named), "EUR", "UTC", ())
    save_bundle(tmp_path / "bundle", fit(named, named.complete_until, (30,)), provenance)
    written = "".join(path.read_text() for path in (tmp_path / "bundle").iterdir())
    assert len(written) > 10_000
    assert "@" not in written
    assert "buyer" not in written


def damage_manifest(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(signed(manifest)))


def copy_of(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_a_damaged_booster_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle_folder, tmp_path)
    (folder / "churn_30.txt").write_text((folder / "churn_30.txt").read_text() + " ")
    with pytest.raises(BundleError, match=r"churn_30\.txt fail their hash"):
        load_bundle(folder)


def test_a_manifest_that_was_changed_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle_folder, tmp_path)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest))  # laid out in another way, it is the same
    load_bundle(folder)
    first, second, *others = manifest["features"]
    path.write_text(json.dumps({**manifest, "features": [second, first, *others]}))
    with pytest.raises(BundleError, match=r"manifest\.json fails its hash"):
        load_bundle(folder)


def test_a_bundle_of_another_catalogue_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle_folder, tmp_path)
    damage_manifest(folder, lambda m: m.update(catalogue="x", features=["recency_days", "moon_phase"]))
    with pytest.raises(BundleError, match=r"another feature catalogue .unknown here: moon_phase"):
        load_bundle(folder)


def test_a_bundle_with_parts_missing_is_refused_not_crashed_on(bundle_folder: Path, tmp_path: Path) -> None:
    for place, change in enumerate(
        (
            lambda m: m.pop("files"),
            lambda m: m["files"].pop("churn_30.txt"),
            lambda m: m.pop("btyd"),
            lambda m: m.update(provenance=5),
        )
    ):
        folder = copy_of(bundle_folder, tmp_path / str(place))
        damage_manifest(folder, change)
        with pytest.raises(BundleError, match="damaged"):
            load_bundle(folder)


def test_a_bundle_of_another_format_or_none_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle_folder, tmp_path)
    damage_manifest(folder, lambda m: m.update(format=99))
    with pytest.raises(BundleError, match="format 99"):
        load_bundle(folder)
    with pytest.raises(BundleError, match="missing or damaged"):
        load_bundle(tmp_path)


def test_loading_and_predicting_needs_no_training_package(bundle_folder: Path) -> None:
    """The bundle path in a process where mlflow, pandas, scikit-learn, pyarrow and `training` cannot be imported."""
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mlflow", "pandas", "sklearn", "pyarrow", "training", "bentoml"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from model.bundle import load_bundle
import serving.requests as requests
found = requests.answer(load_bundle(Path({str(bundle_folder)!r})),
    b'{{"customers": [{{"customer_id": "a", "orders": [{{"ordered_at": "2024-01-01", "amount": 5}}]}}]}}', 10**15 * 2)
print(found["customers"][0]["basis"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "model", done.stderr
