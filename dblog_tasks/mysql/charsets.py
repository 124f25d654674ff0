"""Character sets of MySQL and MariaDB: which collation belongs to which, and their text in Python. Tables, no I/O.

Bytes become text only where nothing can go wrong: the text gives the same bytes again, and it is the text the servers make
of these bytes. Everything else stays bytes. The tables come from servers:

    COLLATION_IDS, BYTES_PER_CHARACTER   information_schema of MySQL 9.7.4 and MariaDB 10.11.19, united: COLLATIONS, and on
                                         MariaDB COLLATION_CHARACTER_SET_APPLICABILITY, which alone has the uca1400 ids;
                                         no id means one character set here and another there
    CODECS, _UNLIKE                      every sequence of one and two bytes, of three after 0x8F, every character below U+10000
                                         and a sample above, converted to utf8mb4 and back by both servers; a character is
                                         unlike when server and codec disagree either way
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from functools import cache
import re

from dblog_tasks.errors import InvalidInput, UnsupportedLog


def charset_of(collation_id: int) -> str:
    """Return the character set of a collation, by the id the log holds. Raises UnsupportedLog for an unknown one."""
    charset = CHARSET_OF_COLLATION.get(collation_id)
    if charset is None:
        raise UnsupportedLog(
            f"collation {collation_id} is not known: the character set of a column cannot be told",
            hint="its server is newer than MySQL 9.7 or MariaDB 10.11, or the collation is one of its own",
        )
    return charset


def charset_named(name: str) -> str | None:
    """Return the character set of this name or, if none has it, of the collation of this name; None for an unknown one."""
    name = name.lower()
    for candidate in (name, name.partition("_")[0]):
        charset = _ALIASES.get(candidate, candidate)
        if charset in BYTES_PER_CHARACTER:
            return charset
    return None


def decode_text(data: bytes, charset: str) -> str | bytes:
    """Return the text of these bytes, or the bytes themselves where `encode_text` could not give them back exactly."""
    if charset == "utf8mb4":  # the only character set where a codec is strict enough by itself
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    if charset == "latin1":
        return codecs.charmap_decode(data, "strict", _LATIN1)[0]
    codec = CODECS.get(charset)
    if codec is None:
        return data
    try:
        text = data.decode(codec)
        exact = (charset not in _UNLIKE or _unlike(charset).search(text) is None) and text.encode(codec) == data
    except UnicodeError:
        return data
    return text if exact else data


def encode_text(text: str, charset: str) -> bytes:
    """Return the bytes that `decode_text` makes this text of. Raises InvalidInput when there are none."""
    codec = CODECS.get(charset)
    if codec is None:
        raise InvalidInput(f"text {text!r:.40} cannot be written in character set {charset!r}", hint="give bytes")
    try:
        data = codecs.charmap_encode(text, "strict", _LATIN1_BYTES)[0] if charset == "latin1" else text.encode(codec)
    except UnicodeError:
        data = b""
    if decode_text(data, charset) != text:
        raise InvalidInput(f"text {text!r:.40} has a character that {charset} lacks or that servers write otherwise")
    return data


@cache
def _unlike(charset: str) -> re.Pattern[str]:
    """Return what finds a character for which the codec is not the server's mapping."""
    return re.compile(f"[{_UNLIKE[charset]}{re.escape(_twice()) if charset == 'cp932' else ''}]")


def _twice() -> str:
    """Return the characters that rows ED and EE of cp932 have, as rows FA to FC do, which servers write."""
    places = [bytes([lead, trail]) for lead in (0xED, 0xEE) for trail in range(0x40, 0xFD) if trail != 0x7F]
    return b"".join(places).decode("cp932", "ignore")


