"""Files as programs write them: spreadsheets, other separators and encodings, and ready-made mappings for them."""

import io
import zipfile
from datetime import datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest

from services.profile.rules import mapping_sheets
from services.profile.rules.mapping_cells import Cell, Layout
from services.profile.rules.mapping_presets import PRESETS
from services.profile.rules.mapping_sheets import sheet_rows
from services.profile.rules.mapping_stream import Malformed, UnreadableFile, csv_rows
from tests.profile.imports.conftest import HEADER, Imports, bought, csv_of

WINDOWS = {"Content-Type": "application/octet-stream"}


def workbook(*rows: tuple[Any, ...], sheet: str = "Sales") -> bytes:
    book = openpyxl.Workbook()
    page = book.active
    page.title = sheet
    for row in rows:
        page.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_spreadsheet_says_the_same_as_a_csv(imports: Imports) -> None:
    rows = [bought("1"), bought("1", sku="71053", quantity=2, price="3.39"), bought("C2", quantity=-1)]
    imports.run(rows)
    typed = [
        (number, sku, text, int(pieces), datetime.fromisoformat(at), float(price), float(customer), country)
        for number, sku, text, pieces, at, price, customer, country in rows
    ]
    imports.save("sheet", source="sheet", format="xlsx", date_format="%d/%m/%Y", delimiter=None)
    job_id = imports.start(workbook(HEADER, (None,) * 8, *typed), "sheet", **WINDOWS)
    imports.work()
    report = imports.job(job_id)["report"]
    assert report["rows"] == {"read": 3, "recorded": 3, "unchanged": 0, "skipped": 0, "rejected": 0}
    assert imports.facts("sheet") == imports.facts("shop")


def test_a_sheet_is_read_row_by_row_with_the_numbers_that_its_program_shows() -> None:
    file = workbook(
        ("id", "price", "on"),
        (17850.0, 2.55, datetime.fromisoformat("2026-01-02")),
        ("a", 0.1 + 0.2, True),
        ("#REF!", 1, 1),
    )
    rows = list(sheet_rows([file[:100], file[100:]], ["price", "id", "on"]))
    assert rows[0] == (2, ["2.55", "17850", "2026-01-02 00:00:00"])
    assert rows[1] == (3, ["0.3", "a", "true"])
    assert isinstance(rows[2][1], Malformed)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (b"no workbook", "damaged_workbook"),
        (workbook(("a", "b"))[:500], "damaged_workbook"),
        (workbook(("a", "a")), "missing_column"),
        (workbook(("id", "id")), "repeated_column"),
        (workbook(), "empty_file"),
    ],
    ids=[
        "no workbook",
        "cut off",
        "no such column",
        "two of them",
        "no header",
    ],  # not its bytes: they hold the time
)
def test_a_workbook_that_cannot_be_read_says_why(file: bytes, code: str) -> None:
    with pytest.raises(UnreadableFile) as unreadable:
        list(sheet_rows([file], ["id"]))
    assert unreadable.value.code == code


def test_a_workbook_that_would_burst_is_never_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b"0" * 50_000_000)
    with pytest.raises(UnreadableFile) as unreadable:
        list(sheet_rows([bomb.getvalue()], ["id"]))
    assert unreadable.value.code == "workbook_bursts"
    monkeypatch.setattr(mapping_sheets, "LARGEST", 1000)
    with pytest.raises(UnreadableFile) as unreadable:
        list(sheet_rows([workbook(("id",))], ["id"]))
    assert unreadable.value.code == "workbook_too_large"


def test_the_separator_is_found_by_the_columns_of_the_mapping() -> None:
    for separator in ",;\t|":
        head = separator.join(("id", '"a, b; c"', "price"))
        assert list(csv_rows([f"{head}\n1{separator}x{separator}2\n"], ["price", "id"], None)) == [
            (2, ["2", "1"])
        ]


def test_a_cell_is_cleaned_before_it_is_read() -> None:
    def clean(text: str, **steps: Any) -> str:
        step = Cell(column="a", **steps).cleaner()
        return step(text) if step else text

    assert clean('="100023"', remove=["=", '"']) == "100023"
    assert clean("Shop: A-17 (old)", after=": ", before=" (") == "A-17"
    assert clean("#1001", remove_prefix="#") == "1001"
    assert clean(".0", remove_suffix=".0") == ".0"
    assert clean("M", values={"M": "male"}) == "male"
    assert clean("X", values={"M": "male"}, unlisted="empty", default="undisclosed") == "undisclosed"
    layout = Layout(
        {
            "name": Cell(join=("first", "last")),
            "order": Cell(column="no"),
            "at": Cell(column="at", fill_down=True),
        },
        key="order",
    )
    rows = [
        layout.compose(row) for row in (["Ann", "Li", "1", "mon"], ["", "Li", "1", ""], ["", "", "2", ""])
    ]
    assert [row[layout.places["name"]] for row in rows] == ["Ann Li", "Li", ""]
    assert [row[layout.places["at"]] for row in rows] == ["mon", "mon", ""]


