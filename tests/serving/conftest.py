"""What the serving tests share: a model of pictures and one of texts, trained once a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.core.pictures import zipped
from tests.serving.modality_factory import MOODS, SIDES, picture, text

from tidemill.core.prepare import prepare
from tidemill.core.spec import Search, Spec, Train

CLASS_ROWS = 60


@pytest.fixture(scope="session")
def trained_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small network that tells on which side a picture is bright."""
    folder = tmp_path_factory.mktemp("sides")
    members = {f"{side}/{seed}.png": picture(side, seed) for side in SIDES for seed in range(CLASS_ROWS)}
    (folder / "sides.zip").write_bytes(zipped(members))
    spec = Spec(train=Train(epochs=6, patience=6, batch_size=16), search=Search(configurations=1))
    return _trained(folder, "sides.zip", spec)


@pytest.fixture(scope="session")
def trained_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a linear model that tells the mood of a text."""
    folder = tmp_path_factory.mktemp("moods")
    rows = [f'"{text(mood, 1_000 * place + seed)}",{mood}' for seed in range(100) for place, mood in enumerate(MOODS)]
    (folder / "moods.csv").write_text("\n".join(["review,mood", *rows]))
    return _trained(folder, "moods.csv", Spec(train=Train(family="linear"), search=Search(configurations=1)))


def _trained(folder: Path, name: str, spec: Spec) -> Path:
    from tidemill.training import bundle, fit  # JAX, which most serving tests do without

    prepare(folder / name, name, spec, folder / "dataset", model=folder.name[:5])
    with pytest.MonkeyPatch.context() as patch:  # nobody looks at the card here
        patch.setattr(fit, "examples_of", lambda *_: {})
        patch.setattr(bundle, "save_card", lambda *_, **__: None)
        fit.fit_bundle(folder / "dataset", spec, folder / "bundle")
    return folder / "bundle"