# Collation ids of each character set.
COLLATION_IDS: Mapping[str, str] = {
    "armscii8": "32 64 1056 1088",
    "ascii": "11 65 1035 1089",
    "big5": "1 84 1025 1108",
    "binary": "63",
    "cp1250": "26 34 44 66 99 1050 1090",
    "cp1251": "14 23 50-52 1074-1075",
    "cp1256": "57 67 1081 1091",
    "cp1257": "29 58-59 1082-1083",
    "cp850": "4 80 1028 1104",
    "cp852": "40 81 1064 1105",
    "cp866": "36 68 1060 1092",
    "cp932": "95-96 1119-1120",
    "dec8": "3 69 1027 1093",
    "eucjpms": "97-98 1121-1122",
    "euckr": "19 85 1043 1109",
    "gb18030": "248-250",
    "gb2312": "24 86 1048 1110",
    "gbk": "28 87 1052 1111",
    "geostd8": "92-93 1116-1117",
    "greek": "25 70 1049 1094",
    "hebrew": "16 71 1040 1095",
    "hp8": "6 72 1030 1096",
    "keybcs2": "37 73 1061 1097",
    "koi8r": "7 74 1031 1098",
    "koi8u": "22 75 1046 1099",
    "latin1": "5 8 15 31 47-49 94 1032 1071",
    "latin2": "2 9 21 27 77 1033 1101",
    "latin5": "30 78 1054 1102",
    "latin7": "20 41-42 79 1065 1103",
    "macce": "38 43 1062 1067",
    "macroman": "39 53 1063 1077",
    "sjis": "13 88 1037 1112",
    "swe7": "10 82 1034 1106",
    "tis620": "18 89 1042 1113",
    "ucs2": "35 90 128-151 159 640-642 1059 1114 1152 1174 2560-2727 2744-2759",
    "ujis": "12 91 1036 1115",
    "utf16": "54-55 101-124 672-674 1078-1079 1125 1147 2816-2983 3000-3015",
    "utf16le": "56 62 1080 1086",
    "utf32": "60-61 160-183 736-738 1084-1085 1184 1206 3072-3239 3256-3271",
    "utf8mb3": "33 76 83 192-215 223 576-578 1057 1107 1216 1238 2048-2215 2232-2247",
    "utf8mb4": "45-46 224-247 255-271 273-275 277-294 296-298 300 303-323 608-610 1069-1070 1248 1270 2304-2471 2488-2503",
}


def _expand(ids: str) -> list[int]:
    bounds = [part.partition("-") for part in ids.split()]
    return [number for first, _, last in bounds for number in range(int(first), int(last or first) + 1)]


CHARSET_OF_COLLATION: Mapping[int, str] = {number: charset for charset, ids in COLLATION_IDS.items() for number in _expand(ids)}

_MANY_BYTES = {
    2: "big5 cp932 euckr gb2312 gbk sjis ucs2",
    3: "eucjpms ujis utf8mb3 utf8",
    4: "gb18030 utf16 utf16le utf32 utf8mb4",
}
# The most bytes one character takes, which the server reserves for each character of CHAR(n) and VARCHAR(n).
BYTES_PER_CHARACTER: Mapping[str, int] = dict.fromkeys(COLLATION_IDS, 1) | {
    charset: size for size, charsets in _MANY_BYTES.items() for charset in charsets.split()
}
_ALIASES = {"utf8": "utf8mb3"}  # its name before MySQL 8.0.30 and MariaDB 10.6

# The Python codec of a character set; absent: Python has none, its text stays bytes (armscii8, dec8, geostd8, keybcs2, swe7).
CODECS: Mapping[str, str] = {
    "ascii": "ascii",
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "hp8": "hp_roman8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "latin1": "cp1252",  # and the five bytes it leaves undefined, see _LATIN1
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "sjis": "shift_jis",
    "tis620": "tis_620",
    "ucs2": "utf_16_be",
    "ujis": "euc_jp",
    "utf16": "utf_16_be",
    "utf16le": "utf_16_le",
    "utf32": "utf_32_be",
    "utf8": "utf_8",
    "utf8mb3": "utf_8",
    "utf8mb4": "utf_8",
}

# 81, 8D, 8F, 90 and 9D are the control characters of the same number.
_LATIN1 = "".join(bytes([byte]).decode("cp1252") if byte not in b"\x81\x8d\x8f\x90\x9d" else chr(byte) for byte in range(256))
_LATIN1_BYTES = codecs.charmap_build(_LATIN1)

_ABOVE_BMP = r"\U00010000-\U0010ffff"
# gb18030: characters that its editions of 2005 and 2022, and so servers and versions of Python, map differently.
_GB18030_MOVED = r"\u1e3f\u9fb4-\u9fbb\ufe10-\ufe19\ue78d-\ue796\ue7c7\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864"

# Characters for which the codec is not the server's mapping: text that has one stays bytes.
_UNLIKE: Mapping[str, str] = {
    "big5": r"\u02cd\u2574\uffe3",
    "cp1256": r"\u0679\u0688\u0691\u06a9\u06ba\u06be\u06c1\u06d2",
    "cp866": r"\xa4\u2116",
    "cp932": r"\x80\uf8f0-\uf8f3",  # and those of _twice
    "eucjpms": r"\xa2\xa3\xa6\xac\u2016\u2116\u2212\u301c",
    "gb18030": _GB18030_MOVED,
    "greek": r"\u037a\u2018\u2019\u20ac\u20af",
    "hebrew": r"\xaf",
    "koi8u": r"\u2219",
    "sjis": r"\x5c\uff3c",
    "ucs2": _ABOVE_BMP,
    "ujis": r"\uff3c",
    "utf8": _ABOVE_BMP,
    "utf8mb3": _ABOVE_BMP,
}
