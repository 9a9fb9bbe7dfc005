"""Keys: signatures that hold, hashes that hide, files that nobody else reads."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.adapters import keys as module
from roadworthy.adapters.keys import (
    Hasher,
    create_keys,
    hashing_key_file,
    keys_folder,
    load_hasher,
    load_keys,
    verify,
)
from roadworthy.errors import BundleError, StorageError, UsageError

HASHER = Hasher(b"k" * 32)


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    folder = keys_folder(tmp_path)
    assert folder == tmp_path / ".roadworthy" / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "hashing.key", "signing.pem"]
    for name in ("signing.pem", "hashing.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (tmp_path / ".roadworthy" / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE((tmp_path / ".roadworthy").stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = create_keys(tmp_path)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert again.fingerprint == keys.fingerprint == load_keys(tmp_path).fingerprint
    assert again.hasher.hash_one("a") == keys.hasher.hash_one("a")


def test_two_projects_share_nothing(tmp_path: Path) -> None:
    one, two = create_keys(tmp_path / "one"), create_keys(tmp_path / "two")
    assert one.fingerprint != two.fingerprint
    assert one.hasher.fingerprint != two.hasher.fingerprint
    assert one.hasher.hash_one("a") != two.hasher.hash_one("a")
    assert not verify(two.public_pem, b"m", one.sign(b"m"))


def test_a_signature_holds_for_its_message_alone(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    signature = keys.sign(b"manifest")
    assert len(signature) == 64
    assert verify(keys.public_pem, b"manifest", signature)
    assert not verify(keys.public_pem, b"manifest ", signature)
    assert not verify(keys.public_pem, b"manifest", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not verify(keys.public_pem, b"manifest", b"")


def test_a_public_key_of_another_kind_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(BundleError, match="Ed25519"):
        verify(pem, b"m", b"s")
    with pytest.raises(BundleError, match="no"):
        verify(b"nonsense", b"m", b"s")


def test_missing_open_and_damaged_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="roadworthy init") as caught:
        load_keys(tmp_path)
    assert len(caught.value.problems) == 2
    create_keys(tmp_path)
    signing = keys_folder(tmp_path) / "signing.pem"
    signing.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_keys(tmp_path)
    signing.chmod(0o600)
    (keys_folder(tmp_path) / "hashing.key").write_text("abc")
    with pytest.raises(UsageError, match="damaged"):
        load_keys(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / ".roadworthy").touch()
    with pytest.raises(StorageError, match="next: "):
        create_keys(tmp_path)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.none() | st.text(max_size=4) | st.sampled_from(["a", " a ", " "]), max_size=20))
def test_law_a_column_is_hashed_as_its_values_are(values: list[str | None]) -> None:
    hashed = HASHER.hash(pl.Series("who", values, dtype=pl.String))
    assert hashed.name == "who"
    assert hashed.dtype == pl.String
    assert hashed.to_list() == [HASHER.hash_one(value) for value in values]
    for value, found in zip(values, hashed.to_list(), strict=True):
        assert (found is None) == (value is None or not value.strip())
        if found is not None:
            assert len(found) == 32
            assert set(found) <= set("0123456789abcdef")


def test_hashes_are_distinct_and_ignore_how_the_value_is_held() -> None:
    texts = pl.Series([str(number) for number in range(50_000)])
    hashed = HASHER.hash(texts)
    assert hashed.n_unique() == 50_000
    assert HASHER.hash(texts.cast(pl.Int64)).equals(hashed)
    assert HASHER.hash_one(" 7 ") == HASHER.hash_one("7")
    repeated = pl.concat([texts[:100]] * 50)
    assert HASHER.hash(repeated).equals(pl.concat([hashed[:100]] * 50))


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    hasher = Hasher(b"k" * 32)
    for start in range(0, 1000, 50):
        piece = pl.Series([str(number) for number in range(start, start + 50)])
        assert hasher.hash(piece).equals(HASHER.hash(piece))
        assert len(hasher._hashes) <= 150


def test_a_long_column_of_repeated_texts_is_hashed_as_its_values_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG", 10)
    hasher = Hasher(b"k" * 32)
    texts = [None if place % 13 == 4 else f" {place * 7 % 11}" * (place % 11 > 0) for place in range(400)]
    for rows in (texts, texts[::-1], [None] * 20, ["a"] * 20):
        found = hasher.hash(pl.Series("who", rows, dtype=pl.String))
        assert found.name == "who"
        assert found.to_list() == [HASHER.hash_one(text) for text in rows]


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        Hasher(b"short")


def test_a_call_inside_a_call_never_locks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    hasher = Hasher(b"k" * 32)
    piece = pl.Series("who", ["a", None, " b"])
    with hasher._lock:
        found = hasher.hash(piece)
    assert found.equals(HASHER.hash(piece), check_names=True)


def test_a_number_is_the_same_person_however_it_is_held() -> None:
    expected = [HASHER.hash_one("42"), HASHER.hash_one("-7"), None]
    for held in (
        pl.Series([42, -7, None], dtype=pl.Int32),
        pl.Series([42.0, -7.0, None]),
        pl.Series([42.0, -7.0, float("nan")], dtype=pl.Float32),
        pl.Series([Decimal("42.00"), Decimal("-7.00"), None], dtype=pl.Decimal(10, 2)),
        pl.Series(["42", " -7", ""]),
    ):
        assert HASHER.hash(held).to_list() == expected, held.dtype
    parts = pl.Series([1.5, 1e300, -0.0, 2.0**53])
    assert HASHER.hash(parts).to_list() == [HASHER.hash_one(t) for t in ("1.5", "1e+300", "0", "9007199254740992")]
    tens = pl.Series([Decimal(100), Decimal(1)], dtype=pl.Decimal(10, 0))
    assert HASHER.hash(tens).to_list() == [HASHER.hash_one("100"), HASHER.hash_one("1")]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    folder = keys_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / ".signing.pem.0a1b2c3d").write_text("a private key")
    (folder / ".hashing.key.0a1b2c3d").write_text("a secret")
    create_keys(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "hashing.key", "signing.pem"]


def test_a_file_system_without_hard_links_and_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", unsupported)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    keys = create_keys(tmp_path)
    folder = keys_folder(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "hashing.key", "signing.pem"]
    for name in ("signing.pem", "hashing.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert create_keys(tmp_path).fingerprint == keys.fingerprint == load_keys(tmp_path).fingerprint


# --- the key that hides, by itself -----------------------------------------------------------------------------------


def test_who_only_answers_takes_one_key_and_not_the_other(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "project")
    file = tmp_path / "secret"
    file.write_bytes(hashing_key_file(tmp_path / "project").read_bytes())
    file.chmod(0o440)
    found = load_hasher(file)
    assert found.fingerprint == keys.hasher.fingerprint
    assert found.hash_one("a") == keys.hasher.hash_one("a")
    assert not hasattr(found, "sign")


@pytest.mark.parametrize(
    ("mode", "fine"), [(0o600, True), (0o440, True), (0o640, True), (0o444, False), (0o660, False), (0o602, False)]
)
def test_the_group_may_read_it_and_nobody_else(tmp_path: Path, mode: int, fine: bool) -> None:
    create_keys(tmp_path)
    file = hashing_key_file(tmp_path)
    file.chmod(mode)
    if fine:
        assert load_hasher(file).hash_one("a")
    else:
        with pytest.raises(UsageError, match="chmod 600"):
            load_hasher(file)


def test_where_containers_find_secrets_nobody_else_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_keys(tmp_path)
    file = hashing_key_file(tmp_path)
    file.chmod(0o444)
    monkeypatch.setattr(module, "_SECRETS", tmp_path)
    assert load_hasher(file).hash_one("a")
    file.chmod(0o666)
    with pytest.raises(UsageError, match="chmod 600"):
        load_hasher(file)


@pytest.mark.parametrize("content", [b"", b"zz", b"ab" * 31, b"ab" * 33, "ä".encode()])
def test_a_file_that_is_no_key_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="expected 64 hex digits") as caught:
        load_hasher(file)
    assert "hashing.key" in caught.value.next_step
    with pytest.raises(UsageError, match="no such file"):
        load_hasher(tmp_path / "nowhere")
