"""The hosted page in a real browser: Debian's chromium, without JavaScript, on a phone."""

import os
import shutil
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright import sync_api as playwright

CHROMIUM = os.environ.get("REGULARS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        message = "NOT TESTED: the hosted page in a browser (no chromium; apt-get install chromium, or REGULARS_CHROMIUM)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(committing_world):
    """The world with a server on a port of its own; ``world.url(path)`` is what a phone opens."""
    world = committing_world
    server = uvicorn.Server(uvicorn.Config(world.service.app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    world.url = lambda path: f"http://127.0.0.1:{port}/feedback{path}"
    yield world
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def phone(browser):
    """A page of 360 × 640 without JavaScript; ``page.complaints`` is what the browser objected to."""
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, java_script_enabled=False, locale="zh-CN"
    )
    page = context.new_page()
    page.complaints = []
    page.requested = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    context.close()


def test_a_customer_answers_with_the_keyboard_alone(served, phone):
    served.survey()
    _, path = served.invited()
    phone.goto(served.url(path))
    for _ in range(10):
        phone.keyboard.press("Tab")
        if phone.locator(":focus").get_attribute("name") == "score":
            break
    for _ in range(3):
        phone.keyboard.press("ArrowRight")
    phone.keyboard.press("Tab")
    phone.keyboard.insert_text("送货太慢")
    phone.keyboard.press("Tab")
    phone.keyboard.press("Enter")

    playwright.expect(phone.get_by_role("heading", level=1)).to_have_text("谢谢您！")
    assert [row.score for row in served.execute("select score from answer")] == [3]
    (case,) = served.client.get("/v1/cases").json()["items"]
    (message,) = served.client.get(f"/v1/cases/{case['id']}/messages").json()["items"]
    assert message["text"] == "送货太慢"
    assert phone.complaints == []


def test_a_screen_reader_finds_the_scale_by_its_question_and_the_fields_by_their_labels(served, phone):
    served.survey()
    _, path = served.invited(language="en")
    phone.goto(served.url(path))
    scale = phone.get_by_role("group", name="How likely are you to recommend us to a friend or colleague?")
    assert scale.get_by_role("radio").count() == 11
    assert scale.get_by_role("radio", name="10", exact=True).count() == 1
    assert phone.get_by_role("textbox", name="What is the main reason for your score?").count() == 1
    assert phone.get_by_role("navigation", name="Language").get_by_role("link", name="中文").count() == 1


def test_the_page_fits_a_phone_with_targets_for_thumbs_and_asks_nobody_else(served, phone):
    served.survey()
    _, path = served.invited()
    phone.goto(served.url(path))
    boxes = [label.bounding_box() for label in phone.locator(".scale label").all()]
    assert len(boxes) == 11
    assert all(box["height"] >= 44 and box["width"] >= 44 and box["x"] + box["width"] <= 360 for box in boxes)
    assert phone.locator("main").bounding_box()["width"] <= 360
    assert {url.split("?")[0] for url in phone.requested} <= {served.url(path), served.url("/favicon.ico")}
    assert phone.complaints == []


def test_the_style_is_let_through_by_the_pages_own_policy(served, phone):
    served.survey()
    _, path = served.invited()
    phone.goto(served.url(path))
    boxes = [label.bounding_box() for label in phone.locator(".scale label").all()]
    assert len({round(box["y"]) for box in boxes}) == 3  # eleven in rows of four: the grid of the style sheet


def test_the_language_can_be_changed_and_stays_changed_when_the_answer_is_sent(served, phone):
    served.survey()
    _, path = served.invited()
    phone.goto(served.url(path))
    phone.get_by_role("link", name="English").click()
    assert phone.locator("html").get_attribute("lang") == "en"
    phone.locator("label[for=score-9]").click()
    phone.get_by_role("button", name="Send my answer").click()
    playwright.expect(phone.get_by_role("heading", level=1)).to_have_text("Thank you!")
    phone.goto(served.url(path))
    assert phone.get_by_role("heading", level=1).inner_text() == "您已经回答过了"
