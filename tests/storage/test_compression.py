"""Compressed streams: whole, in any pieces, cut and damaged."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterable, Iterator
import gzip
import lzma
import zlib

from hypothesis import given, strategies as st
import pytest
import zstandard

from dblog_tasks.errors import DblogError, MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.storage.compression import SUFFIXES, decompress, split_suffix

READABLE = sorted(set(SUFFIXES.values()))
TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(3000))
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"


def sizeless(data: bytes) -> bytes:
    """Return a zstd frame that does not tell how much it holds."""
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the data in pieces of this size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def until_error(parts: Iterable[bytes]) -> tuple[bytes, DblogError | None]:
    """Return the bytes that come, and the error that ends them."""
    found = []
    try:
        for part in parts:
            found.append(part)
    except DblogError as error:
        return b"".join(found), error
    return b"".join(found), None


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": sizeless, "xz": lzma.compress, "bz2": bz2.compress}

WHOLE = [
    ("gz", gzip.compress(TEXT), TEXT),
    ("gz", gzip.compress(b""), b""),
    ("gz", gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more"), TEXT + b"more"),
    ("gz", gzip.compress(TEXT) + bytes(1000), TEXT),
    ("gz", gzip.compress(TEXT, 0), TEXT),
    ("gz", gzip.compress(bytes(1 << 20)), bytes(1 << 20)),
    ("zst", zstandard.compress(TEXT), TEXT),
    ("zst", zstandard.compress(b""), b""),
    ("zst", sizeless(TEXT), TEXT),
    ("zst", sizeless(TEXT) + SKIPPABLE + zstandard.compress(b"more") + sizeless(b""), TEXT + b"more"),
    ("zst", SKIPPABLE + sizeless(bytes(1 << 20)), bytes(1 << 20)),
    ("xz", lzma.compress(TEXT), TEXT),
    ("xz", lzma.compress(b""), b""),
    (
        "xz",
        lzma.compress(TEXT, check=lzma.CHECK_SHA256) + bytes(8) + lzma.compress(b"") + lzma.compress(b"more") + bytes(4),
        TEXT + b"more",
    ),
    ("xz", lzma.compress(bytes(1 << 20), preset=9), bytes(1 << 20)),
    ("bz2", bz2.compress(TEXT), TEXT),
    ("bz2", bz2.compress(b""), b""),
    ("bz2", bz2.compress(TEXT, 1) + bz2.compress(b"") + bz2.compress(b"more"), TEXT + b"more"),
    ("bz2", bz2.compress(bytes(1 << 20)), bytes(1 << 20)),
]

DAMAGED = [
    ("gz", b"no gzip at all"),
    ("gz", b"\0" * 20 + gzip.compress(TEXT)),
    ("gz", gzip.compress(TEXT) + b"rubbish after the end"),
    ("gz", gzip.compress(TEXT)[:-8] + bytes(8)),
    ("zst", b"no zstd at all, nor anything else"),
    ("zst", sizeless(TEXT) + b"rubbish after the end"),
    ("zst", sizeless(TEXT)[:-4] + bytes(4)),
    ("xz", b"no xz at all"),
    ("xz", lzma.compress(TEXT, format=lzma.FORMAT_ALONE)),
    ("xz", lzma.compress(TEXT) + b"rubbish after the end"),
    ("xz", lzma.compress(TEXT)[:-30] + bytes(30)),
    ("bz2", b"no bzip2 at all"),
    ("bz2", bz2.compress(TEXT) + b"rubbish after the end"),
    ("bz2", bz2.compress(TEXT)[:-8] + bytes(8)),
]


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1 << 20])
@pytest.mark.parametrize(("compression", "data", "expected"), WHOLE)
def test_a_stream_in_any_pieces_gives_its_content(compression: str, data: bytes, expected: bytes, size: int) -> None:
    """Members, frames, padding and checksums may fall on any border of the pieces, and no piece that comes out is empty."""
    found = list(decompress(compression, pieces(data, size), "x"))
    assert expected == b"".join(found)
    assert all(found)


@pytest.mark.parametrize(
    ("compression", "data", "expected"), [case for case in WHOLE if not case[1].endswith(bytes(4)) or case[0] == "zst"]
)
def test_a_cut_stream_gives_what_it_holds_and_says_so(compression: str, data: bytes, expected: bytes) -> None:
    """A cut inside a member or frame raises TruncatedLog after a beginning of the content, with its length."""
    for length in (0, 1, 5, len(data) // 2, len(data) - 1):
        found, error = until_error(decompress(compression, [data[:length]], "x"))
        assert isinstance(error, TruncatedLog)
        assert f"x: after {len(found)} decompressed bytes" == error.where
        assert expected.startswith(found)


@pytest.mark.parametrize("compression", READABLE)
def test_the_place_of_damage_is_told_in_decompressed_bytes(compression: str) -> None:
    """All that was whole has come out, and the error counts it."""
    found, error = until_error(decompress(compression, pieces(PACK[compression](TEXT) + b"rubbish", 100), "x"))
    assert isinstance(error, MalformedLog)
    assert (TEXT, f"x: after {len(TEXT)} decompressed bytes") == (found, error.where)


@pytest.mark.parametrize(("compression", "data"), DAMAGED)
def test_a_damaged_stream_is_malformed_not_cut(compression: str, data: bytes) -> None:
    """Wrong magic, rubbish behind the end and wrong checksums are told from a cut."""
    with pytest.raises(MalformedLog) as caught:
        list(decompress(compression, [data], "x"))
    assert not isinstance(caught.value, TruncatedLog)


@pytest.mark.parametrize("compression", READABLE)
def test_a_bomb_comes_out_in_bounded_pieces(compression: str) -> None:
    """No piece is bigger than 16 MiB, whatever the stream expands to."""
    zeros = bytes(1 << 26)
    lengths = list(map(len, decompress(compression, [PACK[compression](zeros)], "x")))
    assert len(zeros) == sum(lengths)
    assert max(lengths) <= 1 << 24


def test_a_zstd_window_beyond_the_limit_is_unsupported() -> None:
    """A frame that asks for 2 GiB of memory is not given it."""
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3])
    with pytest.raises(UnsupportedLog):
        list(decompress("zst", [header + b"\x01\x00\x00"], "x"))


def test_an_xz_dictionary_beyond_the_limit_is_unsupported() -> None:
    """128 MiB are given, and not 192."""
    for size, read in ((1 << 27, True), (3 << 26, False)):
        data = lzma.compress(b"small", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": size}])
        found, error = until_error(decompress("xz", [data], "x"))
        assert (b"small", None) == (found, error) if read else isinstance(error, UnsupportedLog)


@pytest.mark.parametrize(("name", "expected"), [
    ("b.000001.zstd", ("b.000001", "zst")),
    ("b.000001.xz", ("b.000001", "xz")),
    ("b.000001", ("b.000001", "")),
    (".gz", (".gz", "")),
    ("b.gz.lz4", ("b.gz", "lz4")),
])  # fmt: skip
def test_a_suffix_tells_the_compression(name: str, expected: tuple[str, str]) -> None:
    """One suffix, readable or not."""
    assert expected == split_suffix(name)


@given(st.sampled_from(READABLE), st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=3), st.integers(1, 50))
def test_any_bytes_give_content_or_a_declared_error(compression: str, data: bytes, at: int, patch: bytes, size: int) -> None:
    """Streams damaged anywhere end in their content or in a DblogError."""
    stream = PACK[compression](data)
    damaged = stream[:at] + patch + stream[at + len(patch) :]
    found, error = until_error(decompress(compression, pieces(damaged, size), "x"))
    assert error is not None or data == found


@given(st.sampled_from(READABLE), st.binary())
def test_rubbish_gives_a_declared_error(compression: str, data: bytes) -> None:
    """No exception of zlib or zstandard comes through."""
    with pytest.raises(DblogError):
        list(decompress(compression, [b"\x01" + data], "x"))


def test_the_held_back_output_of_zlib_comes_out() -> None:
    """Content of exactly the limit of one call, and around it, is whole."""
    for size in ((1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 19):
        stream = zlib.compressobj(wbits=31)
        data = stream.compress(bytes(size)) + stream.flush()
        assert size == sum(map(len, decompress("gz", pieces(data, 7), "x")))
