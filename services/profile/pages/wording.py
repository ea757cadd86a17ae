"""What profile's hosted pages say, in each of our languages."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """One language. ``tag`` is its BCP 47 tag, ``name`` what it calls itself, ``notices`` are (title, text)."""

    code: str
    tag: str
    name: str
    languages: str
    fault_title: str
    channels: Mapping[str, str]
    purposes: Mapping[str, str]
    labels: Mapping[str, str]
    texts: Mapping[str, str]
    faults: Mapping[str, str]
    notices: Mapping[str, tuple[str, str]]


ENGLISH = Wording(
    code="en",
    tag="en",
    name="English",
    languages="Language",
    fault_title="Nothing has been saved yet",
    channels={
        "email": "by e-mail",
        "sms": "by text message",
        "phone": "by phone",
        "wechat": "by WeChat",
        "push": "by notifications on your phone",
        "in_app": "in the app",
    },
    purposes={
        "marketing": "Offers and news",
        "profiling": "Evaluation of my purchases",
        "personalisation": "Personal recommendations",
        "survey": "Surveys",
        "sharing": "Sharing with partners",
    },
    labels={
        "name": "Name",
        "email": "E-mail address",
        "phone": "Phone number",
        "birth_date": "Date of birth",
        "country": "Country",
        "region": "Region",
        "language": "Preferred language",
        "website": "Leave this field empty",
        "save": "Save",
        "confirm": "Yes, I agree",
        "unsubscribe": "Unsubscribe",
        "withdraw_all": "Stop everything",
        "sign_up": "Sign up",
        "refresh": "Save my details",
        "optional": "optional",
        "unknown": "not stated",
    },
    texts={
        "confirm_title": "Please confirm",
        "confirm": "You – or somebody with your address – asked us for this:",
        "confirm_hint": "If it was not you, simply close this page: without your confirmation nothing happens.",
        "preferences_title": "What may we write to you about?",
        "preferences": "Tick what you agree to, take the tick away from what you no longer want. You can change this at any time.",
        "preferences_saved": "Your choice has been saved and holds from now on.",
        "nothing_to_choose": "We have no address of yours to write to.",
        "withdraw_all_hint": "Takes back everything that you have agreed to.",
        "unsubscribe_title": "Unsubscribe",
        "unsubscribe": "You will not hear from us about this any more:",
        "sign_up_title": "Become our customer",
        "sign_up": "Leave us your address. Your agreement is voluntary, and you can take it back at any time.",
        "agreements": "My agreement",
        "refresh_title": "Are your details still right?",
        "refresh": "Please correct what has changed, and leave empty what you do not want to tell us.",
        "phone_hint": "With the country code, for example +86 138 1234 5678.",
        "birth_date_hint": "Year-month-day, for example 1990-04-23.",
    },
    faults={
        "name": "Enter a name of at most 200 characters.",
        "email": "Enter an e-mail address, for example wang@example.com.",
        "phone": "Enter a phone number with its country code, for example +86 138 1234 5678.",
        "birth_date": "Enter a date of birth as year-month-day, for example 1990-04-23.",
        "country": "Choose a country.",
        "region": "Enter a region of at most 100 characters.",
        "language": "Choose a language.",
    },
    notices={
        "confirmed": ("Thank you!", "Your agreement has been recorded. You can take it back at any time."),
        "confirmed_before": ("You have already confirmed", "This link can be used once, and it has been."),
        "refreshed": ("Thank you!", "Your details have been saved. You can close this page."),
        "refreshed_before": (
            "Your details have already been saved",
            "This link can be used once, and it has been.",
        ),
        "unsubscribed": (
            "You have unsubscribed",
            "From now on we will not write to you about this any more.",
        ),
        "signed_up": (
            "Thank you!",
            "If anything remains to be confirmed, a message is on its way to you: please open the link in it.",
        ),
        "busy": (
            "Just a moment, please",
            "Very many people are signing up here right now. Please try again later.",
        ),
        "closed": ("Signing up here has ended", "This form is no longer open."),
        "expired": ("This link has expired", "Please ask us for a new one."),
        "withdrawn": ("This link is no longer valid", "What it was for is no longer there."),
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
    fault_title="尚未保存",
    channels={
        "email": "电子邮件",
        "sms": "短信",
        "phone": "电话",
        "wechat": "微信",
        "push": "手机推送通知",
        "in_app": "应用内消息",
    },
    purposes={
        "marketing": "优惠和新闻",
        "profiling": "分析我的购买记录",
        "personalisation": "个性化推荐",
        "survey": "满意度调查",
        "sharing": "与合作伙伴共享信息",
    },
    labels={
        "name": "姓名",
        "email": "电子邮箱",
        "phone": "手机号码",
        "birth_date": "出生日期",
        "country": "国家或地区",
        "region": "省份或区域",
        "language": "首选语言",
        "website": "请勿填写此栏",
        "save": "保存",
        "confirm": "是的，我同意",
        "unsubscribe": "退订",
        "withdraw_all": "全部停止",
        "sign_up": "提交注册",
        "refresh": "保存我的信息",
        "optional": "选填",
        "unknown": "未填写",
    },
    texts={
        "confirm_title": "请您确认",
        "confirm": "您（或使用您地址的人）向我们提出了以下请求：",
        "confirm_hint": "如非您本人操作，请直接关闭本页面。未经您确认，我们不会采取任何行动。",
        "preferences_title": "您希望收到哪些信息？",
        "preferences": "请勾选您同意的项目，取消勾选您不再需要的项目。您可以随时更改。",
        "preferences_saved": "您的选择已保存，即刻生效。",
        "nothing_to_choose": "我们没有可以联系您的地址。",
        "withdraw_all_hint": "撤回您之前同意的所有项目。",
        "unsubscribe_title": "退订",
        "unsubscribe": "您将不再收到以下信息：",
        "sign_up_title": "成为我们的会员",
        "sign_up": "请留下您的联系方式。是否同意完全自愿，您可以随时撤回。",
        "agreements": "我的授权",
        "refresh_title": "您的信息是否仍然准确？",
        "refresh": "请更正已变更的内容，不愿告知的可以留空。",
        "phone_hint": "请包含国家代码，例如 +86 138 1234 5678。",
        "birth_date_hint": "格式为 年-月-日，例如 1990-04-23。",
    },
    faults={
        "name": "请输入不超过 200 个字的姓名。",
        "email": "请输入电子邮箱，例如 wang@example.com。",
        "phone": "请输入包含国家代码的号码，例如 +86 138 1234 5678。",
        "birth_date": "请按 年-月-日 输入出生日期，例如 1990-04-23。",
        "country": "请选择国家或地区。",
        "region": "请输入不超过 100 个字的省份或区域。",
        "language": "请选择语言。",
    },
    notices={
        "confirmed": ("谢谢您！", "您的授权已记录，您可以随时撤回。"),
        "confirmed_before": ("您已经确认过了", "每个链接只能使用一次。"),
        "refreshed": ("谢谢您！", "您的信息已保存，您可以关闭本页面。"),
        "refreshed_before": ("您的信息已经保存过了", "每个链接只能使用一次。"),
        "unsubscribed": ("您已退订", "从现在起，您不会再收到此类信息。"),
        "signed_up": ("谢谢您！", "如仍需确认，我们会向您发送一条消息，请打开其中的链接。"),
        "busy": ("请稍候", "目前注册的人数较多，请稍后再试。"),
        "closed": ("此处的注册已结束", "该表单不再开放。"),
        "expired": ("该链接已过期", "请向我们索取新的链接。"),
        "withdrawn": ("该链接已失效", "它所对应的内容已不存在。"),
        "unknown": ("无法识别该链接", "请确认您打开的是我们消息中的完整链接。"),
    },
)

WORDING: Mapping[str, Wording] = {wording.code: wording for wording in (ENGLISH, CHINESE)}
