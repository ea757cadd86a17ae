import io
import json
import logging

import pytest
import structlog

from shared import logs, tracing


@pytest.fixture
def lines():
    stream = io.StringIO()
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    logs.configure("shop", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before[0])
    root.handlers[:], root.level = before[1], before[2]


def test_every_line_is_json_and_says_where_it_belongs(lines):
    tracing.request_id.set("order-4711")
    tracing.traceparent.set("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    structlog.get_logger("x").info("done", count=3)
    logging.getLogger("uvicorn.error").warning("from a library, %s", "王")
    structlog.get_logger("x").debug("not said")
    ours, library = lines()
    for line in (ours, library):
        assert line["service"] == "shop"
        assert line["request_id"] == "order-4711"
        assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)
        assert line["timestamp"].endswith("Z")
    assert (ours["event"], ours["count"], ours["level"]) == ("done", 3, "info")
    assert library["event"] == "from a library, 王"


def test_what_is_personal_or_secret_is_not_written(lines):
    structlog.get_logger("x").info("seen", email="fang@example.com", token="rgl_x", customer_id="1")
    assert "fang@" not in str(lines())
    assert lines()[0]["email"] == "[redacted]"
    assert lines()[0]["customer_id"] == "1"


def test_an_error_is_told_by_its_kinds_and_places_not_by_its_words(lines):
    def fails():
        raise ValueError("Wang Fang lives in Peace Road")

    for log in (structlog.get_logger("x"), logging.getLogger("y")):
        try:
            try:
                fails()
            except ValueError as error:
                raise RuntimeError("Wang Fang") from error
        except RuntimeError:
            log.exception("it went wrong")
    assert len(lines()) == 2
    for line in lines():
        assert "Wang" not in str(line)
        assert "builtins.RuntimeError" in line["exception"]
        assert "builtins.ValueError" in line["exception"]
        assert "in fails" in line["exception"]


def test_a_request_is_logged_by_its_route_and_not_by_what_is_in_it(shop, lines):
    shop.client.get("/v1/odd/names/Wang%20Fang?first=Fang", headers={"X-Request-Id": "r-1"})
    shop.client.get("/v1/odd/unexpected")
    shop.stranger.get("/livez")
    requests = [line for line in lines() if line["event"] == "request"]
    assert [line["route"] for line in requests] == ["/shop/v1/odd/names/{name}", "/shop/v1/odd/unexpected"]
    assert requests[0]["request_id"] == "r-1"
    assert requests[0]["caller"] == "environment:admin"
    assert requests[0]["milliseconds"] > 0
    assert "Fang" not in str(lines())
    assert any(
        line["event"] == "unexpected_error" and "get_unexpected" in line["exception"] for line in lines()
    )
