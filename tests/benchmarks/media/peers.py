"""The other ways to learn from texts and pictures, one thread, with a seed; each gives scores of the test rows.

Nothing here uses Tidemill's features: only its rows and its split. Those that stop early use the validation split for
it; the others are fitted on training and validation rows together.
Axes: n rows, v n-grams, p pixels, k classes.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tables.rows import Array, Rows

FITTED = ("train", "validation")
TOKEN = r"(?u)[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"  # Chinese characters are words
SMALL, SIDE = 28, 32  # pixels; pictures of other sizes than the small one are fitted to the side
PATIENCE, EPOCHS = 5, 60  # of the network
SMOOTH, BETWEEN = 1.0, (0.25, 0.5, 1.0)  # NB-SVM: added to every count; from weights' mean to themselves


def texts(rows: Rows, *parts: str) -> list[str]:
    """The texts of some splits."""
    (name,) = rows.columns["train"]
    return [text for part in parts for text in rows.columns[part][name].tolist()]


def tfidf(rows: Rows, seed: int) -> Array:
    """TF-IDF of words and pairs of words and of 2 to 5 characters within words; logistic regression, C = 10."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    told: dict[str, Any] = {"sublinear_tf": True, "min_df": 2}
    union = make_union(
        TfidfVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), **told),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **told),
    )
    model = LogisticRegression(C=10.0, max_iter=1000, random_state=seed)
    model.fit(union.fit_transform(texts(rows, *FITTED)), rows.y_fitted)
    return _scores(model, model.predict_proba(union.transform(texts(rows, "test"))), rows)


def nb_svm(rows: Rows, seed: int) -> Array:
    """NB-SVM (Wang and Manning 2012): linear SVMs on words and pairs, seen or not, times log-count ratios.

    How far weights go from their mean to themselves is chosen by the validation split: what suits short reviews
    (a quarter, in the paper) fails on mails of very different lengths.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    count = CountVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), binary=True)
    train_nv, held_nv = count.fit_transform(texts(rows, "train")), count.transform(texts(rows, "validation"))
    parts, held_n = _nb_svms(train_nv, rows.y["train"], len(rows.labels), seed), rows.y["validation"]
    right = [(_nb_svm_scores(parts, held_nv, share).argmax(1) == held_n).mean() for share in BETWEEN]
    fitted_nv, test_nv = count.fit_transform(texts(rows, *FITTED)), count.transform(texts(rows, "test"))
    parts = _nb_svms(fitted_nv, rows.y_fitted, len(rows.labels), seed)
    return _nb_svm_scores(parts, test_nv, BETWEEN[int(np.argmax(right))])


def _nb_svms(x_nv: Any, y_n: Array, classes: int, seed: int) -> list[tuple[Array, Array, float] | None]:
    """The ratios, the weights and the bias of each class against the others; None for a class without rows."""
    from sklearn.svm import LinearSVC

    found: list[tuple[Array, Array, float] | None] = []
    for k in range(classes):
        of_k = y_n == k
        if not of_k.any():
            found.append(None)
            continue
        inside, outside = (np.asarray(x_nv[at].sum(0)).ravel() + SMOOTH for at in (of_k, ~of_k))
        ratio_v = np.log((inside / inside.sum()) / (outside / outside.sum()))
        model = LinearSVC(C=1.0, random_state=seed, max_iter=5000).fit(x_nv.multiply(ratio_v).tocsr(), of_k)
        found.append((ratio_v, model.coef_[0], float(model.intercept_[0])))
    return found


def _nb_svm_scores(parts: list[tuple[Array, Array, float] | None], x_nv: Any, share: float) -> Array:
    found = np.full((x_nv.shape[0], len(parts)), -np.inf)
    for k, part in enumerate(parts):
        if part:
            ratio_v, weight_v, bias = part
            mean = np.abs(weight_v).mean()  # of weights of ratios: all of them are for the class
            found[:, k] = x_nv @ (ratio_v * ((1 - share) * mean + share * weight_v)) + bias
    return found


def fasttext(rows: Rows, seed: int) -> Array:
    """fastText's own library: words and pairs, 100 numbers each, 25 epochs."""
    import re

    import fasttext as library

    def line(text: str) -> str:
        return " ".join(re.findall(TOKEN, text.lower()))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        pairs = zip(rows.y_fitted.tolist(), texts(rows, *FITTED), strict=True)
        path.write_text("".join(f"__label__{y} {line(text)}\n" for y, text in pairs), encoding="utf-8")
        told = {"lr": 0.5, "epoch": 25, "wordNgrams": 2, "thread": 1, "verbose": 0, "seed": seed}
        model = library.train_supervised(str(path), **told)
    found = np.zeros((len(rows.y["test"]), len(rows.labels)))
    for row, text in enumerate(texts(rows, "test")):
        for probability, label in model.f.predict(line(text) + "\n", -1, 0.0, "strict"):
            found[row, int(label.removeprefix("__label__"))] = probability
    return found


