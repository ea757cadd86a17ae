"""Mappings of common exports, to be copied: an online shop's orders, a till's receipts, a CRM's contacts, the order
report of a Chinese shop platform.

They follow the column names that these programs write today; whoever's export says otherwise changes the copy.
"""

from typing import Any, NamedTuple

from services.profile.rules.mapping import Mapping, RecordMapping, read_mapping


class Preset(NamedTuple):
    title: str
    mapping: Mapping | RecordMapping


# One row per line item; what is said of the order stands in its first row only.
_SHOP_ORDERS: dict[str, Any] = {
    "source": "online-shop",
    "format": "csv",
    "delimiter": None,
    "columns": {
        "order": {"column": "Name", "remove_prefix": "#"},
        "customer": {"column": "Email", "fill_down": True, "pseudonym": True},
        "occurred_at": {"column": "Created at", "fill_down": True},
        "currency": {"column": "Currency", "fill_down": True},
        "sku": {"join": ["Lineitem sku"], "default": "no-sku"},
        "description": "Lineitem name",
        "brand": "Vendor",
        "quantity": "Lineitem quantity",
        "unit_price": "Lineitem price",
        "discount": "Lineitem discount",
        "store": {"column": "Location", "fill_down": True},
        "coupons": {"column": "Discount Code", "fill_down": True},
        "channel": {"default": "web"},
    },
    "skip_rows": [
        {
            "column": "Financial Status",
            "values": ["voided", "expired", "pending"],
            "fill_down": True,
            "reason": "not_paid",
        },
    ],
    "date_format": "%Y-%m-%d %H:%M:%S %z",
    "missing_customer": "anonymous",
}
_SHOP_CUSTOMERS: dict[str, Any] = {
    "kind": "customers",
    "source": "online-shop",
    "format": "csv",
    "delimiter": None,
    "columns": {
        "external_id": {"column": "Email", "pseudonym": True},
        "email": {"join": ["Email"]},
        "name": {"join": ["First Name", "Last Name"]},
        "phone": {"column": "Phone", "remove": ["'"]},
        "country": "Default Address Country Code",
        "region": "Default Address Province Code",
        "city": "Default Address City",
        "postcode": {"column": "Default Address Zip", "remove": ["'"]},
        "tags": "Tags",
        "acquisition_channel": {"default": "web"},
    },
}
# A till: a row per position, positions that were taken back are negative.
_TILL: dict[str, Any] = {
    "source": "pos",
    "format": "csv",
    "delimiter": None,
    "columns": {
        "order": {"join": ["Store", "Receipt No"], "separator": "-"},
        "occurred_at": {"join": ["Date", "Time"]},
        "store": {"join": ["Store"]},
        "staff": "Cashier",
        "customer": "Card No",
        "sku": "Item Code",
        "description": "Item Name",
        "category": "Department",
        "quantity": "Qty",
        "line_amount": "Amount",
        "discount": {"column": "Discount", "remove": ["-"]},
        "channel": {"default": "store"},
    },
    "date_format": "%Y-%m-%d %H:%M:%S",
    "currency": "CNY",
    "negative_quantity_is_return": True,
    "strip_id_suffix": ".0",
    "missing_customer": "anonymous",
}
_CRM_CONTACTS: dict[str, Any] = {
    "kind": "customers",
    "source": "crm",
    "format": "csv",
    "delimiter": None,
    "columns": {
        "external_id": "Contact ID",
        "name": {"join": ["First Name", "Last Name"]},
        "email": "Email",
        "phone": "Mobile",
        "birth_date": "Birthdate",
        "country": "Mailing Country",
        "region": "Mailing State/Province",
        "city": "Mailing City",
        "postcode": "Mailing Zip/Postal Code",
        "acquisition_channel": "Lead Source",
        "registered_at": "Created Date",
    },
}
# 订单报表: GB18030, ids behind = and quotes so that spreadsheets leave them whole, 交易关闭 never became a purchase.
_CHINESE_ORDERS: dict[str, Any] = {
    "source": "platform",
    "format": "csv",
    "encoding": "gb18030",
    "delimiter": None,
    "columns": {
        "order": {"column": "订单编号", "remove": ["=", '"', "'"]},
        "customer": {"column": "买家会员名", "pseudonym": True},
        "occurred_at": "订单付款时间",
        "sku": {"column": "商家编码", "remove": ["=", '"', "'"], "default": "无编码"},
        "description": "宝贝标题",
        "quantity": "购买数量",
        "unit_price": {"column": "价格", "remove": ["¥", "￥", "元"]},
        "store": "店铺名称",
        "channel": {"default": "platform"},
    },
    "skip_rows": [
        {"column": "订单状态", "values": ["交易关闭", "等待买家付款"], "reason": "not_paid"},
    ],
    "date_format": "%Y-%m-%d %H:%M:%S",
    "time_zone": "Asia/Shanghai",
    "thousands_separator": ",",
    "currency": "CNY",
    "missing_customer": "anonymous",
}

PRESETS: dict[str, Preset] = {
    name: Preset(title, read_mapping(definition))
    for name, title, definition in (
        ("online-shop-orders", "Orders of an online shop (one row per line item)", _SHOP_ORDERS),
        ("online-shop-customers", "Customers of an online shop", _SHOP_CUSTOMERS),
        ("pos-receipts", "Receipts of a till (POS)", _TILL),
        ("crm-contacts", "Contacts of a CRM", _CRM_CONTACTS),
        (
            "chinese-platform-orders",
            "Order report of a Chinese shop platform · 电商平台订单报表（GB18030）",
            _CHINESE_ORDERS,
        ),
    )
}
