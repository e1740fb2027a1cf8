"""What to do about cells that are no number, or hold more than one: said where they are refused."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["advice"]

_WORDS = {"true", "false", "yes", "no", "on", "off", "ja", "nein", "ein", "aus"}
_PARTS = " '\u2019_"
_CURRENCIES = "$€£¥₹"
_PLAIN = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d{1,3})?")
_COMMA_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_GROUPS = re.compile(
    rf"[+-]?[1-9]\d{{0,2}}(?P<part>[{_PARTS}])\d{{3}}(?:(?P=part)\d{{3}})*(?:\.\d*)?"
)
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9a-fA-F]+")
_ERROR = re.compile(r"#[A-Z/]+[0-9]*[!?]?|(?i:#?err(?:or)?)")
_NEGATIVE = re.compile(rf"\(\s*(?P<one>{_PLAIN})\s*\)|(?P<other>{_PLAIN})\s*-")
_BOUND = re.compile(rf"[<>≤≥~]=?\s*{_PLAIN}")
_MORE = re.compile(
    rf"(?P<before>[^\W\d_]{{0,3}}[{_CURRENCIES}]|[^\W\d_]{{3}} )?\s*{_PLAIN}"
    r"\s*(?P<behind>[^\s\d.,+\-eE][^\d\s]{0,15})?"
)


@lru_cache(maxsize=1024)
def advice(cell: str, decimal: str = ".") -> str:
    """Returns what may be done about a cell that is no number, behind a semicolon; or nothing.

    Args:
        cell: What it holds, without spaces and quotes around it.
        decimal: What stands before decimals.
    """
    text = cell
    if decimal == ",":
        if _POINT_GROUPS.fullmatch(cell):
            return "; say `--thousands .` if a point parts thousands"
        text = "" if "." in cell else cell.replace(",", ".")
    for find in (_of_commas, _of_groups, _of_words, _of_marks):
        found = find(text, cell)
        if found:
            return f"; {found}"
    return ""


def _of_commas(text: str, _cell: str) -> str:
    is_grouped = _COMMA_GROUPS.fullmatch(text) is not None
    if _COMMA.fullmatch(text):
        also = ", or `--thousands ,` if it parts thousands" if is_grouped else ""
        return f"say `--decimal ,` if decimals follow the comma{also}"
    return "say `--thousands ,` if the comma parts thousands" if is_grouped else ""


def _of_groups(text: str, _cell: str) -> str:
    match = _GROUPS.fullmatch(text)
    if match is None:
        return ""
    part = f'"{match["part"]}"' if match["part"] == "'" else f"'{match['part']}'"
    return f"say `--thousands {part}` if that parts thousands"


def _of_words(_text: str, cell: str) -> str:
    if cell.lower() in _WORDS:
        return f"write 1 or 0 for it, or say `--missing '{cell}'` if it stands for no value"
    if _ERROR.fullmatch(cell):
        return f"say `--missing '{cell}'` if it stands for no value"
    return ""


def _of_marks(text: str, _cell: str) -> str:
    if _HEXADECIMAL.fullmatch(text):
        return "write it in decimal"
    match = _NEGATIVE.fullmatch(text)
    if match is not None:
        return f"write -{(match['one'] or match['other']).lstrip('+-')} if it is negative"
    if _BOUND.fullmatch(text):
        return "it is a bound and no value; `--bad-cell cell` keeps the rest of its row"
    match = _MORE.fullmatch(text)
    more = " and ".join(f"`{part.strip()}`" for part in (match.groups() if match else ()) if part)
    return f"write the number alone, without {more}" if more else ""
