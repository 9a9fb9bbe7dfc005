"""Who may look at a dashboard, from where a change may come, and what every answer says to browsers."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from roadworthy import api
from roadworthy.errors import UsageError
from roadworthy.web.guards import MOST_FORM
from roadworthy.web.running import dashboard

CHANGE = "/alerts/99999/ack"


@pytest.fixture(scope="module")
def asker(dash: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dash.url, timeout=20) as client:
        yield client


def _conftest() -> ModuleType:
    """The module beside this one, for its ``served``."""
    spec = importlib.util.spec_from_file_location("dashboard_conftest", Path(__file__).parent / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("dashboard_conftest", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


def test_every_answer_forbids_foreign_code_and_frames(asker: httpx.Client) -> None:
    for path in ("/", "/nowhere", "/static/look.css", "/static/nothing", "/live?span=zz", "/sign-in"):
        answer = asker.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_hold_no_inline_script_or_style(asker: httpx.Client) -> None:
    for path in ("/", "/live", "/data", "/quality", "/predictions", "/alerts", "/versions", "/runs", "/nowhere"):
        text = asker.get(path).text
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text) == [], path


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1, evil.example"])
def test_a_strangers_name_is_refused(asker: httpx.Client, host: str) -> None:
    assert asker.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
def test_a_change_comes_from_our_own_pages_only(asker: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = asker.post(CHANGE, headers=headers, data={"reason": "x"})
    assert answer.status_code == status


def test_a_page_that_is_looked_at_takes_no_change(asker: httpx.Client) -> None:
    assert asker.post("/alerts", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 405
    assert asker.get(CHANGE).status_code in {404, 405}


def test_a_form_without_end_is_refused(asker: httpx.Client) -> None:
    answer = asker.post(CHANGE, headers={"Sec-Fetch-Site": "same-origin"}, content=b"a" * (MOST_FORM + 1))
    assert answer.status_code == 413


def test_errors_say_what_was_found_and_what_to_do(asker: httpx.Client) -> None:
    answer = asker.get("/live", params={"span": "<script>alert(1)</script>"})
    assert answer.status_code == 400
    assert "&lt;script&gt;" in answer.text
    assert "<script>alert" not in answer.text
    assert "24h" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/quality?since=0001-01-01",
        "/live?until=9999-12-31T23:59:59-14:00",
        "/live?since=0001-01-01T00:00:00%2B14:00",
        "/predictions?before=99999999999999999999.0.x",
        "/windows/1%20h/" + "9" * 5_000,
        "/runs/version-" + "9" * 5_000,
    ],
    ids=["year 1", "year 9999", "before year 1", "a place beyond all", "a long window", "a long run"],
)
def test_words_beyond_all_bounds_break_nothing(asker: httpx.Client, path: str) -> None:
    assert asker.get(path).status_code in {200, 400, 404}


def test_a_form_of_too_many_fields_is_refused_as_a_page(asker: httpx.Client) -> None:
    many = "&".join(f"f{at}=1" for at in range(201))
    answer = asker.post(CHANGE, headers={"Sec-Fetch-Site": "same-origin"}, content=many.encode())
    assert answer.status_code == 400
    assert "This did not work" in answer.text


def test_no_page_leads_elsewhere(asker: httpx.Client) -> None:
    answer = asker.post(
        "/sign-in?to=//evil.example/", headers={"Sec-Fetch-Site": "same-origin"}, data={"key": "rw_nobody"}
    )
    assert answer.status_code == 401
    assert "evil.example" not in answer.headers.get("location", "")


def test_a_project_with_keys_shows_nothing_without_one(copied: Path) -> None:
    served = _conftest().served
    made = api.key("create", "anna", project=copied)
    with served(copied) as (url, _), httpx.Client(base_url=url, timeout=20) as client:
        own = {"Sec-Fetch-Site": "same-origin"}
        assert "clicks" not in client.get("/nowhere").text.replace("clicks-", "")
        shut = client.get("/alerts?page=2")
        assert shut.status_code == 303
        assert shut.headers["location"] == "/sign-in?to=%2Falerts%3Fpage%3D2"
        assert client.post(CHANGE, headers=own).status_code == 303
        wrong = client.post("/sign-in", headers=own, data={"key": made.secret[:-1]})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        assert client.post("/sign-in", data={"key": made.secret}).status_code == 403  # from no page of ours
        right = client.post("/sign-in?to=/alerts", headers=own, data={"key": made.secret})
        assert (right.status_code, right.headers["location"]) == (303, "/alerts")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert cookie.partition("=")[0] != _session_of(copied / "elsewhere"), "cookies do not know ports"
        assert cookie.partition("=")[0] == _session_of(copied)
        inside = client.get("/alerts")
        assert inside.status_code == 200
        assert "anna" in inside.text
        assert made.secret not in inside.text
        api.key("revoke", made.keys[0].id, project=copied)
        api.key("create", "ben", project=copied)
        assert client.get("/alerts").status_code == 303


def _session_of(folder: Path) -> str:
    mark = hashlib.sha256(str(folder / "roadworthy.toml").encode()).hexdigest()
    return f"roadworthy_session_{mark[:12]}"


def test_others_may_not_look_without_a_key(copied: Path) -> None:
    with pytest.raises(UsageError, match="no key says who may look"):
        dashboard(copied, host="0.0.0.0", port=0)  # noqa: S104 - it is refused


def test_a_registry_that_is_gone_is_said_and_comes_back(copied: Path) -> None:
    served = _conftest().served
    registry = copied / ".roadworthy" / "registry.db"
    with served(copied) as (url, _), httpx.Client(base_url=url, timeout=20) as client:
        assert client.get("/versions").status_code == 200
        registry.rename(registry.with_suffix(".away"))
        gone = client.get("/versions")
        assert gone.status_code == 503
        assert "registry" in gone.text
        registry.with_suffix(".away").rename(registry)
        assert client.get("/versions").status_code == 200
