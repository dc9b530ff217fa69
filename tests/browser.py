"""A browser for tests, and a page in it."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WIDE, PHONE = (1280, 900), (390, 844)
PATIENCE = 60  # seconds until a test that hangs fails


@contextmanager
def chromium(profile: Path, *arguments: str) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a fresh profile; without one the test is skipped."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium and chromedriver (on Debian: apt install chromium-driver)")
    options = Options()
    options.binary_location = browser
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        *arguments,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


class Page:
    """A page in a browser."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def load(self, address: str, size: Tuple[int, int] = WIDE) -> None:
        self.browser.get("about:blank")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.get(address)

    def all(self, selector: str) -> List[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def until(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, PATIENCE).until(lambda _: condition())

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def point_at(self, element: WebElement) -> None:
        ActionChains(self.browser).move_to_element(element).perform()

    def downloaded(self, folder: Path, number: int = 1) -> List[Path]:
        """
        So many files in a folder, when they are whole: the browser makes empty ones of the final names first, and writes into
        others, which it renames.
        """

        def whole() -> List[Path]:
            files = sorted(folder.iterdir())
            done = all(file.name[0] != "." and file.suffix != ".crdownload" for file in files)
            return files if done and len(files) == number and all(file.stat().st_size for file in files) else []

        return self.until(whole)

    @property
    def focused(self) -> WebElement:
        return self.browser.switch_to.active_element

    @property
    def width(self) -> int:
        return self.browser.execute_script("return document.documentElement.scrollWidth")


@contextmanager
def undisturbed(browser: webdriver.Chrome, *ours: str) -> Iterator[None]:
    """Nothing is written to the console meanwhile, and no address asked for that does not begin with one of `ours`."""
    browser.get("about:blank")  # not the browser's own first page
    browser.get_log("browser")
    browser.get_log("performance")
    yield
    assert browser.get_log("browser") == []  # no error, nothing that the policy had to refuse
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert requested and all(url.startswith((*ours, "about:", "blob:", "data:")) for url in requested)
