"""What the hosted pages say, in each of our languages."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """One language. ``tag`` is its BCP 47 tag, ``name`` what it calls itself, ``notices`` are (title, text)."""

    code: str
    tag: str
    name: str
    languages: str
    heading: str
    question: str
    lowest: str
    highest: str
    comment: str
    comment_hint: str
    send: str
    fault_title: str
    faults: Mapping[str, str]
    notices: Mapping[str, tuple[str, str]]


ENGLISH = Wording(
    code="en",
    tag="en",
    name="English",
    languages="Language",
    heading="Your opinion, in one minute",
    question="How likely are you to recommend us to a friend or colleague?",
    lowest="0 – not at all likely",
    highest="10 – extremely likely",
    comment="What is the main reason for your score?",
    comment_hint="Optional, at most 4,000 characters.",
    send="Send my answer",
    fault_title="Your answer has not been sent yet",
    faults={
        "score": "Choose a number from 0 to 10.",
        "comment": "Shorten your comment to 4,000 characters.",
    },
    notices={
        "thanks": ("Thank you!", "Your answer has arrived. You can close this page."),
        "answered": (
            "You have already answered",
            "Thank you – your first answer has been kept. Each link can be used once.",
        ),
        "expired": ("This survey has ended", "The link has expired. Thank you for wanting to help."),
        "withdrawn": ("This link is no longer valid", "The survey that it belonged to is no longer there."),
        "unknown": (
            "We do not know this link",
            "Please check that you have opened the complete link from our message.",
        ),
    },
)

CHINESE = Wording(
    code="zh",
    tag="zh-CN",
    name="中文",
    languages="语言",
    heading="一分钟，说说您的看法",
    question="您有多大可能把我们推荐给朋友或同事？",
    lowest="0 – 完全不可能",
    highest="10 – 极有可能",
    comment="您打这个分数的主要原因是什么？",
    comment_hint="选填，最多 4000 字。",
    send="提交",
    fault_title="您的回答尚未提交",
    faults={
        "score": "请选择 0 到 10 之间的一个分数。",
        "comment": "请将评论缩短到 4000 字以内。",
    },
    notices={
        "thanks": ("谢谢您！", "我们已收到您的回答，您可以关闭本页面。"),
        "answered": ("您已经回答过了", "谢谢！我们保留了您第一次的回答，每个链接只能使用一次。"),
        "expired": ("本次调查已结束", "该链接已过期，感谢您的支持。"),
        "withdrawn": ("该链接已失效", "它所属的调查已不存在。"),
        "unknown": ("无法识别该链接", "请确认您打开的是我们消息中的完整链接。"),
    },
)

WORDING: Mapping[str, Wording] = {wording.code: wording for wording in (ENGLISH, CHINESE)}