# --- pictures ---------------------------------------------------------------------------------------------------------


def pixels(rows: Rows, *parts: str) -> Array:
    """Pictures of some splits as numbers from 0 to 1 [n, h, w, c], over white, fitted to one size."""
    from PIL import Image, ImageOps

    def opened(data: bytes) -> Any:
        picture = Image.open(io.BytesIO(data))
        return picture if picture.mode == "L" else picture.convert("RGB")

    pictures = [opened(data) for part in parts for data in rows.columns[part]["picture"].tolist()]
    first = opened(rows.columns["train"]["picture"][0])
    grey, size = first.mode == "L", (SMALL, SMALL) if first.size == (SMALL, SMALL) else (SIDE, SIDE)
    fitted = [ImageOps.pad(one.convert("L" if grey else "RGB"), size, color="white") for one in pictures]
    found = np.stack([np.asarray(one, np.float32) / 255 for one in fitted])
    return found[..., None] if grey else found


def logistic(rows: Rows, seed: int) -> Array:
    """Logistic regression on pixels."""
    from sklearn.linear_model import LogisticRegression

    return _on_pixels(LogisticRegression(C=0.1, max_iter=500, random_state=seed), rows)


def svm(rows: Rows, seed: int) -> Array:
    """A support vector machine with a Gaussian kernel on pixels."""
    from sklearn.svm import SVC

    model = SVC(C=10.0, random_state=seed, decision_function_shape="ovr")
    model.fit(_flat(pixels(rows, *FITTED)), rows.y_fitted)
    answers = model.decision_function(_flat(pixels(rows, "test")))
    return _scores(model, np.stack([-answers, answers], 1) if answers.ndim == 1 else answers, rows)


def forest(rows: Rows, seed: int) -> Array:
    """A random forest on pixels."""
    from sklearn.ensemble import RandomForestClassifier

    return _on_pixels(RandomForestClassifier(300, n_jobs=1, random_state=seed), rows)


def keras_cnn(rows: Rows, seed: int) -> Array:
    """The network of an introduction: a convolution of 32, pooling, 128 units; Adam, early stopping."""
    import keras as library

    library.utils.set_random_seed(seed)
    seen, held, test = (pixels(rows, part) for part in ("train", "validation", "test"))
    model = library.Sequential(
        [
            library.Input(seen.shape[1:]),
            library.layers.Conv2D(32, 3, activation="relu"),
            library.layers.MaxPooling2D(),
            library.layers.Flatten(),
            library.layers.Dense(128, activation="relu"),
            library.layers.Dense(len(rows.labels), activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    stop = library.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    both = (held, rows.y["validation"])
    model.fit(seen, rows.y["train"], validation_data=both, epochs=EPOCHS, callbacks=[stop], verbose=0)
    return np.asarray(model.predict(test, verbose=0), np.float64)


def _on_pixels(model: Any, rows: Rows) -> Array:
    model.fit(_flat(pixels(rows, *FITTED)), rows.y_fitted)
    return _scores(model, model.predict_proba(_flat(pixels(rows, "test"))), rows)


def _flat(x_nhwc: Array) -> Array:
    return x_nhwc.reshape(len(x_nhwc), -1)


def _scores(model: Any, answers_nc: Array, rows: Rows) -> Array:
    """Scores with a column for every label; the lowest for one that no fitted row had."""
    spread_nk = np.full((len(answers_nc), len(rows.labels)), -np.inf)
    spread_nk[:, model.classes_.astype(int)] = answers_nc
    return spread_nk


# name -> (what fits it, the module whose import is not part of the fit, the package whose version is told)
PEERS: dict[str, tuple[Callable[[Rows, int], Array], str, str]] = {
    "tfidf": (tfidf, "sklearn.linear_model", "scikit-learn"),
    "nb-svm": (nb_svm, "sklearn.svm", "scikit-learn"),
    "fasttext": (fasttext, "fasttext", "fasttext-wheel"),
    "logistic": (logistic, "sklearn.linear_model", "scikit-learn"),
    "svm": (svm, "sklearn.svm", "scikit-learn"),
    "forest": (forest, "sklearn.ensemble", "scikit-learn"),
    "keras-cnn": (keras_cnn, "keras", "keras"),
}
