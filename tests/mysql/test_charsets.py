"""Character sets: bytes become text only if the text gives them back."""

from __future__ import annotations

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput, UnsupportedLog
from dblog_tasks.mysql import charsets
from dblog_tasks.mysql.charsets import (
    BYTES_PER_CHARACTER,
    CHARSET_OF_COLLATION,
    CODECS,
    COLLATION_IDS,
    charset_named,
    charset_of,
    decode_text,
    encode_text,
)

CHARSETS = sorted(BYTES_PER_CHARACTER)
BYTES = st.binary(max_size=24) | st.lists(st.integers(0x80, 0xFF), max_size=12).map(bytes)


@pytest.mark.parametrize(
    ("number", "charset"),
    [
        (1, "big5"),
        (8, "latin1"),
        (28, "gbk"),
        (33, "utf8mb3"),
        (45, "utf8mb4"),
        (63, "binary"),
        (76, "utf8mb3"),  # MySQL alone
        (255, "utf8mb4"),  # MySQL's default
        (309, "utf8mb4"),
        (640, "ucs2"),  # MariaDB alone
        (1046, "koi8u"),
        (2304, "utf8mb4"),  # MariaDB's uca1400
        (3271, "utf32"),
    ],
)
def test_collation_has_its_character_set(number: int, charset: str) -> None:
    """Ids of both vendors are known, from the oldest to the newest."""
    assert charset == charset_of(number)


@pytest.mark.parametrize("number", [-1, 0, 17, 127, 299, 2048 + 168, 65535])
def test_unknown_collation_is_refused(number: int) -> None:
    """An id no server has is not taken for a character set."""
    with pytest.raises(UnsupportedLog, match=f"collation {number} "):
        charset_of(number)


def test_collation_belongs_to_one_character_set() -> None:
    """The table says nothing twice."""
    assert len(CHARSET_OF_COLLATION) == sum(len(charsets._expand(ids)) for ids in COLLATION_IDS.values())
    assert set(COLLATION_IDS) | {"utf8"} == set(BYTES_PER_CHARACTER)
    assert set(CODECS) < set(BYTES_PER_CHARACTER)


@pytest.mark.parametrize(
    ("name", "charset"),
    [
        ("utf8mb4", "utf8mb4"),
        ("UTF8", "utf8mb3"),
        ("utf8_general_ci", "utf8mb3"),
        ("utf8mb4_0900_ai_ci", "utf8mb4"),
        ("latin1_swedish_ci", "latin1"),
        ("binary", "binary"),
        ("klingon", None),
        ("", None),
    ],
)
def test_name_of_character_set_or_collation(name: str, charset: str | None) -> None:
    """A name is a character set's or a collation's, in old and new spelling; another one is nobody's."""
    assert charset == charset_named(name)


@given(BYTES, st.sampled_from(CHARSETS))
def test_text_gives_its_bytes_back(data: bytes, charset: str) -> None:
    """Whatever the bytes: they come back as they are, or as text that is written with exactly these bytes."""
    found = decode_text(data, charset)

    assert data == (found if isinstance(found, bytes) else encode_text(found, charset))


@given(st.text(max_size=12), st.sampled_from(CHARSETS))
def test_bytes_give_their_text_back(text: str, charset: str) -> None:
    """Whatever the text: it is refused, or written so that the same text is read."""
    try:
        data = encode_text(text, charset)
    except DblogError:
        return

    assert text == decode_text(data, charset)


@pytest.mark.parametrize("charset", sorted(CODECS))
def test_character_fits_its_bytes(charset: str) -> None:
    """No character takes more bytes than the server reserves for one, and most of ASCII is text everywhere."""
    sizes = {}
    for number in [*range(0x500), *range(0x500, 0x11_0000, 61)]:
        try:
            sizes[number] = len(encode_text(chr(number), charset))
        except InvalidInput:
            continue

    assert max(sizes.values()) <= BYTES_PER_CHARACTER[charset]
    assert set(range(0x20, 0x5C)) <= set(sizes)


@pytest.mark.parametrize("charset", ["binary", "armscii8", "dec8", "geostd8", "keybcs2", "swe7", "unheard of"])
def test_without_codec_bytes_stay_bytes(charset: str) -> None:
    """Bytes, and text that Python cannot read, are not decoded."""
    assert b"abc" == decode_text(b"abc", charset)
    with pytest.raises(InvalidInput, match=charset):
        encode_text("abc", charset)


def test_latin1_is_text_in_every_byte() -> None:
    """MySQL's latin1 is cp1252 with the five undefined bytes as control characters."""
    text = decode_text(bytes(range(256)), "latin1")

    assert isinstance(text, str)
    assert ("€", "\x81", "Ÿ", "ÿ") == (text[0x80], text[0x81], text[0x9F], text[0xFF])
    assert bytes(range(256)) == encode_text(text, "latin1")


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf8mb4", b"\xff"),
        ("utf8mb4", b"\xed\xa0\x80"),  # a lone surrogate
        ("utf8mb4", b"\xc0\x80"),  # longer than needed
        ("utf8mb3", "😀".encode()),
        ("utf8", "😀".encode()),
        ("ascii", b"\x80"),
        ("sjis", b"\x5c"),  # the server writes it as 815F
        ("sjis", b"\x81\x5f"),
        ("cp932", b"\xed\x40"),  # the server writes it as FA5C
        ("cp932", b"\x80"),
        ("ujis", b"\xa1\xc0"),
        ("eucjpms", b"\xa1\xc1"),
        ("big5", b"\xa1\x5a"),
        ("greek", b"\xa4"),
        ("gb18030", b"\xa8\xbc"),
        ("ucs2", b"\xd8\x00\xdc\x00"),
        ("ucs2", b"\x00"),
        ("utf16", b"\xd8\x00"),
        ("utf32", b"\x00\x11\x00\x00"),
    ],
)
def test_bytes_that_are_no_certain_text_stay_bytes(charset: str, data: bytes) -> None:
    """Damage, and characters that Python and the servers read differently, are not guessed."""
    assert data == decode_text(data, charset)


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf8mb4", "naïve 日本 😀".encode(), "naïve 日本 😀"),
        ("utf8mb3", "naïve 日本".encode(), "naïve 日本"),
        ("ascii", b"plain", "plain"),
        ("gbk", b"\xc4\xe3", "你"),
        ("sjis", b"\x93\xfa", "日"),
        ("euckr", b"\xc7\xd1", "한"),
        ("koi8r", b"\xd0", "п"),
        ("cp1251", b"\xef", "п"),
        ("hp8", b"\xcf", "ü"),
        ("ucs2", b"\x65\xe5", "日"),
        ("utf16", b"\xd8\x3d\xde\x00", "😀"),
        ("utf16le", b"\x3d\xd8\x00\xde", "😀"),
        ("utf32", b"\x00\x01\xf6\x00", "😀"),
        ("utf16", b"\xfe\xff", "\ufeff"),  # no byte order mark, a character
    ],
)
def test_text_of_character_sets(charset: str, data: bytes, text: str) -> None:
    """Text is what the character set makes of its bytes."""
    assert text == decode_text(data, charset)
    assert data == encode_text(text, charset)
