"""Files that turn up in the company's own folders and at its addresses."""

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.profile.app import SERVICE
from services.profile.jobs.fetches import fetch_imports
from shared.jobs.schedule import Context
from tests.profile.imports.conftest import Imports, bought, csv_of


@pytest.fixture
def website() -> Iterator[Any]:
    """Serves ``website.body`` on the loopback, and counts who came."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.body)  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None: ...

    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.body = [], csv_of([bought("1")])
    server.url = f"http://127.0.0.1:{server.server_port}/orders.csv"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def looked(imports: Imports) -> int:
    """Look at the sources, work off what was found; how many imports there were."""
    under = imports.under_test
    fetch_imports(Context(under.settings, under.sessions, under.engine), quiet_seconds=-10)
    count = 0
    while imports.work():
        count += 1
    return count


def with_source(service: Callable[..., Any], **settings: Any) -> Imports:
    imports = Imports(service(SERVICE, **settings))
    imports.save()
    return imports


def test_a_file_in_a_folder_is_imported_once_and_again_when_it_changed(
    service: Callable[..., Any], tmp_path: Path
) -> None:
    source = {"name": "till", "mapping": "retail", "folder": str(tmp_path)}
    imports = with_source(service, import_sources=[source])
    (tmp_path / "a.csv").write_bytes(csv_of([bought("1")]))
    (tmp_path / "b.csv.part").write_bytes(csv_of([bought("9")]))
    (tmp_path / ".hidden").write_bytes(csv_of([bought("9")]))
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert looked(imports) == 1 and looked(imports) == 0
    (tmp_path / "a.csv").write_bytes(csv_of([bought("1"), bought("2")]))
    assert looked(imports) == 1
    assert imports.ask("select external_id from purchase order by 1") == [("1",), ("2",)]
    assert imports.ask("select distinct created_by from shared.job") == [("source:till",)]


def test_an_address_is_asked_only_where_it_is_not_inside_or_is_allowed(
    service: Callable[..., Any], website: Any
) -> None:
    source = {"name": "shop", "mapping": "retail", "url": website.url, "authorization": "Bearer secret"}
    refused = with_source(service, import_sources=[source])
    assert looked(refused) == 0 and website.asked == []
    assert refused.ask("select count(*) from shared.job") == [(0,)]


def test_an_allowed_address_is_imported_whenever_it_says_something_new(
    service: Callable[..., Any], website: Any
) -> None:
    source = {"name": "shop", "mapping": "retail", "url": website.url, "authorization": "Bearer secret"}
    imports = with_source(service, import_sources=[source], outbound_networks=["127.0.0.0/8"])
    assert looked(imports) == 1 and looked(imports) == 0
    website.body = csv_of([bought("1"), bought("2")])
    assert looked(imports) == 1
    assert set(website.asked) == {"Bearer secret"}
    assert imports.ask("select external_id from purchase order by 1") == [("1",), ("2",)]
    assert imports.ask("select count(*) from shared.upload_block") == [(0,)]
