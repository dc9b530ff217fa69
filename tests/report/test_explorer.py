"""The page as a person uses it, in a browser."""

import csv
import json
import re

import pytest
from allennlp.common import Params
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from allennlp_influence.analysis.artifacts import analyse, groups_of
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.influence.results import open_results
from allennlp_influence.report import write_report
from allennlp_influence.report.wording import signed
from allennlp_influence.report.texts import visible
from tests.browser import PHONE, WIDE, Page, chromium, undisturbed

from .conftest import HOSTILE, NUM_TRAIN, TOP_K, make_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = make_results(tmp_path_factory.mktemp("explorer") / "results")
    write_report(directory)
    return directory


def length(example):
    return len(example.text["sentence"])


@pytest.fixture(scope="module")
def artifacts(results):
    """The page with the curves of two artifacts."""
    opened = open_results(results)
    configs = {
        "negative": {"type": "label", "label": "negative"},
        "<b>length": {"type": "function", "function": "tests.report.test_explorer:length"},
    }
    features = {name: ArtifactFeature.from_params(Params(config)) for name, config in configs.items()}
    analysis = analyse(opened, features, groups_of(opened.explanations, []), num_resamples=20)
    folder = results.with_name("artifacts")
    folder.mkdir()
    write_report(results, folder, analysis)
    return folder, analysis


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class Explorer(Page):
    """The open page."""

    def __init__(self, browser, results):
        super().__init__(browser)
        self.results = results

    def open(self, address="", size=WIDE):
        self.load(f"{(self.results / 'report.html').as_uri()}#{address}", size)

    def shown(self):
        """The ids in the list of predictions."""
        return [int(element.text) for element in self.all("#queries .id")]


@pytest.fixture
def explorer(browser, results):
    with undisturbed(browser, "file:"):
        yield Explorer(browser, results)


def test_it_opens_at_the_first_prediction_or_where_the_address_says(explorer):
    explorer.open()
    assert explorer.shown() == [1, 4, 7, 10, 13]
    assert explorer.text("#query h2") == "Prediction 1"
    explorer.open("query-7")
    assert explorer.text("#query h2") == "Prediction 7" and explorer.browser.title.startswith("7: ")
    assert explorer.text("#queries [aria-current] .id") == "7"
    explorer.one("#queries a[href='#query-10']").click()
    assert explorer.text("#query h2") == "Prediction 10"
    explorer.browser.back()
    assert explorer.text("#query h2") == "Prediction 7"


def test_search_filter_and_order(explorer):
    explorer.open()
    explorer.one("input[name=search]").send_keys("tedious FILM")
    assert explorer.shown() == [1] and explorer.text("#count") == "1 of 5 predictions"
    explorer.one("input[name=search]").clear()
    explorer.one("input[name=search]").send_keys(" ")
    assert len(explorer.shown()) == 5
    explorer.browser.execute_script("document.querySelector('input[value=right]').click()")
    right = [line["id"] for line in open_results(explorer.results).explanations if line["gold"] == line["predicted"]]
    assert explorer.shown() == right
    explorer.browser.execute_script("document.querySelector('input[value=all]').click()")
    Select(explorer.one("select[name=label]")).select_by_visible_text("negative")
    assert explorer.shown() == [1, 7, 13]
    Select(explorer.one("select[name=label]")).select_by_visible_text("any label")
    Select(explorer.one("select[name=order]")).select_by_visible_text("least confident")
    assert explorer.shown()[0] == 10  # explains the label that it does not predict


def test_the_training_examples_of_a_prediction(explorer):
    explorer.open("query-1")
    line = open_results(explorer.results).explanations[0]
    for side in ("supporters", "opponents"):
        items = explorer.all(f".{side} li")
        assert len(items) == TOP_K
        sources = [item.find_element(By.CSS_SELECTOR, ".source").text for item in items]
        assert [int(re.search(r"example (\d+)", text)[1]) for text in sources] == [x["id"] for x in line[side]]
        for text, listed in zip(sources, line[side]):
            score = float(re.search(r"score (\S+)", text)[1].replace("−", "-"))
            assert score == pytest.approx(listed["score"], rel=0.01)
            z = float(re.search(r"z (\S+)", text)[1].replace("−", "-"))
            assert z == pytest.approx(listed["z"], abs=0.051)
    # the axis is that of the strongest, whichever side it is on
    widths = [bar.rect["width"] for bar in explorer.all(".bar i")]
    assert max(widths) == pytest.approx(explorer.one(".bar").rect["width"], abs=1)
    changes = [float(d.text.split()[0].replace("−", "-")) for d in explorer.all(".supporters .delta")]
    assert changes == sorted(changes) and changes[0] < 0  # confidence falls
    assert changes[0] == pytest.approx(-100 * 0.91 * line["supporters"][0]["score"], rel=0.1)
    assert len(explorer.all(".mark")) == 2 * TOP_K
    assert "label suspect?" in explorer.text("#query .columns") or "model" in explorer.text("#query .columns")


