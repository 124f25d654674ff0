"""Decompression of a stream of blocks: bytes in, bytes out.

Law: no I/O, bounded memory whatever the input claims. What can be read before damage or a cut comes out first. Trailing data that
is neither another member or frame nor padding is damage.

    gz    members after one another, zeros as padding at the end (RFC 1952)
    zst   frames after one another, with or without their size, skippable ones too (RFC 8878)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import zlib

from dblog_tasks.errors import DblogError, MalformedLog, TruncatedLog, UnsupportedLog

READABLE = ("gz", "zst")  # the keys of _DECOMPRESSORS
UNREADABLE = ("7z", "br", "bz2", "lz4", "lzo", "qp", "xz", "Z", "zip", "zstd")
_GUNZIP_BYTES = 1 << 18  # output of one call
_UNZSTD_BYTES = 512  # input of one call: four bytes of zstd can stand for 128 KiB (RFC 8878, 3.1.1.2), so the output is 16 MiB at most
_ZSTD_WINDOW_MAX = 1 << 27  # what the zstd command reads unasked, too
_GET_AGAIN = "get the file again"


def decompress(compression: str, blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, compressed as `gz` or `zst`, in pieces of any size but empty.

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
                piece = member.decompress(rest, _GUNZIP_BYTES)
                rest = member.unconsumed_tail
                yield piece
                while len(piece) == _GUNZIP_BYTES and not rest:  # zlib may hold more back than it was given
                    piece = member.decompress(b"", _GUNZIP_BYTES)
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


_DECOMPRESSORS: Mapping[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {"gz": _gunzip, "zst": _unzstd}
