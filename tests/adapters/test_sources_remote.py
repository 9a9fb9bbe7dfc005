"""Object stores: s3:// against a server of the tests' own that speaks as much of S3 as reading needs."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import polars as pl
import pytest

from roadworthy.adapters.sources import open_source
from roadworthy.errors import SourceError
from roadworthy.testing import check_source

SECRET = "very-secret-key"  # noqa: S105 - nobody checks it
FRAME = pl.DataFrame({"a": [1, 2, None], "b": ["x", "y", None]})


class _S3(BaseHTTPRequestHandler):
    """GET and HEAD with ranges, and ListObjectsV2."""

    objects: dict[str, bytes] = {}  # noqa: RUF012 - filled once by the fixture
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        key = url.path.removeprefix("/bucket").lstrip("/")
        if "list-type" in query:
            self._send(200, self._listing(query.get("prefix", [""])[0]), {}, body=body)
        elif key not in self.objects:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {}, body=body)
        elif (wanted := self.headers.get("Range")) is not None:
            content = self.objects[key]
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            start = int(low) if low else max(0, len(content) - int(high))
            stop = min(int(high) + 1 if low and high else len(content), len(content))
            place = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
            self._send(206, content[start:stop], place, body=body)
        else:
            self._send(200, self.objects[key], {}, body=body)

    def _listing(self, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;1&quot;</ETag><Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            f"<ListBucketResult><Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        fixed = {"Content-Length": str(len(content)), "ETag": '"1"', "Accept-Ranges": "bytes"}
        fixed["Last-Modified"] = "Mon, 01 Jan 2024 00:00:00 GMT"
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """Storage options of a server with a few objects in ``bucket``."""
    parquet, arrow = io.BytesIO(), io.BytesIO()
    FRAME.write_parquet(parquet)
    FRAME.write_ipc(arrow)
    _S3.objects = {
        "a.parquet": parquet.getvalue(),
        "days/1.parquet": parquet.getvalue(),
        "days/2.parquet": parquet.getvalue(),
        "a.arrow": arrow.getvalue(),
        "a.ndjson": FRAME.write_ndjson().encode(),
        "a.csv": b'a;b\n1;"x\ny"\n2;\n',
        "ragged.csv": b"a,b,c\n1,2,3\n4,5\n",
        "broken.parquet": b"PAR1 nothing",
        "latin.csv": b"a,b\n1,\xe9\n",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), _S3)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield {
        "aws_endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "aws_access_key_id": "tester",
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.ndjson"])
def test_typed_objects(store: dict[str, str], name: str) -> None:
    declared = {"url": f"s3://bucket/{name}", "storage_options": store}
    assert open_source(declared, Path()).scan().collect().equals(FRAME)
    check_source(lambda: open_source(declared, Path()), secrets=[SECRET])


def test_csv_objects_are_text(store: dict[str, str]) -> None:
    declared = {"url": "s3://bucket/a.csv", "storage_options": store}
    source = open_source(declared, Path())
    assert source.scan().collect().rows() == [("1", "x\ny"), ("2", None)]
    assert any("semicolon" in note for note in source.notes())
    check_source(lambda: open_source(declared, Path()), secrets=[SECRET])


def test_globs_over_objects(store: dict[str, str]) -> None:
    declared = {"url": "s3://bucket/days/*.parquet", "storage_options": store}
    assert open_source(declared, Path()).scan().collect().height == 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.parquet", "cannot be read"),
        ("none.csv", "cannot be read"),
        ("broken.parquet", "cannot be read"),
        ("ragged.csv", "line 3: 2 fields"),
        ("latin.csv", "cannot be read"),
        ("days/*.csv", "one CSV object"),
        ("a.pkl", "never loaded"),
    ],
)
def test_what_cannot_be_read_is_refused_without_secrets(store: dict[str, str], name: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source({"url": f"s3://bucket/{name}", "storage_options": store}, Path()).scan().collect()
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://AKIA:ab/cd+ef@bucket/none.parquet", "s3://***@bucket/none.parquet"),
        ("s3://AKIA:ab/c@d@bucket/none.parquet", "s3://***@bucket/none.parquet"),
        ("az://box/none.parquet?sv=1&sig=ab/cd+ef", "az://box/none.parquet?***"),
        ("s3://bucket/day?.parquet", "s3://bucket/day?.parquet"),
        ("s3://bucket/${WHERE}.parquet", "s3://bucket/${WHERE}.parquet"),
    ],
)
def test_no_credential_of_a_url_is_shown(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("WHERE", "ab/cd+ef")
    source = open_source({"url": url, "storage_options": store}, Path())
    assert source.describe() == shown
    if url.startswith("az") or "@" in url:
        return  # what would be asked is none of the test's server
    with pytest.raises(SourceError) as caught:
        source.scan().collect()
    assert "ab/cd" not in str(caught.value)


def test_a_refused_name_is_masked_too(store: dict[str, str]) -> None:
    with pytest.raises(SourceError) as caught:
        open_source({"url": "s3://AKIA:ab/cd+ef@bucket/rows.unknown?sig=ab/cd", "storage_options": store}, Path())
    assert "ab/cd" not in str(caught.value)