def test_what_each_word_adds_to_an_examples_score(explorer):
    explorer.open("query-1")
    line = open_results(explorer.results).explanations[0]
    for item, listed in zip(explorer.all("#query .columns li"), [*line["supporters"], *line["opponents"]]):
        words = item.find_elements(By.CSS_SELECTOR, ".text .sup, .text .opp")
        expected = listed["token_attribution"]["words"]
        assert [word.get_attribute("textContent") for word in words] == [w["text"] for w in expected]
        assert words[0].get_attribute("class") == "sup" and words[1].get_attribute("class") == "opp"
        assert words[1].get_attribute("title") == "−2.00e−4 of the score"
    assert "+4.00e−3 nats" in explorer.text(".attribution")  # of the fortieth word
    explorer.open("query-4")
    assert not explorer.all(".attribution") and not explorer.all(".text .sup")


def test_what_the_pointer_is_on_shows_everywhere(explorer):
    explorer.open("query-1")
    word = explorer.one(".words [data-word=tedious]")
    explorer.point_at(word)
    assert explorer.text(".readout") == "tedious −0.50: opposes “negative”"
    lit = [element.text.lower() for element in explorer.all(".hot")]
    assert len(lit) > 1 and set(lit) == {"tedious"}
    item = explorer.one(".opponents li")
    explorer.point_at(item.find_element(By.CSS_SELECTOR, ".source"))
    (mark,) = explorer.all(".mark.hot")
    assert mark.get_attribute("data-example") == item.get_attribute("data-example")
    assert explorer.text(".readout") == ""
    colours = {w.text: w.value_of_css_property("background-color") for w in explorer.all(".words span")}
    assert colours["a"] == "rgba(0, 0, 0, 0)"  # a score of zero has no colour
    assert len({colours["tedious"], colours["film"], colours["sometimes"]}) == 3
    assert "−0.50" in explorer.text(".scale") and "+0.50" in explorer.text(".scale")


def test_what_if_some_were_not_there(explorer):
    explorer.open("query-1")
    assert not explorer.one("#what-if").is_displayed()
    line = open_results(explorer.results).explanations[0]
    for side in ("supporters", "opponents"):
        explorer.one(f".{side} li input").click()
    total = sum(line[side][0]["score"] for side in ("supporters", "opponents"))
    said = explorer.text("#what-if-sum")
    assert "Without 2 training examples, confidence in “negative” of prediction 1" in said
    assert f"{total:+.2e}".replace("e-0", "e−") in said
    explorer.one("#what-if summary").click()
    ids = sorted(line[side][0]["id"] for side in ("supporters", "opponents"))
    command = explorer.text("#what-if-command")
    assert command == f"allennlp what-if {explorer.results} --retrain --remove {ids[0]} {ids[1]}"
    # those that another prediction lists count there, the ticks stay
    explorer.one("#queries a[href='#query-4']").click()
    assert "of prediction 4" in explorer.text("#what-if-sum")
    explorer.one("#views a[href='#label-errors']").click()
    assert explorer.one("#what-if").is_displayed()
    boxes = explorer.browser.execute_script("return [...document.querySelectorAll('[data-tick]')].filter(b => b.checked).length")
    assert boxes > 0
    explorer.one("#what-if-clear").click()
    assert not explorer.one("#what-if").is_displayed()
    assert not explorer.all("[data-tick]:checked")


def downloaded(explorer, folder, press):
    explorer.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    press()
    (file,) = explorer.downloaded(folder)
    return file.read_text(encoding="utf-8")


