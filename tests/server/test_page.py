"""The page as a person uses it, in a browser, against a real server."""

import csv
import io
import json
import threading

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from allennlp_influence.engine.progress import progress
from allennlp_influence.report.texts import visible
from tests.browser import PATIENCE, PHONE, WIDE, Page, chromium, undisturbed
from tests.server.test_serving import running

TEXT = "a good film , sometimes ."
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202egood\u202c film \u2066x\u2069",
    "👩‍👩‍👧 good 🇨🇭",
    "'\"></textarea><b>",
    "good " * 2000,
]


@pytest.fixture(scope="module")
def url(endpoint):
    with running(endpoint) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class LivePage(Page):
    """The open page."""

    def __init__(self, browser, url):
        super().__init__(browser)
        self.url = url

    def open(self, address="", size=WIDE):
        self.load(f"{self.url}#{address}", size)
        self.until(lambda: self.all("textarea"))

    def type(self, text):
        """As by a paste: the driver can't type all characters."""
        self.browser.execute_script(
            "const area = document.querySelector('textarea'); area.value = arguments[0];"
            "area.dispatchEvent(new Event('input', { bubbles: true }));",
            text,
        )

    def words(self):
        return [(e.text, e.get_attribute("class")) for e in self.all("#prediction .words [data-word]")]

    def shares(self, selector):
        """How deep the colours of these words are, from 0 to 1."""
        script = "return arguments[0].map((e) => Number(e.style.getPropertyValue('--a')))"
        return self.browser.execute_script(script, self.all(selector))

    def has_words(self):
        return self.all("#prediction .words") and not self.all("#prediction.stale")

    def ids(self, side):
        sources = self.all(f"#influence .{side} .source")
        return [int(e.get_attribute("textContent").split()[2]) for e in sources]


@pytest.fixture
def page(browser, url):
    with undisturbed(browser, url):
        yield LivePage(browser, url)


def ask(url, name, text, label="predicted"):
    path = f"{url}interpret/{name}?label={label}"
    return requests.post(path, json={"sentence": text}, timeout=PATIENCE).json()["instance_1"]


def test_prediction_and_words_while_one_types(page, url):
    page.open()
    assert "10 training examples" in page.text("#about")
    page.one("textarea").send_keys(TEXT)
    page.until(page.has_words)
    answer = ask(url, "gradient_x_input", TEXT)
    expected = [
        (word["text"], "sup" if word["score"] > 0 else "opp")
        for word in answer["words"]
        if word["score"]
    ]
    assert [word for word in page.words() if word[1]] == expected
    scores = [abs(word["score"]) for word in answer["words"]]
    assert page.shares("#prediction .words [data-word]") == pytest.approx(
        [score / max(scores) for score in scores], abs=1e-3
    )
    predicted = page.one("#prediction .facts").text
    assert answer["predicted"] in predicted and len(page.all("#prediction .classes li")) == 2
    page.type("")
    page.until(lambda: not page.all("#prediction .card"))


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_by_the_keyboard_alone(page, url, size):
    page.open(size=size)
    while page.focused.tag_name != "textarea":
        page.press(Keys.TAB)
    page.press(TEXT)
    page.focused.send_keys(Keys.CONTROL, Keys.ENTER)
    page.until(lambda: page.all("#influence .columns"))
    answer = ask(url, "influence_functions", TEXT)["influence"]
    assert page.ids("supporters") == [one["id"] for one in answer["supporters"]]
    assert page.ids("opponents") == [one["id"] for one in answer["opponents"]]
    assert not page.one("#waiting").is_displayed() and page.one("#ask").is_displayed()
    assert page.width <= size[0]  # nothing hangs over
    while page.focused.get_attribute("type") != "checkbox":
        page.press(Keys.TAB)
    page.press(Keys.SPACE)
    assert "Without 1 training example" in page.text("#what-if-sum") and page.width <= size[0]


def test_what_the_pointer_is_on_shows_everywhere(page, url):
    page.open()
    page.one("textarea").send_keys(TEXT)
    page.one("#ask").click()
    page.until(lambda: page.all("#influence .columns") and page.has_words())
    scores = {word["text"]: word["score"] for word in ask(url, "gradient_x_input", TEXT)["words"]}
    page.point_at(page.one("#prediction [data-word=film]"))
    said = page.text("#prediction .readout")
    assert said.startswith("film ") and ("supports" if scores["film"] > 0 else "opposes") in said
    item = page.one("#influence .opponents li")
    page.point_at(item.find_element(By.CSS_SELECTOR, ".source"))
    (mark,) = page.all("#influence .mark.hot")
    assert mark.get_attribute("data-example") == item.get_attribute("data-example")


def test_another_label_turns_the_words_and_the_examples(page, url):
    page.open()
    page.one("textarea").send_keys(TEXT)
    page.until(page.has_words)
    before = dict(page.words())
    predicted = ask(url, "gradient_x_input", TEXT)["predicted"]
    other = "1" if predicted == "0" else "0"
    Select(page.one("#label")).select_by_value(other)
    page.until(lambda: page.has_words() and dict(page.words()) != before)
    turned = {"sup": "opp", "opp": "sup", "": "", None: None}
    assert dict(page.words()) == {word: turned[kind] for word, kind in before.items()}
    page.one("#ask").click()
    page.until(lambda: page.all("#influence .columns"))
    assert f"“{other}”" in page.text("#influence h2")
    expected = ask(url, "influence_functions", TEXT, other)["influence"]
    assert page.ids("supporters") == [one["id"] for one in expected["supporters"]]


