"""The other libraries, each with its own defaults, one thread, and a seed; each answers the test rows.

A peer takes the rows and a seed and gives probabilities (n, k) or values (n,). Those that stop early use the
validation split for it; the others are fitted on training and validation rows together.
Axes: n rows, k classes, c classes that were fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tables.rows import Array, Rows, plain

FITTED = ("train", "validation")
STRENGTHS = np.logspace(-3, 2, 6)  # of 1 / penalty: the logistic regression's is chosen on the validation split
PENALTIES = np.logspace(-3, 4, 22)  # the ridge regression's is chosen by leaving out one row at a time
NATIVE_LEVELS = 255  # scikit-learn's limit of levels in a category
PATIENCE, EPOCHS = 10, 200  # of the network


def lightgbm(rows: Rows, seed: int) -> Array:
    """LightGBM with its own handling of categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if rows.regression else LGBMClassifier
    model = kind(n_jobs=1, random_state=seed, verbose=-1)
    return _fitted(model, rows, rows.fitted_frame(), rows.frame("test"))


def xgboost(rows: Rows, seed: int) -> Array:
    """XGBoost with its own handling of categories."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBRegressor if rows.regression else XGBClassifier
    model = kind(n_jobs=1, random_state=seed, enable_categorical=True, tree_method="hist")
    return _fitted(model, rows, rows.fitted_frame(), rows.frame("test"))


def catboost(rows: Rows, seed: int) -> Array:
    """CatBoost with its own handling of categories; stops when 100 rounds brought the validation split nothing."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostRegressor if rows.regression else CatBoostClassifier
    model = kind(
        thread_count=1,
        random_seed=seed,
        cat_features=rows.categories,
        early_stopping_rounds=100,
        verbose=0,
        allow_writing_files=False,
    )
    seen = np.isin(rows.y["validation"], rows.y["train"]) | rows.regression
    held = (rows.texts("validation")[seen], rows.y["validation"][seen])
    model.fit(rows.texts("train"), rows.y["train"], eval_set=held)
    return _answers(model, rows, rows.texts("test"))


def histgb(rows: Rows, seed: int) -> Array:
    """scikit-learn's HistGradientBoosting; categories of more levels than it takes are numbers to it."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    native = [name in rows.categories and len(rows.levels[name]) <= NATIVE_LEVELS for name in rows.columns["test"]]
    kind = HistGradientBoostingRegressor if rows.regression else HistGradientBoostingClassifier
    model = kind(random_state=seed, categorical_features=native)
    fitted = np.concatenate([rows.codes(part) for part in FITTED])
    return _fitted(model, rows, fitted, rows.codes("test"))


def forest(rows: Rows, seed: int) -> Array:
    """A random forest on plain features."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if rows.regression else RandomForestClassifier
    x = plain(rows, FITTED)
    return _fitted(kind(n_jobs=1, random_state=seed), rows, np.concatenate([x[part] for part in FITTED]), x["test"])


def linear(rows: Rows, seed: int) -> Array:
    """Logistic or ridge regression on plain features, its penalty chosen, then fitted on all rows but the test's."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from tables.scores import log_loss

    x = plain(rows, FITTED)
    whole = np.concatenate([x[part] for part in FITTED])
    if rows.regression:
        return _fitted(RidgeCV(PENALTIES), rows, whole, x["test"])

    def model(strength: float) -> Any:
        return LogisticRegression(C=strength, max_iter=5000, random_state=seed)

    def loss(strength: float) -> float:
        fitted = model(strength).fit(x["train"], rows.y["train"])
        return log_loss(rows.y["validation"], _answers(fitted, rows, x["validation"]))

    return _fitted(model(min(STRENGTHS, key=loss)), rows, whole, x["test"])


def keras(rows: Rows, seed: int) -> Array:
    """A small network as in an introduction: 64-32 for classes, 10-20 for values, Adam, early stopping."""
    import keras as library

    library.utils.set_random_seed(seed)
    x = {part: values.astype(np.float32) for part, values in plain(rows, ("train",)).items()}
    center, unit = (rows.y["train"].mean(), rows.y["train"].std()) if rows.regression else (0.0, 1.0)
    y = {part: (values - center) / unit if rows.regression else values for part, values in rows.y.items()}
    hidden = (10, 20) if rows.regression else (64, 32)
    layers = [library.layers.Dense(units, activation="relu") for units in hidden]
    outputs = 1 if rows.regression else len(rows.labels)
    layers.append(library.layers.Dense(outputs, activation=None if rows.regression else "softmax"))
    model = library.Sequential([library.Input((x["train"].shape[1],)), *layers])
    model.compile(optimizer="adam", loss="mse" if rows.regression else "sparse_categorical_crossentropy")
    stop = library.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    held = (x["validation"], y["validation"])
    model.fit(x["train"], y["train"], validation_data=held, epochs=EPOCHS, callbacks=[stop], verbose=0)
    answers = np.asarray(model.predict(x["test"], verbose=0), np.float64)
    return answers[:, 0] * unit + center if rows.regression else answers


def _fitted(model: Any, rows: Rows, fitted: Any, test: Any) -> Array:
    """Fit on rows with the targets of training and validation; the answers to the test rows."""
    classes, y = np.unique(rows.y_fitted, return_inverse=True)
    model.fit(fitted, rows.y_fitted if rows.regression else y)
    return _answers(model, rows, test, classes)


def _answers(model: Any, rows: Rows, test: Any, classes: Array | None = None) -> Array:
    """Values, or probabilities with a column for every label: 0 for one that no fitted row had."""
    if rows.regression:
        return np.asarray(model.predict(test), np.float64).reshape(-1)
    found_nc = np.asarray(model.predict_proba(test), np.float64)
    spread_nk = np.zeros((len(found_nc), len(rows.labels)))
    spread_nk[:, np.asarray(model.classes_ if classes is None else classes).astype(int)] = found_nc
    return spread_nk


# name -> (what fits it, the module whose import is not part of the fit, the package whose version is told)
PEERS: dict[str, tuple[Callable[[Rows, int], Array], str, str]] = {
    "linear": (linear, "sklearn.linear_model", "scikit-learn"),
    "lightgbm": (lightgbm, "lightgbm", "lightgbm"),
    "xgboost": (xgboost, "xgboost", "xgboost"),
    "histgb": (histgb, "sklearn.ensemble", "scikit-learn"),
    "forest": (forest, "sklearn.ensemble", "scikit-learn"),
    "catboost": (catboost, "catboost", "catboost"),
    "keras": (keras, "keras", "keras"),
}
