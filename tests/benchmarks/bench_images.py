"""Tidemill beside other ways to tell pictures apart: the same pictures, the same splits, one thread, a process each.

    make bench-images SETS=FOLDER OPTIONS="--backbone FOLDER_OF_EFFICIENTNET --record"

FOLDER/mnist10k/images.zip, ...: a folder for each class. Targets: .985 on the 8,000 digits of mnist10k; .80 on stamps
with a frozen network, over five parts of the rows.
"""

from __future__ import annotations

from media.comparison import Kind, main
from media.sets import PICTURES
from media.summary import Row, reaches
from media.worker import ALONE, OURS, WITH

MODELS = (OURS, WITH, ALONE, "logistic", "svm", "forest", "keras-cnn")
TARGETS = (("mnist10k", OURS, 0.985), ("stamps", WITH, 0.8))
ABOUT = (
    "Accuracy on a fifth of the pictures, mean over seeds ± its standard error; a seed is another split and another"
    " training seed. logistic, svm and forest see pixels, 28 x 28 or fitted to 32 x 32; keras-cnn is a convolution of"
    " 32, pooling and 128 units. CPU seconds are means, in the order of the models."
)


def verdicts(rows: list[Row]) -> list[str]:
    """What was promised, set by set."""
    return [said for name, model, target in TARGETS if (said := reaches(rows, name, model, target))]


if __name__ == "__main__":
    main(Kind("images", "Telling pictures apart: accuracy", PICTURES, MODELS, verdicts, ABOUT), __doc__, "0-4")
