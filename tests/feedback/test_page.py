"""The hosted page, as a browser without JavaScript gets it."""

import base64
import re
from hashlib import sha256
from uuid import uuid4

import pytest

from shared import signed_links

HAN = re.compile(r"[一-鿿]")


@pytest.fixture
def invited(world):
    world.survey(titles={"en": "Would you come again?"})
    return world.invited(language="zh-CN")


def test_the_page_speaks_the_customers_language(world, invited):
    page = world.stranger.get(invited[1], headers={"Accept-Language": "en"})
    assert page.status_code == 200
    assert page.headers["Content-Language"] == "zh"
    assert '<html lang="zh-CN">' in page.text
    assert "您有多大可能把我们推荐给朋友或同事？" in page.text


def test_the_page_can_be_had_in_the_other_language_with_the_surveys_own_question(world, invited):
    page = world.stranger.get(invited[1], params={"lang": "en"})
    assert '<html lang="en">' in page.text
    assert "Would you come again?" in page.text
    assert HAN.findall(re.sub(r"<(nav|style).*?</\1>", "", page.text, flags=re.DOTALL)) == []


def test_a_customer_whose_language_is_unknown_gets_the_browsers(world):
    world.survey()
    _, path = world.invited(language=None)
    page = world.stranger.get(path, headers={"Accept-Language": "fr, zh;q=0.9, en;q=0.1"})
    assert page.headers["Content-Language"] == "zh"


def test_the_page_loads_nothing_runs_nothing_and_tells_nobody(world, invited):
    page = world.stranger.get(invited[1])
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL).group(1)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Robots-Tag"].startswith("noindex")
    assert "<script" not in page.text
    assert re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", page.text) == []
    assert " style=" not in page.text


def test_every_field_has_a_label_and_the_scale_a_legend(world, invited):
    page = world.stranger.get(invited[1]).text
    fields = re.findall(r'<(?:input|textarea)[^>]*\bid="([^"]+)"', page)
    assert len(fields) == 12
    assert set(fields) <= set(re.findall(r'<label for="([^"]+)"', page))
    assert page.count("<fieldset") == page.count("<legend>") == 1
    described = {name for names in re.findall(r'aria-describedby="([^"]+)"', page) for name in names.split()}
    assert described <= set(re.findall(r'\bid="([^"]+)"', page))


def test_opening_the_page_records_nothing(world, invited):
    for _ in range(3):
        world.stranger.get(invited[1])
    assert world.execute("select * from answer") == []


def test_an_answer_is_thanked_for_and_the_second_one_changes_nothing(world, invited):
    customer_id, path = invited
    thanks = world.answer(path, 9, "很好")
    assert "谢谢您" in thanks.text
    again = world.stranger.post(path, data={"score": "1", "comment": "changed my mind"})
    assert again.status_code == 409
    assert "您已经回答过了" in again.text
    assert world.stranger.get(path).status_code == 200
    assert "您已经回答过了" in world.stranger.get(path).text
    assert [row.score for row in world.execute("select score from answer")] == [9]
    assert world.invitations(customer_id)[0]["answered_at"] is not None


@pytest.mark.parametrize("score", ["", "11", "-1", "5.5", "٣", "ten", "0x1"])
def test_an_answer_without_a_score_of_the_scale_comes_back_with_what_was_written(world, invited, score):
    page = world.stranger.post(invited[1], data={"score": score, "comment": 'Fast & "friendly" <b>'})
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert 'href="#score-0"' in page.text
    assert "Fast &amp; &#34;friendly&#34; &lt;b&gt;" in page.text
    assert "Content-Security-Policy" in page.headers
    assert world.execute("select * from answer") == []


def test_a_comment_has_four_thousand_characters(world, invited):
    page = world.stranger.post(invited[1], data={"score": "4", "comment": "好" * 4_001})
    assert page.status_code == 422
    assert 'id="score-4" value="4" required checked' in page.text
    assert world.stranger.post(invited[1], data={"score": "4", "comment": "好" * 4_000}).status_code == 200


def test_a_comment_is_sealed_in_the_database(world, invited):
    world.answer(invited[1], 3, "canary-comment")
    (row,) = world.execute("select comment from answer")
    assert b"canary-comment" not in bytes(row.comment)
    (message,) = world.execute("select body from case_message")
    assert b"canary-comment" not in bytes(message.body)
    assert "canary-comment" not in str(world.announced())


def test_a_comment_is_shown_as_text_wherever_it_is_shown(world):
    world.survey(titles={"en": "<script>alert(1)</script>"})
    _, path = world.invited(language="en")
    page = world.stranger.get(path)
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize("token", ["x", "a" * 43, "..%2F..%2Fetc%2Fpasswd", "あ", "a" * 5_000])
def test_a_link_that_nobody_gave_out_is_a_page_that_says_so(world, token):
    reply = world.stranger.get(f"/s/{token}", headers={"Accept-Language": "zh"})
    assert reply.status_code == 404
    if "%" not in token:
        assert "无法识别该链接" in reply.text
        assert world.stranger.post(f"/s/{token}", data={"score": "1"}).status_code == 404


def test_a_link_signed_with_another_key_opens_nothing(world, invited):
    (invitation,) = world.invitations(invited[0])
    from uuid import UUID

    about = UUID(invitation["id"]).bytes
    forged = signed_links.token("regulars/feedback/invitation/v1", about, b"another key")
    assert world.stranger.get(f"/s/{forged}").status_code == 404
    assert world.stranger.post(f"/s/{forged}", data={"score": "1"}).status_code == 404


def test_a_genuine_link_of_an_invitation_that_is_not_there_is_not_found(world):
    url = world.service.settings.answer_url(uuid4())
    assert world.stranger.get(world.path({"answer_url": url})).status_code == 404


def test_an_expired_link_says_so(world, invited):
    world.execute("update invitation set expires_at = now()")
    for reply in (world.stranger.get(invited[1]), world.stranger.post(invited[1], data={"score": "1"})):
        assert reply.status_code == 410
        assert "本次调查已结束" in reply.text
    assert world.execute("select * from answer") == []


def test_the_link_of_an_erased_customer_is_gone(world, invited):
    world.erased(invited[0])
    reply = world.stranger.post(invited[1], params={"lang": "en"}, data={"score": "1"})
    assert reply.status_code == 410
    assert "no longer valid" in reply.text


def test_of_many_answers_at_once_one_is_kept(committing_world):
    from concurrent.futures import ThreadPoolExecutor

    world = committing_world
    world.survey()
    _, path = world.invited()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: world.stranger.post(path, data={"score": str(n % 11)}), range(24)))
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 23
    assert len(world.execute("select * from answer")) == 1
    assert len(world.announced("survey_answered")) == 1