def test_downloads(explorer, tmp_path):
    explorer.open("query-1")
    folders = [tmp_path / name for name in ("all", "json", "ids")]
    for folder in folders:
        folder.mkdir()
    results = open_results(explorer.results)
    text = downloaded(explorer, folders[0], explorer.one("#all-csv").click)
    rows = list(csv.DictReader(text.splitlines()))
    expected = [(line["id"], side, x["id"]) for line in results.explanations for side in ("supporters", "opponents") for x in line[side]]
    assert [(int(row["query"]), row["side"], int(row["training_example"])) for row in rows] == expected
    first = results.explanations[0]["supporters"][0]
    assert float(rows[0]["score"]) == pytest.approx(first["score"], rel=1e-7)
    assert float(rows[0]["z"]) == pytest.approx(first["z"], rel=1e-5)

    (button,) = [b for b in explorer.all("#query header button") if b.text == "JSON"]
    (query,) = json.loads(downloaded(explorer, folders[1], button.click))
    assert query["id"] == 1 and query["text"] == results.explanations[0]["text"]
    assert [x["id"] for x in query["opponents"]] == [x["id"] for x in results.explanations[0]["opponents"]]

    explorer.one(".supporters li input").click()
    ids = downloaded(explorer, folders[2], explorer.one("#what-if-ids").click)
    assert ids == f"{first['id']}\n"


def test_with_the_keyboard_alone(explorer):
    explorer.open("query-1")
    explorer.press(Keys.TAB)
    assert explorer.focused.get_attribute("class") == "skip"
    explorer.press(Keys.ENTER)
    assert explorer.focused.get_attribute("id") == "query-title"
    explorer.press("/")
    assert explorer.focused.get_attribute("name") == "search"
    explorer.press("film", Keys.TAB)
    assert explorer.shown() == [1]
    explorer.focused.send_keys(Keys.SHIFT, Keys.TAB)
    explorer.focused.send_keys(Keys.CONTROL, "a")
    explorer.press(Keys.DELETE)
    assert len(explorer.shown()) == 5
    while explorer.focused.get_attribute("href") is None or "#query-" not in explorer.focused.get_attribute("href"):
        explorer.press(Keys.TAB)
    # in the list the arrows go on, and the focus with them
    explorer.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert explorer.text("#query h2") == "Prediction 7"
    assert explorer.focused.get_attribute("aria-current") == "true"
    assert "Prediction 7" in explorer.one("#status").get_attribute("textContent")
    explorer.press(Keys.END)
    assert explorer.text("#query h2") == "Prediction 13"
    explorer.press("k")
    assert explorer.text("#query h2") == "Prediction 10"
    # one stop of the tab key in the list; then the prediction's own controls, down to the first box
    explorer.press(Keys.HOME)
    for _ in range(20):
        explorer.press(Keys.TAB)
        if explorer.focused.get_attribute("type") == "checkbox":
            break
    explorer.press(Keys.SPACE)
    assert explorer.one("#what-if").is_displayed()
    assert explorer.browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") != "none"


def luminance(colour):
    def linear(value):
        value /= 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(float(part)) for part in re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_both_themes_can_be_read(explorer):
    explorer.open("query-1")
    pages = {}
    for theme in ("light", "dark"):
        Select(explorer.one("#theme")).select_by_value(theme)
        page = luminance(explorer.one("body").value_of_css_property("background-color"))
        pages[theme] = page
        for selector in ("body", ".note", ".delta", "#views a", ".source", ".model"):
            ink = luminance(explorer.one(selector).value_of_css_property("color"))
            contrast = (max(ink, page) + 0.05) / (min(ink, page) + 0.05)
            assert contrast >= 4.5, (theme, selector, contrast)  # WCAG 2.2, AA
    assert pages["light"] > 0.8 and pages["dark"] < 0.05