def test_allennlps_interpreters(page, url):
    page.open()
    page.one("textarea").send_keys(TEXT)
    for name in ("integrated_gradient", "simple_gradient", "smooth_gradient"):
        Select(page.one("#interpreter")).select_by_value(name)
        page.until(lambda: page.has_words() and page.all("#prediction .ramp.unsigned"))
        scores = ask(url, name, TEXT)["grad_input_1"]
        shares = page.shares("#prediction .words span")
        assert shares == pytest.approx([score / max(scores) for score in scores], abs=1e-3)
        Select(page.one("#interpreter")).select_by_value("gradient_x_input")
        page.until(lambda: page.has_words() and not page.all("#prediction .ramp.unsigned"))


def test_a_link_shows_it_again(page):
    page.open()
    page.one("textarea").send_keys("good & bad = ?")
    Select(page.one("#label")).select_by_value("1")
    page.until(page.has_words)
    page.until(lambda: "label=1" in page.browser.current_url)
    address = page.browser.current_url.split("#")[1]
    page.open(address)
    page.until(page.has_words)
    assert page.one("textarea").get_property("value") == "good & bad = ?"
    assert Select(page.one("#label")).first_selected_option.get_attribute("value") == "1"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_text(page, text):
    page.open()
    page.type(text)
    page.until(page.has_words)
    shown = page.one("#prediction .words").get_property("textContent")
    assert shown.split() == visible(text).split()
    assert not page.all("main script, main img, main b b")
    assert page.browser.execute_script("return document.title") == "Why did the classifier say that?"


def test_hostile_training_data_is_text(page, endpoint, monkeypatch):
    originals = endpoint._influence

    def influence(inputs, label):
        answer = originals(inputs, label)
        found = answer["instance_1"]["influence"]
        for text, one in zip(HOSTILE, [*found["supporters"], *found["opponents"]]):
            one["text"] = {"sentence": text}
        return answer

    monkeypatch.setattr(endpoint, "_influence", influence)
    page.open()
    page.one("textarea").send_keys("hostile examples")
    page.one("#ask").click()
    page.until(lambda: page.all("#influence .columns"))
    shown = "".join(e.get_property("textContent") for e in page.all("#influence .text"))
    assert "<script>alert(1)</script>" in shown and "\u202e" not in shown
    assert not page.all("#influence script, #influence img")


def test_a_query_shows_how_far_it_is_and_can_be_stopped(page, endpoint, monkeypatch):
    let_go, asked = threading.Event(), []

    def influence(inputs, label):
        asked.append(inputs)
        for _ in progress(range(1000), "working hard"):
            if let_go.wait(0.05):
                raise ValueError("it went on")

    monkeypatch.setattr(endpoint, "_influence", influence)
    try:
        page.open()
        page.one("textarea").send_keys("stop me")
        page.one("#ask").click()
        page.until(lambda: "Working hard" in page.text("#step"))
        before = float(page.one("#bar").get_property("value"))
        page.until(lambda: float(page.one("#bar").get_property("value")) > before)
        page.press(Keys.ESCAPE)
        page.until(lambda: page.one("#ask").is_displayed())
        assert not page.one("#problem").is_displayed()
        # the server has given it up: the next one is not kept waiting
        assert endpoint.slow.submit(lambda x: x, 1).future.result(PATIENCE) == 1 and len(asked) == 1
    finally:
        let_go.set()


def test_an_error_is_said_on_the_page(page, endpoint, monkeypatch):
    page.open()
    page.one("textarea").send_keys("errors")
    page.until(page.has_words)

    def influence(inputs, label):
        raise ValueError("a secret")

    monkeypatch.setattr(endpoint, "_influence", influence)
    page.one("#ask").click()
    page.until(lambda: page.one("#problem").is_displayed())
    assert "the model fails on this input" in page.text("#problem")
    assert "secret" not in page.text("#problem")


def test_what_if_and_downloads(page, url, tmp_path):
    page.browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.open()
    page.one("textarea").send_keys(TEXT)
    page.one("#ask").click()
    page.until(lambda: page.all("#influence .columns"))
    page.one("#influence .supporters input").click()
    assert "1 training example" in page.text("#what-if-sum")
    csv_button, json_button = page.all("#influence header button")
    page.browser.execute_script("arguments[0].click(); arguments[1].click()", csv_button, json_button)
    table, whole = page.downloaded(tmp_path, 2)
    assert (table.name, whole.name) == ("influence.csv", "influence.json")
    answer = ask(url, "influence_functions", TEXT)["influence"]
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    listed = [*answer["supporters"], *answer["opponents"]]
    assert [int(row["training_example"]) for row in rows] == [one["id"] for one in listed]
    assert [float(row["score"]) for row in rows] == [one["score"] for one in listed]
    (content,) = json.loads(whole.read_text(encoding="utf-8"))
    assert content["text"] == {"sentence": TEXT} and len(content["supporters"]) == 3


def test_themes(page):
    page.open()
    colours = []
    for theme in ("light", "dark"):
        Select(page.one("#theme")).select_by_value(theme)
        colours.append(page.one("body").value_of_css_property("background-color"))
    assert colours[0] != colours[1]
    page.open()
    assert page.one("body").value_of_css_property("background-color") == colours[1]  # remembered
    Select(page.one("#theme")).select_by_value("system")


def test_a_pair_has_two_fields(browser, pair_endpoint):
    with running(pair_endpoint) as url:
        page = LivePage(browser, url)
        page.open()
        for area, text in zip(page.all("textarea"), ("the man sleeps .", "the man is good .")):
            area.send_keys(text)
        page.until(lambda: len(page.all("#prediction .words")) == 2)
        page.one("#ask").click()
        page.until(lambda: page.all("#influence .columns"))
        assert len(page.all("#prediction .classes li")) == 3
        fields = page.one("#influence li").find_elements(By.CSS_SELECTOR, ".field")
        assert [field.text for field in fields] == ["premise", "hypothesis"]
