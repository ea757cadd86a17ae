"""The hosted pages in a real browser: Debian's chromium, without JavaScript, on a phone."""

import os
import shutil
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright import sync_api as playwright

from tests.profile.test_confirmations import ask, link_of
from tests.profile.test_consents import current, say
from tests.profile.test_preferences import path_of
from tests.profile.test_sign_ups import source

CHROMIUM = os.environ.get("REGULARS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        message = "NOT TESTED: the hosted pages in a browser (no chromium; apt-get install chromium, or REGULARS_CHROMIUM)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(committing):
    """Profile with a server on a port of its own; ``served.url(path)`` is what a phone opens."""
    server = uvicorn.Server(
        uvicorn.Config(committing.under_test.app, host="127.0.0.1", port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    committing.url = lambda path: f"http://127.0.0.1:{port}/profile{path}"
    yield committing
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def phone(browser):
    """A page of 360 × 640 without JavaScript; ``page.complaints`` is what the browser objected to."""
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, java_script_enabled=False, locale="zh-CN"
    )
    page = context.new_page()
    page.complaints, page.requested = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    context.close()


def contrast(page, locator):
    """The WCAG contrast of an element's text against the paper, from what the browser computed."""

    def luminance(rgb):
        parts = [int(part) / 255 for part in rgb[rgb.index("(") + 1 : rgb.index(")")].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ink = locator.evaluate("element => getComputedStyle(element).color")
    paper = page.locator("body").evaluate("element => getComputedStyle(element).backgroundColor")
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_customer_chooses_with_the_keyboard_alone_in_the_own_language(served, phone):
    wang = served.customer(email="wang@example.com", language="zh")
    say(served, wang, "granted")
    path = path_of(served.client.post(f"/v1/customers/{wang['id']}/preference-links").json()["url"])
    phone.goto(served.url(path))
    assert phone.locator("html").get_attribute("lang") == "zh-CN"
    marketing = phone.get_by_role("group", name="优惠和新闻").get_by_role("checkbox", name="电子邮件")
    playwright.expect(marketing).to_be_checked()
    for _ in range(5):
        phone.keyboard.press("Tab")
        if phone.locator(":focus").get_attribute("id") == "marketing-email":
            break
    phone.keyboard.press("Space")
    phone.keyboard.press("Enter")
    playwright.expect(phone.get_by_role("status")).to_have_text("您的选择已保存，即刻生效。")
    playwright.expect(marketing).not_to_be_checked()
    assert current(served, wang) == {"marketing/email": "withdrawn"}

    boxes = [label.bounding_box() for label in phone.locator(".choice label").all()]
    assert len(boxes) == 5
    assert all(box["height"] >= 40 and box["x"] + box["width"] <= 360 for box in boxes)
    assert min(contrast(phone, one) for one in phone.locator("p.hint, legend, h1").all()) >= 4.5
    assert {url.split("?")[0] for url in phone.requested} <= {served.url(path), served.url("/favicon.ico")}
    assert phone.complaints == []


def test_a_customer_confirms_and_refreshes_by_links(served, phone):
    wang = served.customer(name="Wang", email="wang@example.com", language="en")
    phone.goto(served.url(link_of(served, ask(served, wang).json())))
    assert phone.get_by_role("listitem").inner_text() == "You may send me offers and news. (by e-mail)"
    phone.get_by_role("button", name="Yes, I agree").click()
    playwright.expect(phone.get_by_role("heading", level=1)).to_have_text("Thank you!")
    assert current(served, wang) == {"marketing/email": "granted"}

    phone.goto(served.url(link_of(served, ask(served, wang, kind="refresh").json())))
    playwright.expect(phone.get_by_role("textbox", name="Name")).to_have_value("Wang")
    phone.get_by_role("textbox", name="Phone number").fill("nonsense")
    phone.get_by_role("button", name="Save my details").click()
    phone.get_by_role("alert").get_by_role("link").click()  # leads to the field at fault
    assert phone.url.endswith("#phone")
    phone.get_by_role("textbox", name="Phone number").fill("+44 20 7946 0958")
    phone.get_by_role("button", name="Save my details").click()
    playwright.expect(phone.get_by_role("heading", level=1)).to_have_text("Thank you!")
    assert served.client.get(f"/v1/customers/{wang['id']}").json()["phone"] == "+442079460958"
    # A browser notes that a form came back (422); it objects to nothing else.
    assert [complaint for complaint in phone.complaints if "422" not in complaint] == []


def test_somebody_signs_up_and_never_meets_the_hidden_field(served, phone):
    phone.goto(served.url(path_of(source(served)["url"])))
    phone.get_by_role("link", name="English").click()
    assert phone.get_by_role("textbox").count() == 3
    trap = phone.locator("#website").bounding_box()
    assert trap is None or trap["x"] + trap["width"] < 0
    phone.get_by_role("textbox", name="Name").fill("Li Lei")
    phone.get_by_role("textbox", name="E-mail address").fill("li.lei@example.com")
    phone.get_by_role("checkbox").check()
    phone.get_by_role("button", name="Sign up").click()
    playwright.expect(phone.get_by_role("heading", level=1)).to_have_text("Thank you!")
    assert served.ask("select language from customer") == [("en",)]
    assert len(served.announced("confirmation_requested")) == 1
    assert phone.complaints == []
