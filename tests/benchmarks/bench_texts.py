"""Tidemill beside other ways to tell texts apart: the same rows, the same splits, one thread, a process for each fit.

    make bench-texts SETS=FOLDER OPTIONS="--backbone FOLDER_OF_MINILM --record"

FOLDER/zh_sentiment/data.csv, FOLDER/news20/train.csv, ...: columns text and label. Target: on every set at least what
TF-IDF with logistic regression reaches, less one standard error; with a frozen encoder and 100 or 1,000 labels more
than the encoder or the n-grams alone.
"""

from __future__ import annotations

from media.comparison import Kind, main
from media.sets import LABELLED, LARGEST, TEXTS
from media.summary import Row, beats, within_error
from media.worker import ALONE, OURS, WITH, WITHOUT

MODELS = (OURS, WITH, ALONE, WITHOUT, "tfidf", "nb-svm", "fasttext")
ABOUT = (
    f"Accuracy on a fifth of the rows, mean over seeds ± its standard error; a seed is another split and another"
    f" training seed. Sets of more than {LARGEST:,} texts are sampled once; SET@N has N labels. tfidf: words, pairs and"
    " 2 to 5 characters within words, logistic regression with C = 10. CPU seconds: means, in the order of the models."
)


def verdicts(rows: list[Row]) -> list[str]:
    """What was promised, set by set."""
    held = {name: within_error(rows, name, OURS, "tfidf") for name in (*TEXTS, *LABELLED)}
    better = {name: beats(rows, name, WITH, (ALONE, WITHOUT)) for name in LABELLED}
    return [
        f"Target, at least tfidf less one standard error: {_listed(held)}.",
        f"Target, the encoder with n-grams above either alone: {_listed(better)}.",
    ]


def _listed(said: dict[str, str]) -> str:
    known = [f"{name} {word}" for name, word in said.items() if word != "-"]
    return ", ".join(known) or "not measured"


if __name__ == "__main__":
    main(
        Kind("texts", "Telling texts apart: accuracy", (*TEXTS, *LABELLED), MODELS, verdicts, ABOUT),
        __doc__,
        "0-2",
    )
