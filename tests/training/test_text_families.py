"""Every family for texts learns, is exported for any number of rows, n-grams and tokens, and says why it answers so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from tests.core.sentences import AWKWARD
from tests.training.populations import Problem, near, same
from tests.training.sentences import Sentences, sentences

from tidemill.training import attribution, bundle, explain, inputs
from tidemill.training.evaluate import Model, Part
from tidemill.training.explain import Explainer
from tidemill.training.export.parity import session
from tidemill.training.families import MODALITIES, family
from tidemill.training.paths import quickly
from tidemill.training.search import Found

NAMES = [name for name in MODALITIES["text"] if name != "backbone"]
# The slowest takes as long as all others together; learning numbers is learning classes but for the loss.
FITTED = [pytest.param(name, marks=[pytest.mark.slow] if name == "transformer" else []) for name in NAMES]
NUMBERS = [pytest.param(name, marks=[pytest.mark.slow] if name in ("lstm", "transformer") else []) for name in NAMES]
BOUND = 1e-4  # of issue 4; what is measured is a hundredth of it
MIXED = ["我们喜欢这里", "broken and slow, a dull far away place"]
SHORT = [text for text in AWKWARD if len(text) < 200]  # walking along the longest takes most of a minute
BATCHES = [AWKWARD, ["lovely room"], MIXED, AWKWARD[:1], ["很好 " * 900]]


class Fitted(NamedTuple):
    """A family that was searched, as a model and as files."""

    text: Sentences
    case: Problem
    found: Found
    model: Model
    explainer: Explainer
    folder: Path


def fit(text: Sentences, name: str, folder: Path, **changes: Any) -> Fitted:
    case = text.of(name, **changes)
    found = case.found()
    model = case.model(found)
    explainer = attribution.explainer(model)
    bundle.save_graphs(folder, model, explainer, case.x_nf)
    return Fitted(text, case, found, model, quickly(explainer), folder)


@pytest.fixture(scope="module")
def english_and_chinese() -> Sentences:
    return sentences("multiclass")


@pytest.fixture(scope="module", params=FITTED)
def fitted(request: Any, english_and_chinese: Sentences, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(english_and_chinese, request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", NAMES)
def test_a_family_for_texts_describes_itself_in_a_line(name: str) -> None:
    known = family(name, "text")
    assert name == known.NAME
    assert known.DESCRIPTION.endswith(".") and "\n" not in known.DESCRIPTION


def test_a_family_learns_which_words_a_class_uses(fitted: Fitted) -> None:
    right = fitted.found.answer_nk.argmax(1) == fitted.case.y_n[fitted.found.held_n]
    assert right.mean() > 0.85


def test_answers_are_shares_that_sum_to_one_whatever_the_text(fitted: Fitted) -> None:
    answer_nk = fitted.model.answers(fitted.text.x_of(AWKWARD))
    assert np.isfinite(answer_nk).all() and answer_nk.min() >= 0
    assert np.allclose(answer_nk.sum(1), 1, atol=1e-5)


def test_the_exported_graph_answers_as_the_model_at_every_size(fitted: Fitted) -> None:
    runner = session(fitted.folder / "model.onnx")
    for rows in BATCHES:
        x_n = fitted.text.x_of(rows)
        (answer_nk,) = runner.run(None, inputs.named(x_n))
        assert np.abs(answer_nk - fitted.model.answers(x_n)).max() <= BOUND / 10, rows


def test_a_batch_answers_as_its_rows_alone(fitted: Fitted) -> None:
    runner = session(fitted.folder / "model.onnx")
    (together,) = runner.run(None, inputs.named(fitted.text.x_of(AWKWARD)))
    alone = [runner.run(None, inputs.named(fitted.text.x_of([row])))[0] for row in AWKWARD]
    assert np.abs(together - np.concatenate(alone)).max() <= BOUND / 10


def test_the_exported_explanation_equals_the_model_s_at_every_size(fitted: Fitted) -> None:
    runner = session(fitted.folder / "explain.onnx")
    for rows in (SHORT, ["lovely room"], MIXED):
        x_n = fitted.text.x_of(rows)
        target_nk = explain.targets_of(fitted.model.answers(x_n))
        wanted = explain.spread(explain.explained_in_blocks(fitted.explainer, x_n, target_nk))
        made = runner.run(None, {**inputs.named(x_n), "target": target_nk})
        for got, expected in zip(made, wanted, strict=True):
            assert np.abs(got - np.asarray(expected)).max() <= BOUND, rows


def test_contributions_stand_at_n_grams_and_tokens_and_add_up(fitted: Fitted) -> None:
    x_n = fitted.text.x_of(AWKWARD)
    target_nk = explain.targets_of(fitted.model.answers(x_n))
    raw = explain.explained_in_blocks(fitted.explainer, x_n, target_nk)
    contribution_np, prediction_n, baseline_n = (np.asarray(part) for part in explain.spread(raw))
    assert contribution_np.shape == (len(AWKWARD), x_n.bag_nm.shape[1] + x_n.seq_nt.shape[1])
    assert np.allclose(prediction_n, (fitted.model.answers(x_n) * target_nk).sum(1), atol=1e-5)
    assert np.allclose(contribution_np[1:].sum(1), (prediction_n - baseline_n)[1:], atol=1e-4)
    nowhere_np = np.concatenate([x_n.bag_nm == 0, x_n.seq_nt == 0], 1)
    assert not contribution_np[nowhere_np].any()
    assert not contribution_np[0].any()  # the text without words is where explanations start
    assert prediction_n[0] == pytest.approx(baseline_n[0], abs=1e-6)


def test_the_word_that_a_class_uses_speaks_for_it(fitted: Fitted) -> None:
    """On the mean of texts that have it at another place each: a small net leans on the place, too."""
    words = ["the", "room", "was", "lovely", "and", "we", "had", "some"]
    rows = [" ".join(words[at:] + words[:at]) for at in range(len(words))]
    x_n = fitted.text.x_of(rows)
    tokens = x_n.bag_nm.shape[1]
    target_nk = np.tile(np.eye(3, dtype=np.float32)[:1], (len(rows), 1))
    contribution_np = np.asarray(explain.explained_in_blocks(fitted.explainer, x_n, target_nk)[0])
    of_words = dict.fromkeys(words, 0.0)
    for text, bag_m, contribution_p in zip(rows, x_n.bag_nm.tolist(), contribution_np, strict=True):
        spans = fitted.text.program.spans(text)
        for slot, start, end in zip(spans.slot_g, spans.start_g, spans.end_g, strict=True):
            if text[start:end] in of_words:
                of_words[text[start:end]] += contribution_p[bag_m.index(slot)] / len(rows)
        for at, (start, end) in enumerate(zip(spans.start_t, spans.end_t, strict=True)):
            of_words[text[start:end]] += contribution_p[tokens + at] / len(rows)
    assert of_words["lovely"] > 0.02
    assert max(of_words, key=of_words.__getitem__) == "lovely", of_words


def test_padding_changes_no_answer(fitted: Fitted) -> None:
    x_n = fitted.text.x_of(AWKWARD[4:6])
    wide = type(x_n)(*(np.pad(a, ((0, 0), (0, 32))) if a.ndim == 2 else a for a in x_n if a is not None))
    assert near(fitted.model.answers(x_n), fitted.model.answers(wide), 1e-6)


def test_what_decays_is_told_for_every_leaf_and_is_never_a_bias(fitted: Fitted) -> None:
    search = fitted.case.search()
    name = fitted.case.config.families[0]
    net = search._kind(name).net
    weights = net.init(np.random.default_rng(0), 8, search._seen(name)[0])
    told = net.decayed(weights)
    assert jax.tree.structure(told) == jax.tree.structure(weights)
    for path, yes in jax.tree_util.tree_leaves_with_path(told):
        assert not (
            yes and any(word in jax.tree_util.keystr(path) for word in ("bias", "embedding", "scale", "'place"))
        )


def test_equal_seeds_give_equal_weights_and_other_seeds_other_ones(fitted: Fitted) -> None:
    again = fitted.case.found()
    assert same([part.weights for part in fitted.found.parts], [part.weights for part in again.parts])
    assert fitted.found.record == again.record
    if fitted.case.config.families != ("linear",):  # a convex problem has one answer
        other = fitted.case.changed(seed=7).found()
        assert not same(fitted.found.answer_nk, other.answer_nk)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_family_learns_numbers_too(name: str, tmp_path: Path) -> None:
    made = fit(sentences("regression"), name, tmp_path)
    held_n, unit = made.found.held_n, float(made.case.y_n.std())
    assert np.sqrt(np.mean((made.found.answer_nk[:, 0] - made.case.y_n[held_n]) ** 2)) < 0.7 * unit
    (value_nk,) = session(tmp_path / "model.onnx").run(None, inputs.named(made.case.x_nf))
    assert np.abs(value_nk - made.model.answers(made.case.x_nf)).max() <= BOUND * unit


def test_families_answer_and_explain_together(english_and_chinese: Sentences, tmp_path: Path) -> None:
    search = english_and_chinese.case.changed(families=tuple(NAMES), configurations=1).search()
    scale = search.run().scale
    parts = tuple(
        Part(name, search._kind(name), jax.tree.map(lambda leaf: leaf[:, 0], line.state.best), 1 / len(NAMES))
        for name, line in search.lines.items()
    )
    model = Model(parts, scale, 1.0)
    explainer = attribution.explainer(model)
    bundle.save_graphs(tmp_path, model, explainer, english_and_chinese.case.x_nf)
    x_n = english_and_chinese.x_of(MIXED)
    (answer_nk,) = session(tmp_path / "model.onnx").run(None, inputs.named(x_n))
    assert np.abs(answer_nk - model.answers(x_n)).max() <= BOUND / 10
    target_nk = explain.targets_of(answer_nk)
    wanted = explain.spread(explain.explained_in_blocks(explainer, x_n, target_nk))
    made = session(tmp_path / "explain.onnx").run(None, {**inputs.named(x_n), "target": target_nk})
    for got, expected in zip(made, wanted, strict=True):
        assert np.abs(got - np.asarray(expected)).max() <= BOUND


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_look_at_many_long_texts_gives_what_a_look_at_few_gives(
    name: str, english_and_chinese: Sentences, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = family(name, "text").net(english_and_chinese.program.shape, 3, None, width=8)
    weights = net.init(np.random.default_rng(0), 8, None)
    x_n = english_and_chinese.x_of(english_and_chinese.rows[:10])

    def told() -> Any:
        return np.asarray(net.finish(weights, net.enter(weights, net.encode(weights, x_n)), lambda x: x))

    whole = told()
    monkeypatch.setattr(f"tidemill.training.families.{name}.{'AT_ONCE' if name == 'lstm' else 'SCORES'}", 3)
    assert near(told(), whole, 1e-5)
