"""What customers read before they agree, as long as the company has no text of its own."""

from collections.abc import Mapping

BUILT_IN = "regulars-1"
"""The version of these texts: what is changed here gets another one."""

TEXTS: Mapping[str, Mapping[str, str]] = {
    "marketing": {
        "en": "You may send me offers and news.",
        "zh": "同意向我发送优惠信息和新闻。",
    },
    "profiling": {
        "en": "You may use my purchases to work out how valuable I am as a customer and what might interest me.",
        "zh": "同意利用我的购买记录分析我的客户价值和兴趣。",
    },
    "personalisation": {
        "en": "You may adapt what you show and offer me to what you know about me.",
        "zh": "同意根据我的情况为我提供个性化的内容和优惠。",
    },
    "survey": {
        "en": "You may ask me for my opinion.",
        "zh": "同意邀请我参加满意度调查。",
    },
    "sharing": {
        "en": "You may pass my data on to your partners.",
        "zh": "同意将我的信息提供给合作伙伴。",
    },
}
