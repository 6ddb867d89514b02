"""Cards of pictures and texts: what is shown is what was given, whatever the texts say, and nothing is loaded."""

from __future__ import annotations

import html as markup
import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.training.cards import ARABIC, MARKS, TEXTS, of_pictures, of_texts
from tests.training.test_card import BIDI, HOSTILE, Page, written
from tests.training.test_card_search import is_inside

from tidemill.training.card import marks, text

LAWS = settings(max_examples=200, deadline=None)
WRITING = st.text(st.sampled_from("ab <&>\"'猫狗é\u0301\u200b\u200d\u202e\n\r\t😀\x1b"), max_size=60)
PLACES = st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70), st.floats(-1, 1)), max_size=12)
CARDS = {"pictures": of_pictures, "texts": of_texts, "numbers of texts": lambda: of_texts("regression")}


@pytest.fixture(params=list(CARDS))
def told(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of a card of pictures, of texts in classes, and of texts with a value."""
    return CARDS[request.param]()


def test_the_page_is_well_formed_and_holds_all_it_shows(tmp_path: Path, told: dict[str, Any]) -> None:
    html, card = written(tmp_path, told)
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("srcset", "style")], tag
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|http:|https:", html)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == (8 if card["modality"] == "picture" else 0) and all(item["alt"] for item in pictures)


def test_only_a_page_with_pictures_may_show_some(tmp_path: Path, told: dict[str, Any]) -> None:
    html, card = written(tmp_path, told)
    policy = next(a["content"] for _, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-")
    assert ("img-src data:;" in policy) is (card["modality"] == "picture")


def test_what_only_tables_have_is_not_there(tmp_path: Path, told: dict[str, Any]) -> None:
    html, card = written(tmp_path, told)
    words = Page(html).text
    for table_only in ("Importance of the columns", "What a column does", "Values it has seen", "column by column"):
        assert table_only not in words
    assert not re.search(r"every column|of the columns|From a row", words) and not card["limits"]["ranges"]
    assert {"examples", "mistakes", "plots", "data", "recipe"} <= {a["id"] for _, a in Page(html).tags if "id" in a}


def test_links_lead_somewhere_and_ids_are_unique(tmp_path: Path, told: dict[str, Any]) -> None:
    tags = Page(written(tmp_path, told)[0]).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(attributes["href"] or "")[1:] for tag, attributes in tags if tag == "a"} <= set(ids)


def test_scores_confusion_and_curves_are_those_of_every_card(tmp_path: Path, told: dict[str, Any]) -> None:
    html, card = written(tmp_path, told)
    drawn = [picture for picture in re.findall(r"<svg .*?</svg>", html, re.DOTALL) if 'class="plot' in picture]
    names = {re.findall(r'id="([a-z]+)-title"', picture)[0] for picture in drawn}
    wanted = {"predicted", "errors"} if card["task"] == "regression" else {"confusion", "calibration", "classes"}
    assert wanted | {"learning"} <= names and all(map(is_inside, drawn))
    assert ("lengths" in names) is (card["modality"] == "text")
    for item in told["metrics"]["per_class"]:
        assert text.visible(item["label"], 80) in Page(html).text


def test_the_card_in_json_has_the_examples_and_is_small(tmp_path: Path, told: dict[str, Any]) -> None:
    _, card = written(tmp_path, told)
    for kind in ("explanations", "mistakes"):
        assert [item["row"] for item in card[kind]] == [item["row"] for item in told["examples"][kind]]
    shown = card["explanations"][0]
    assert shown["heat"].startswith("data:") if card["modality"] == "picture" else shown["marks"] == MARKS["chinese"]
    assert (tmp_path / "card.json").stat().st_size < 1 << 20


def test_hostile_texts_and_names_are_shown_and_harmless(tmp_path: Path, told: dict[str, Any]) -> None:
    html, card = written(tmp_path, told)
    assert HOSTILE not in html
    assert not re.search("[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    words = "".join(Page(html).words)
    assert HOSTILE in words
    if card["modality"] == "text":
        assert "[U+202E]gnp.exe␛[31m␀" in words and ARABIC in words and "房间" in html
        assert BIDI in card["explanations"][2]["text"], "card.json keeps the text itself"


@pytest.mark.parametrize("made", [of_pictures, of_texts])
def test_a_card_without_examples_or_profile_is_a_card(tmp_path: Path, made: Any) -> None:
    given = made() | {"profile": {}, "examples": {}, "run": {}}
    given["metrics"] |= {"curves": {}, "history": [], "confusion": None, "per_class": [], "warnings": []}
    words = Page(written(tmp_path, given)[0]).text
    assert "No examples are shown" in words and "Worst mistakes" not in words


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_stand_beside_their_heat_maps_with_answer_and_truth(tmp_path: Path) -> None:
    given = of_pictures()
    html, _ = written(tmp_path, given)
    sources = re.findall(r'<img src="([^"]+)"', html)
    shown = [*given["examples"]["explanations"], *given["examples"]["mistakes"]]
    assert [markup.unescape(source) for source in sources] == [
        item[kind] for item in shown for kind in ("picture", "heat")
    ]
    words = Page(html).text
    assert "Worst mistakes" in words and "given 2.0 %" in words and "Test picture 9." in words
    assert "20 to 96 pixels wide" in words and "PNG 600, JPEG 2" in words and "colour 500, grey 102" in words


@pytest.mark.parametrize(
    "address",
    ["https://example.com/a.png", "data:text/html;base64,PHA+", 'data:image/png;base64,AA" onerror="x', None, 7],
)
def test_what_is_no_picture_is_not_shown(tmp_path: Path, address: Any) -> None:
    given = of_pictures()
    given["examples"]["mistakes"] = []
    given["examples"]["explanations"] = [{**given["examples"]["explanations"][0], "picture": address}]
    html, card = written(tmp_path, given)
    assert html.count("<img") == 1 and card["explanations"][0]["picture"] is None


def test_the_command_for_pictures_sends_a_file(tmp_path: Path) -> None:
    html, _ = written(tmp_path, of_pictures())
    command = re.search(r"<pre [^>]*>(.*?)</pre>", html, re.DOTALL)
    assert command
    script = f'curl() {{ printf "%s\\n" "$@"; }}\nTIDEMILL_URL=u TIDEMILL_KEY=k\n{markup.unescape(command[1])}'
    said = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0] == "u/models/demo/predict" and "content-type: image/jpeg" in said
    assert said[-2:] == ["--data-binary", "@photo.jpg"]


# --- texts ------------------------------------------------------------------------------------------------------------


def test_the_command_for_texts_sends_the_text_through_a_real_shell(tmp_path: Path) -> None:
    html, card = written(tmp_path, of_texts())
    command = re.search(r"<pre [^>]*>(.*?)</pre>", html, re.DOTALL)
    assert command
    script = "curl() { cat; }\n" + markup.unescape(command[1])
    out = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    assert json.loads(out) == {"row": card["request"]} == {"row": {"text": TEXTS["hostile"]}}


def test_every_mark_stands_on_its_word(tmp_path: Path) -> None:
    html, _ = written(tmp_path, of_texts())
    found = re.findall(r'<mark class="([a-z]+-\d)" title="([^"]+)">(.*?)</mark>', html)
    plain, chinese = TEXTS["plain"], TEXTS["chinese"]
    assert ("for-1", "+0.1000", chinese[0:2]) in found and ("against-5", "−0.4000", chinese[9:10]) in found
    assert [piece for kind, _, piece in found if kind == "for-3"][-2:] == ["fine", "fine"]
    assert ("against-5", "−0.5000", plain[46:50]) in found
    assert "film" not in {piece for *_, piece in found}, "a twenty-fifth of the strongest is not drawn"


def test_strong_words_are_told_in_words_too(tmp_path: Path) -> None:
    words = Page(written(tmp_path, of_texts())[0]).text
    assert "For: fine +0.5000" in words and "Characters 101 to 151 of 900." in words
    assert "From 0.3000 without words to 0.8100." in words
    assert "All that is not marked: −0.0100." in words, "the rest, and what is too faint to be drawn"


def test_paragraphs_turn_with_their_writing(tmp_path: Path) -> None:
    html, _ = written(tmp_path, of_texts())
    assert html.count('<p class="reading" dir="auto">') == 5


def test_private_texts_are_not_shown(tmp_path: Path) -> None:
    given = of_texts()
    given["schema"]["columns"][0]["levels"] = []
    html, card = written(tmp_path, given)
    assert "A fine film" not in html + json.dumps(card) and "the texts are private" in html
    assert card["request"] == {"text": "(private)"}


@LAWS
@given(WRITING, PLACES)
def test_marking_changes_no_sign_of_a_text(content: str, places: list[tuple[int, int, float]]) -> None:
    assume("\r\n" not in content)  # one line end, unless a mark ends within it
    page = Page(f"<p>{marks.marked({'text': content, 'marks': places})}</p>")
    assert "".join(page.words) == text.readable(content)
    assert {tag for tag, _ in page.tags} <= {"p", "mark"}


@LAWS
@given(PLACES)
def test_marks_that_overlap_become_one_with_their_sum(places: list[tuple[int, int, float]]) -> None:
    found = marks.apart(places, 64)
    assert all(left[1] <= right[0] for left, right in pairwise(found))
    inside = sum(value for start, end, value in places if start < min(end, 64))
    assert sum(value for *_, value in found) == pytest.approx(inside)


def test_strengths_go_from_nothing_to_the_strongest() -> None:
    assert [marks.strength_of(value, 1.0) for value in (0, 0.09, -0.1, 0.5, -0.7, 0.9, -1.0)] == [0, 0, 1, 3, 4, 5, 5]
    assert marks.strength_of(1.0, 0.0) == 0


def test_the_strongest_words_are_summed_over_the_text() -> None:
    found = marks.strongest({"text": "No no NO yes", "marks": [[0, 2, -0.1], [3, 5, -0.2], [6, 8, -0.3], [9, 12, 0.4]]})
    assert found["against"][0] == {"word": "No", "value": pytest.approx(-0.6)} and found["for"][0]["word"] == "yes"


def test_characters_of_one_word_are_told_together() -> None:
    told = [[0, 1, 0.2], [1, 2, 0.3], [2, 3, 0.01], [3, 4, -0.2], [4, 5, 0.3]]
    found = marks.strongest({"text": "不错的，好", "marks": told, "rest": 0.5})
    assert [one["word"] for one in found["for"]] == ["不错", "好"] and found["for"][0]["value"] == pytest.approx(0.5)
    assert [one["word"] for one in found["against"]] == ["，"] and found["unmarked"] == pytest.approx(0.51)


def test_lines_stay_and_what_is_invisible_is_spelled_out() -> None:
    assert text.readable("a\r\nb\rc\td") == "a\nb\nc\td"
    assert text.readable("\u202ex\x00\u200b") == "[U+202E]x␀[U+200B]"
    assert text.readable("👨\u200d👩 می\u200cخواهم") == "👨\u200d👩 می\u200cخواهم"