def test_presets_are_listed_and_become_mappings_when_they_are_copied(imports: Imports) -> None:
    listed = imports.client.get("/v1/import-presets").json()["items"]
    assert {item["name"] for item in listed} == set(PRESETS)
    for item in listed:
        reply = imports.client.put(f"/v1/import-mappings/{item['name']}", json=item["mapping"])
        assert reply.status_code == 201, reply.text
        assert reply.json()["mapping"] == item["mapping"]


def test_orders_of_an_online_shop_are_read_by_its_preset(imports: Imports) -> None:
    mapping = PRESETS["online-shop-orders"].mapping.model_dump(mode="json")
    assert imports.client.put("/v1/import-mappings/orders", json=mapping).status_code == 201
    body = (
        b"Name;Email;Financial Status;Created at;Currency;Lineitem quantity;Lineitem name;Lineitem price;Lineitem sku;"
        b"Lineitem discount;Vendor;Location;Discount Code\n"
        b"#1001;ann@example.com;paid;2026-03-01 10:00:00 +0800;CNY;2;Tea;10.00;T1;1.00;Leaf;;SPRING\n"
        b"#1001;;;;;1;Cup;5.00;;0;Leaf;;\n"
        b"#1002;bo@example.com;voided;2026-03-02 10:00:00 +0800;CNY;1;Tea;10.00;T1;0;Leaf;;\n"
        b"#1002;;;;;1;Cup;5.00;C1;0;Leaf;;\n"
    )
    job_id = imports.start(body, "orders")
    imports.work()
    report = imports.job(job_id)["report"]
    assert (report["rows"]["recorded"], report["skipped"]) == (2, {"not_paid": 2})
    found = imports.ask(
        "select external_id, total_minor, channel, coupon_codes, occurred_at::text from purchase"
    )
    assert found == [("1001", 2400, "web", ["SPRING"], "2026-03-01 02:00:00+00")]
    assert imports.ask("select sku, brand from purchase_line order by line") == [
        ("T1", "Leaf"),
        ("no-sku", "Leaf"),
    ]
    assert imports.ask("select external_id like 'p-%' from customer_external_id") == [(True,)]


def test_orders_of_a_chinese_platform_are_read_by_its_preset(imports: Imports) -> None:
    mapping = PRESETS["chinese-platform-orders"].mapping.model_dump(mode="json")
    assert imports.client.put("/v1/import-mappings/orders", json=mapping).status_code == 201
    body = (
        "订单编号,买家会员名,订单付款时间,商家编码,宝贝标题,购买数量,价格,店铺名称,订单状态\n"
        '"=""2026030112345""",小王,2026-03-01 10:00:00,"=""SKU-1""",绿茶,2,"¥1,010.50",旗舰店,交易成功\n'
        '"=""2026030112346""",小李,,"=""SKU-1""",绿茶,1,¥10.50,旗舰店,交易关闭\n'
    ).encode("gb18030")
    job_id = imports.start(body, "orders")
    imports.work()
    report = imports.job(job_id)["report"]
    assert (report["rows"]["recorded"], report["skipped"]) == (1, {"not_paid": 1})
    found = imports.ask("select external_id, store, total_minor, occurred_at::text from purchase")
    assert found == [("2026030112345", "旗舰店", 202_100, "2026-03-01 02:00:00+00")]


def test_amounts_of_whole_lines_become_prices_that_give_them_again(imports: Imports) -> None:
    columns = {
        "order": "no",
        "sku": "sku",
        "quantity": "n",
        "line_amount": "sum",
        "occurred_at": "at",
        "customer": "who",
    }
    body = csv_of(
        [
            ("1", "A", "3", "10.00", "2026-01-01", "a"),
            ("1", "B", "7", "0.99", "2026-01-01", "a"),
            ("2", "A", "-3", "-10.00", "2026-01-01", "a"),
        ],
        ("no", "sku", "n", "sum", "at", "who"),
    )
    imports.save("sums", columns=columns, negative_quantity_is_return=True)
    imports.start(body, "sums")
    imports.work()
    assert imports.ask("select sku, amount_minor from purchase_line order by sku") == [("A", 1000), ("B", 99)]
    assert imports.ask("select amount_minor from purchase_return") == [(1000,)]
    assert imports.ask("select unit_price from purchase_line where sku = 'A'") == [(Decimal("3.333333333"),)]
