"""SQL queries as sources: SQLite, and a PostgreSQL cluster of the tests' own."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from roadworthy.adapters.sources import open_source
from roadworthy.errors import MissingExtra, SourceError
from roadworthy.testing import check_source

PASSWORD = "s3cret-word"  # noqa: S105 - of the tests' own cluster


def refused(declared: object, folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(declared, folder).scan().collect()  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None or PASSWORD not in str(caught.value.__cause__)
    return str(caught.value)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table sale (id integer, price, note text, flag integer)")
        connection.executemany(
            "insert into sale values (?, ?, ?, ?)",
            [(1, 2, "a:b", 1), (2, 2.5, None, 0), (3, None, "100 % 'x'", None)],
        )
    connection.close()
    return tmp_path


def test_sqlite_types_are_decided_by_every_row(shop: Path) -> None:
    declared = {"url": "sqlite:///shop.db", "query": "select *, 'x::y :z' as label from sale order by id;"}
    found = open_source(declared, shop).scan().collect()
    assert found.schema["price"] == pl.Float64
    assert found.rows() == [
        (1, 2.0, "a:b", 1, "x::y :z"),
        (2, 2.5, None, 0, "x::y :z"),
        (3, None, "100 % 'x'", None, "x::y :z"),
    ]
    check_source(lambda: open_source(declared, shop))


def test_sqlite_is_opened_read_only(shop: Path) -> None:
    before = (shop / "shop.db").read_bytes()
    refused({"url": "sqlite:///shop.db", "query": "delete from sale"}, shop)
    refused({"url": "sqlite:///shop.db", "query": "create table more (a)"}, shop)
    assert (shop / "shop.db").read_bytes() == before


def test_mixed_kinds_become_text_with_a_note(shop: Path) -> None:
    query = "select price as p from sale where id = 1 union all select 'n/a'"
    source = open_source({"url": "sqlite:///shop.db", "query": query}, shop)
    assert source.scan().collect()["p"].to_list() == ["2", "n/a"]
    assert any("kept as text" in note for note in source.notes())


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"url": "sqlite:///shop.db", "query": "select prize from sale"}, "no such column: prize"),
        ({"url": "sqlite:///shop.db", "query": "select * from sale where id > 9"}, "no rows"),
        ({"url": "sqlite:///shop.db", "query": "select id, id from sale"}, "'id' stands 2 times"),
        ({"url": "sqlite:///nowhere.db", "query": "select 1"}, "no SQLite file"),
        ({"url": "sqlite:///shop.db"}, "without a query"),
        ("sqlite:///shop.db", "without a query"),
        ({"url": "sqlite:///shop.db", "query": "select 1", "header": True}, "unknown key 'header'"),
        ({"url": "mysql://u:s3cret-word@h/d", "query": "select 1"}, "mysql://…"),
    ],
)
def test_what_cannot_be_answered_is_refused(shop: Path, declared: object, expected: str) -> None:
    assert expected in refused(declared, shop)
    assert not (shop / "nowhere.db").exists()


def test_a_change_between_two_readings_changes_the_fingerprint(shop: Path) -> None:
    source = open_source({"url": "sqlite:///shop.db", "query": "select id from sale order by id"}, shop)
    before = source.fingerprint()
    with sqlite3.connect(shop / "shop.db") as connection:
        connection.execute("update sale set id = 7 where id = 3")
    connection.close()
    assert source.scan().collect()["id"].to_list() == [1, 2, 7]
    assert source.fingerprint() != before


def test_postgres_types_and_laws(postgres: str, tmp_path: Path) -> None:
    query = """
        select g::int as id, (g * 1.5)::numeric(10, 2) as amount, g % 2 = 0 as even, 'n' || g as name,
               date '2024-01-01' + g::int as day, timestamp '2024-01-01 10:00' as at,
               timestamptz '2024-01-01 10:00+02' as instant, null::text as nothing, '{"a": 1}'::jsonb as doc
        from generate_series(1, 45000) g order by g
    """
    declared = {"url": postgres, "query": query}
    found = open_source(declared, tmp_path).scan().collect()
    assert found.height == 45_000
    assert found.row(0, named=True) == {
        "id": 1,
        "amount": 1.5,
        "even": False,
        "name": "n1",
        "day": date(2024, 1, 2),
        "at": datetime(2024, 1, 1, 10),  # noqa: DTZ001 - the column has no zone
        "instant": found["instant"][0],
        "nothing": None,
        "doc": '{"a":1}',
    }
    assert found.schema["instant"] == pl.Datetime("us", "UTC")
    assert found["instant"][0].hour == 8
    small = {"url": postgres, "query": "select g as id, 'x' || g as t from generate_series(1, 50) g"}
    check_source(lambda: open_source(small, tmp_path), secrets=[PASSWORD])


def test_postgres_reads_only_and_hides_the_password(postgres: str, tmp_path: Path) -> None:
    source = open_source({"url": postgres, "query": "select 1 as a"}, tmp_path)
    assert PASSWORD not in source.describe()
    assert "tester:***@127.0.0.1" in source.describe()
    message = refused({"url": postgres, "query": "select nextval('missing')"}, tmp_path)
    assert "missing" in message
    refused({"url": postgres, "query": "create table t (a int)"}, tmp_path)
    query = "select current_setting('transaction_read_only') as r, current_setting('transaction_isolation') as i"
    assert open_source({"url": postgres, "query": query}, tmp_path).scan().collect().row(0) == ("on", "repeatable read")


@pytest.mark.parametrize("part", ["tester", "127.0.0.1", "postgres?sslmode=disable&application_name=s3cret-word"])
def test_postgres_connection_errors_hide_the_password(postgres: str, tmp_path: Path, part: str) -> None:
    host = postgres.rpartition("@")[2]
    urls = {
        "tester": f"postgresql://nobody:{PASSWORD}@{host}",
        "127.0.0.1": f"postgresql://tester:{PASSWORD}@127.0.0.1:1/postgres",
    }
    url = urls.get(part, f"postgresql://tester@{host.partition('/')[0]}/none?password={PASSWORD}")
    assert "did not answer the query" in refused({"url": url, "query": "select 1"}, tmp_path)


def test_the_password_may_come_from_the_environment(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RW_TEST_WORD", PASSWORD)
    url = postgres.replace(PASSWORD, "${RW_TEST_WORD}")
    assert open_source({"url": url, "query": "select 1 as a"}, tmp_path).scan().collect().item() == 1


def test_without_psycopg_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    source = open_source({"url": "postgresql://u:s3cret-word@127.0.0.1/d", "query": "select 1"}, tmp_path)
    with pytest.raises(MissingExtra, match=r"roadworthy\[postgres\]"):
        source.scan()


def test_what_the_environment_puts_in_is_never_shown(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_FILE", "shop.db")
    monkeypatch.setenv("SHOP_TOKEN", "tok-4711-secret")
    query = "select id, '${SHOP_TOKEN}' as token from sale order by id"
    declared = {"url": "sqlite:///${SHOP_FILE}", "query": query}
    source = open_source(declared, shop)
    assert source.scan().collect()["token"].to_list() == ["tok-4711-secret"] * 3
    assert source.describe() == f"sqlite:///${{SHOP_FILE}}: {query}"
    with pytest.raises(SourceError) as caught:
        open_source(declared | {"query": 'select nothing, "${SHOP_TOKEN}", x${SHOP_TOKEN} from sale'}, shop).scan()
    assert "tok-4711" not in str(caught.value)
    assert "${SHOP_TOKEN}" in str(caught.value)


def test_the_digest_does_not_know_the_machine(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copyfile(shop / "shop.db", elsewhere / "shop.db")
    declared = {"url": "sqlite:///shop.db", "query": "select id from sale order by id"}
    one, two = open_source(declared, shop), open_source(declared, elsewhere)
    assert one.fingerprint() == two.fingerprint()
    assert one.describe() == two.describe() == "sqlite:///shop.db: select id from sale order by id"


def test_a_database_never_tells_a_cell(shop: Path) -> None:
    with sqlite3.connect(shop / "shop.db") as connection:
        connection.execute("update sale set note = cast(x'616461206f27ff' as text) where id = 2")
    connection.close()
    told = refused({"url": "sqlite:///shop.db", "query": "select note from sale order by id"}, shop)
    assert "UTF-8" in told
    assert "ada" not in told
    assert "o'" not in told


def test_postgres_never_tells_a_cell(postgres: str, tmp_path: Path) -> None:
    query = "select mail::int as m from (values ('ada@' || 'example.org')) as people(mail)"
    told = refused({"url": postgres, "query": query}, tmp_path)
    assert "invalid input syntax for type integer: …" in told
    assert "ada@example" not in told
    assert 'column "prize" does not exist' in refused({"url": postgres, "query": "select prize"}, tmp_path)
    wrong = postgres.replace(PASSWORD, "another")
    assert "password authentication failed" in refused({"url": wrong, "query": "select 1"}, tmp_path)
