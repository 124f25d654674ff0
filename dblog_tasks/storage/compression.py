"""Decompression of a stream of blocks: bytes in, bytes out.

Law: no I/O, bounded memory whatever the input claims. What can be read before damage or a cut comes out first. Trailing data that
is neither another member or frame nor padding is damage.

    suffix       compression
    .gz          gz    members after one another, zeros as padding at the end (RFC 1952)
    .zst .zstd   zst   frames after one another, with or without their size, skippable ones too, windows to 128 MiB (RFC 8878)
    .xz          xz    streams after one another, zeros as padding, dictionaries to 128 MiB (The .xz File Format 1.2)
    .bz2         bz2   streams after one another
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import re
from typing import Any
import zlib

from dblog_tasks.errors import DblogError, MalformedLog, TruncatedLog, UnsupportedLog

SUFFIXES: Mapping[str, str] = {"gz": "gz", "zst": "zst", "zstd": "zst", "xz": "xz", "bz2": "bz2"}  # the values: keys of _DECOMPRESSORS
UNREADABLE = ("7z", "br", "lz4", "lzma", "lzo", "qp", "rar", "Z", "zip")
_SUFFIX = re.compile(rf"(.+)\.({'|'.join([*SUFFIXES, *UNREADABLE])})", re.DOTALL)
_PIECE_BYTES = 1 << 18  # output of one call
_UNZSTD_BYTES = 512  # input of one call: four bytes of zstd can stand for 128 KiB (RFC 8878, 3.1.1.2), so the output is 16 MiB at most
_XZ_MEMORY_MAX = (1 << 27) + (1 << 20)  # a dictionary as big as a zstd window, and what goes with it
_ZSTD_WINDOW_MAX = 1 << 27  # what the zstd command reads unasked, too
_GET_AGAIN = "get the file again"


def split_suffix(name: str) -> tuple[str, str]:
    """Return a file name without the suffix of its compression, and that compression, as it is called here when it can be read."""
    match = _SUFFIX.fullmatch(name)
    return (match[1], SUFFIXES.get(match[2], match[2])) if match else (name, "")


def decompress(compression: str, blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, compressed as one of the values of `SUFFIXES`, in pieces of any size but empty.

    Raises TruncatedLog when it ends inside a member or frame (an empty file does), MalformedLog when it is damaged, both with the
    number of decompressed bytes before, UnsupportedLog when it needs more memory than is given.
    """
    out = 0
    pieces = _DECOMPRESSORS[compression](blocks)
    try:
        for piece in pieces:
            if piece:
                out += len(piece)
                yield piece
    except (MalformedLog, UnsupportedLog) as error:
        raise type(error)(error.what, where=f"{where}: after {out} decompressed bytes", hint=error.hint) from None


def _gunzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    member: zlib._Decompress | None = zlib.decompressobj(wbits=31)
    for block in blocks:
        rest = block
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                piece = member.decompress(rest, _PIECE_BYTES)
                rest = member.unconsumed_tail
                yield piece
                while len(piece) == _PIECE_BYTES and not rest:  # zlib may hold more back than it was given
                    piece = member.decompress(b"", _PIECE_BYTES)
                    yield piece
            except zlib.error:
                raise MalformedLog("damaged: not what gzip writes", hint=_GET_AGAIN) from None
            if member.eof:
                rest = member.unused_data
                member = None
    if member is not None:
        raise TruncatedLog("cut: the gzip data ends before its end mark", hint=_GET_AGAIN)


def _unzstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - plain logs do without

    source = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    frame: zstandard.ZstdDecompressionObj | None = source.decompressobj()
    for block in blocks:
        for at in range(0, len(block), _UNZSTD_BYTES):
            rest = block[at : at + _UNZSTD_BYTES]
            while rest:
                frame = frame or source.decompressobj()
                try:
                    yield frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise _zstd_error(error) from None
                rest = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
    if frame is not None:
        raise TruncatedLog("cut: the zstd data ends inside a frame", hint=_GET_AGAIN)


def _zstd_error(error: Exception) -> DblogError:
    if "too much memory" in str(error):
        return UnsupportedLog("zstd with a window of more than 128 MiB", hint="compress it again without --long=28 or more")
    return MalformedLog("damaged: not what zstd writes", hint=_GET_AGAIN)


def _unxz(blocks: Iterable[bytes]) -> Iterator[bytes]:
    import lzma  # noqa: PLC0415 - plain logs do without

    def stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_MAX)

    try:
        yield from _streams(blocks, stream, b"\xfd7zXZ\0", b"\0", "xz")
    except lzma.LZMAError as error:
        if "Memory usage limit" in str(error):
            raise UnsupportedLog("xz with a dictionary of more than 128 MiB", hint="compress it again with -9 or less") from None
        raise MalformedLog("damaged: not what xz writes", hint=_GET_AGAIN) from None


def _unbzip2(blocks: Iterable[bytes]) -> Iterator[bytes]:
    import bz2  # noqa: PLC0415 - plain logs do without

    try:
        yield from _streams(blocks, bz2.BZ2Decompressor, b"BZh", b"", "bzip2")
    except OSError:
        raise MalformedLog("damaged: not what bzip2 writes", hint=_GET_AGAIN) from None


def _streams(blocks: Iterable[bytes], new: Callable[[], Any], magic: bytes, padding: bytes, name: str) -> Iterator[bytes]:
    """Yield what streams after one another hold, of decompressors that keep what they were given and not yet asked for."""
    stream, begun = None, False
    for block in blocks:
        rest = block
        while rest or (stream and not stream.needs_input):
            if stream is None:
                rest = rest.lstrip(padding) if begun and padding else rest
                if not rest:
                    break
                if not rest.startswith(magic[: len(rest)]):  # xz would want twelve bytes to see that
                    raise MalformedLog(f"damaged: not what {name} writes", hint=_GET_AGAIN)
                stream, begun = new(), True
            yield stream.decompress(rest, _PIECE_BYTES)
            rest = b""
            if stream.eof:
                rest, stream = stream.unused_data, None
    if stream or not begun:
        raise TruncatedLog(f"cut: the {name} data ends before its end mark", hint=_GET_AGAIN)


_DECOMPRESSORS: Mapping[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {"gz": _gunzip, "zst": _unzstd, "xz": _unxz, "bz2": _unbzip2}
