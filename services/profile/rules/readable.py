"""A copy of personal data as a page that people can read: one table per section, nothing but text."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Copy = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]

_WORDS = {
    "zh": {
        "title": "我们保存的关于您的数据",
        "lead": "以下是本公司各系统中保存的、与您有关的全部数据。同一内容也可下载为 JSON 文件。",
        "nothing": "没有数据。",
        "profile": "客户档案",
        "scoring": "客户价值",
        "campaigns": "积分与消息",
        "feedback": "调查与服务请求",
        "customer": "基本资料",
        "external_ids": "各系统中的编号",
        "identities": "身份标识",
        "devices": "登录设备",
        "merges": "合并记录",
        "contacts": "联系人",
        "addresses": "地址",
        "measures": "数值属性",
        "tags": "标签",
        "tag_history": "标签历史",
        "consents": "同意记录",
        "consents_that_end": "将到期的同意",
        "sign_ups": "注册",
        "confirmations": "确认请求",
        "suppressions": "停止联系",
        "disclosures": "联系方式的查询记录",
        "purchases": "购买",
        "purchase_lines": "购买明细",
        "deliveries": "配送",
        "cancellations": "取消",
        "returns": "退货",
        "return_lines": "退货明细",
        "owned_products": "拥有的产品",
        "warranty_extensions": "保修延长",
        "activities": "浏览行为",
        "interactions": "沟通记录",
        "referral_codes": "推荐码",
        "referral_sides": "推荐关系",
        "referrals": "推荐",
        "access_requests": "数据查阅请求",
        "erasures": "删除记录",
    },
    "en": {
        "title": "The data we hold about you",
        "lead": "This is everything about you in our systems. The same is available as a JSON file.",
        "nothing": "No data.",
        "profile": "Customer file",
        "scoring": "Customer value",
        "campaigns": "Points and messages",
        "feedback": "Surveys and service cases",
    },
}


def as_html(copy: Copy, language: str) -> str:
    """The page in ``zh`` or ``en``. Values are shown as they are stored; nothing in them is markup."""
    words = _WORDS["zh" if language.startswith("zh") else "en"]
    parts = [
        f'<!doctype html><html lang="{"zh" if words is _WORDS["zh"] else "en"}"><head><meta charset="utf-8">',
        (
            f"<title>{words['title']}</title><style>body{{font:16px/1.5 sans-serif;margin:2rem}}"
            "table{border-collapse:collapse}th,td{border:1px solid #999;padding:.2rem .5rem;text-align:start;"
            "vertical-align:top}div{overflow-x:auto}</style></head><body>"
        ),
        f"<h1>{words['title']}</h1><p>{words['lead']}</p>",
    ]
    if not copy:
        parts.append(f"<p>{words['nothing']}</p>")
    for service, sections in copy.items():
        parts.append(f"<h2>{escape(_title(words, service))}</h2>")
        for section, rows in sections.items():
            parts.append(f"<h3>{escape(_title(words, section))}</h3>{_table(rows)}")
    parts.append("</body></html>")
    return "".join(parts)


def _title(words: Mapping[str, str], name: str) -> str:
    return words.get(name) or name.replace("_", " ").capitalize()


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) not in (None, "", [], {}) for row in rows)
    ]
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in columns) + "</tr>" for row in rows
    )
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return escape(", ".join(str(each) for each in value))
    if isinstance(value, dict):
        return escape(", ".join(f"{name}: {each}" for name, each in value.items()))
    return escape(str(value))