def test_hostile_texts_are_text(explorer):
    explorer.open("query-1")
    assert explorer.browser.execute_script("return document.images.length + document.querySelectorAll('main script').length") == 0
    texts = " ".join(element.get_attribute("textContent") for element in explorer.all("#query .text"))
    listed = [example["id"] for example in open_results(explorer.results).explanations[0]["supporters"]]
    assert len(set(listed) & {1, 2, 3, 4, 5}) == 4 and 5 in listed
    for id in {1, 2, 3, 4} & set(listed):
        assert visible(HOSTILE[id - 1]) in texts
    # ten thousand characters are folded, and unfold
    (long,) = [b for b in explorer.all("#query .text button") if "characters" in b.text]
    assert long.text == f"all {len(HOSTILE[4]):,} characters"
    long.click()
    texts = " ".join(element.get_attribute("textContent") for element in explorer.all("#query .text"))
    assert visible(HOSTILE[4]) in texts
    for id, text in ((4, "<script>"), (7, HOSTILE[1]), (10, HOSTILE[3]), (13, HOSTILE[4])):
        explorer.open(f"query-{id}")
        assert visible(text) in explorer.one("#query .words").get_attribute("textContent")
        page = explorer.browser.execute_script("return document.body.textContent")
        assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", page)


@pytest.mark.parametrize("address", ["query-1", "query-13", "predictions", "label-errors", "hubs", "table-5", "run"])
def test_nothing_is_wider_than_a_phone(explorer, address):
    explorer.open(address, size=PHONE)
    assert explorer.width <= PHONE[0]
    # the list and the prediction take turns
    if address.startswith("query"):
        assert not explorer.one("#side").is_displayed()
        explorer.one(".back").click()
    if address == "predictions" or address.startswith("query"):
        assert explorer.one("#side").is_displayed() and not explorer.one("#query").is_displayed()


def test_the_other_views(explorer):
    explorer.open()
    results = open_results(explorer.results)
    explorer.one("#views a[href='#label-errors']").click()
    assert explorer.focused.text == "Likely label errors"
    ranked = sorted(results.training_examples, key=lambda example: -example["self_influence"])
    rows = explorer.all("#label-error-table tbody tr")
    assert len(rows) == NUM_TRAIN  # all of them: there are no more than are shown
    assert [visible(e["text"]["sentence"])[:40] in row.text for e, row in zip(ranked[:5], rows)] == [True] * 5
    explorer.one("#only-disagreeing").click()
    disagree = [e for e in ranked if e["predicted"] != e["label"]]
    assert len(explorer.all("#label-error-table tbody tr")) == len(disagree)
    explorer.one("#only-disagreeing").click()

    explorer.one("#views a[href='#hubs']").click()
    link = explorer.one("#hub-table tbody a")
    id = link.text
    link.click()
    assert explorer.text("#query h2") == f"Prediction {id}"

    explorer.one("input[name=search]").send_keys("tedious")
    explorer.one("#views a[href='#table-5']").click()
    (table,) = explorer.all(".paper")
    assert len(table.find_elements(By.CSS_SELECTOR, "tbody tr")) == 6
    assert "a sometimes tedious film ." in table.text

    explorer.one("#views a[href='#run']").click()
    assert "4 of 5 systems solved" in explorer.text("section[data-view=run] .checks")
    assert "a <script>warning</script>" in explorer.text("section[data-view=run]")


def test_artifacts(explorer, artifacts):
    folder, analysis = artifacts
    explorer.open("query-1")
    assert not explorer.all("#artifact") and not explorer.all("#views a[href='#artifacts']")
    explorer.results = folder
    explorer.open("query-1")
    for name, fits in analysis.fits.items():
        Select(explorer.one("#artifact")).select_by_visible_text(name)
        c, (low, high) = fits["z"].coefficients[0, 2], fits["z"].intervals[0]
        caption = explorer.text("figure:has(.curve) figcaption")
        assert f"c = {signed(c)}, 95 % interval {signed(low)} to {signed(high)}" in caption
        titles = [t.get_attribute("textContent") for t in explorer.all(".cell title")]
        assert sum(int(title.split()[0]) for title in titles) == NUM_TRAIN
    explorer.one("#queries a[href='#query-4']").click()  # the choice stays
    assert explorer.text("#query h2") == "Prediction 4" and "<b>length ≈" in explorer.text("figure:has(.curve)")
    explorer.one("#views a[href='#artifacts']").click()
    (mean,) = [a.mean for a in analysis.averages if (a.feature, a.scale, a.by) == ("negative", "z", "all")]
    assert f"all queries 5 {signed(mean)}" in explorer.text("section[data-view=artifacts] tbody tr")
    for address in ("query-1", "artifacts"):
        explorer.open(address, size=PHONE)
        assert explorer.width <= PHONE[0]
