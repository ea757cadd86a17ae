"""Saving mappings and sending files."""

from tests.profile.imports.conftest import MAPPING, Imports, bought, csv_of


def test_a_mapping_is_saved_read_and_listed(imports: Imports) -> None:
    made = imports.save("retail")
    assert (made.status_code, made.headers["ETag"], made.json()["version"]) == (201, '"1"', 1)
    again = imports.save("retail")
    assert (again.status_code, again.headers["ETag"]) == (200, '"1"')
    changed = imports.save("retail", missing_customer="anonymous")
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    read = imports.client.get("/v1/import-mappings/retail")
    assert read.headers["ETag"] == '"2"'
    assert read.json()["mapping"]["missing_customer"] == "anonymous"
    imports.save("another")
    first = imports.client.get("/v1/import-mappings?limit=1").json()
    assert [item["name"] for item in first["items"]] == ["another"]
    rest = imports.client.get(f"/v1/import-mappings?limit=1&cursor={first['next_cursor']}").json()
    assert ([item["name"] for item in rest["items"]], rest["next_cursor"]) == (["retail"], None)


def test_only_the_version_that_was_read_is_changed_if_asked_so(imports: Imports) -> None:
    imports.save("retail")
    url, body = "/v1/import-mappings/retail", MAPPING | {"currency": "EUR"}
    assert imports.client.put(url, json=body, headers={"If-Match": '"1"'}).headers["ETag"] == '"2"'
    late = imports.client.put(url, json=MAPPING, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (412, "version_mismatch")


def test_a_mapping_with_faults_says_where_they_are(imports: Imports) -> None:
    reply = imports.client.put(
        "/v1/import-mappings/wrong",
        json=MAPPING | {"time_zone": "London", "colour": "red", "columns": {"order": "A"}},
    )
    assert reply.status_code == 422
    told = {(error["pointer"], error["code"]) for error in reply.json()["errors"]}
    assert ("/time_zone", "unknown_time_zone") in told
    assert {"/colour", "/columns/sku", "/columns/quantity"} <= {pointer for pointer, _ in told}
    assert imports.client.get("/v1/import-mappings/wrong").status_code == 404


def test_an_upload_that_cannot_be_imported_is_refused_at_once(imports: Imports) -> None:
    imports.save()
    body = csv_of([bought("1")])
    unknown = imports.send(body, "nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "import_mapping_not_found")
    assert imports.send(b"").json()["code"] == "empty_file"
    assert imports.send(body, **{"Content-Type": "application/pdf"}).status_code == 415
    assert imports.send(body, **{"Content-Encoding": "br"}).status_code == 415
    wrong = imports.send(body, **{"Content-Type": "application/x-ndjson"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "format_mismatch")
    kind = imports.client.post("/v1/imports?kind=horses&mapping=retail", content=body)
    assert kind.status_code == 422
    assert imports.ask("select count(*) from shared.job") == [(0,)]
    assert imports.under_test.stranger.post("/v1/imports?kind=purchases&mapping=retail").status_code == 401


def test_an_upload_is_kept_sealed_in_blocks(imports: Imports) -> None:
    imports.save()
    body = csv_of(bought(str(number), description="CANARY " * 20) for number in range(15_000))
    assert len(body) > 2 * 1024 * 1024
    imports.start(body)
    blocks = imports.ask(
        "select number, octet_length(sealed), position('CANARY'::bytea in sealed) from shared.upload_block order by 1"
    )
    assert [number for number, _, _ in blocks] == list(range(len(blocks)))
    assert len(blocks) == -(-len(body) // (1024 * 1024))
    assert {place for _, _, place in blocks} == {0}
    parameters = imports.ask("select parameters from shared.job")[0][0]
    assert parameters["mapping"]["definition"]["source"] == "shop"


def test_a_mapping_changed_later_does_not_touch_an_import_under_way(imports: Imports) -> None:
    imports.save()
    job_id = imports.start(csv_of([bought("1")]))
    imports.save(currency="EUR")
    imports.work()
    assert imports.job(job_id)["report"]["mapping"] == {"name": "retail", "version": 1}
    assert imports.ask("select currency from purchase") == [("GBP",)]
