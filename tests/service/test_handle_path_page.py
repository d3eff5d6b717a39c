"""The page at `/demo` behind Serve's own ingress."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Client


def test_the_ingress_serves_the_page_and_the_fleet(handle: Client) -> None:
    url = handle.service.base_url.removesuffix("/v1") + "/demo"
    page = handle.http.get(url, follow_redirects=True)
    assert page.status_code == 200
    assert page.url.path == "/demo/"
    assert "<title>Andes" in page.text
    pacer = handle.http.get(f"{url}/pacer/index.js")
    assert "javascript" in pacer.headers["content-type"]
    seen = handle.http.get(f"{url}/fleet").json()
    assert {replica["id"] for replica in seen["replicas"]} == set(handle.reports())
    assert handle.http.get(f"{url}/nothing").status_code == 404
