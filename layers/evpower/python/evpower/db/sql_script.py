"""Splits a SQL script into its statements, so that an error can name the one that failed. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Everything inside which a semicolon does not end a statement, in PostgreSQL's own lexical rules.
_TOKEN = re.compile(
    r"""
      (?P<line_comment>--[^\n]*)
    | (?P<block_comment>/\*)
    | (?P<escape_string>\b[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<identifier>"(?:[^"]|"")*")
    | (?P<dollar>(?<![A-Za-z0-9_$\x80-\uffff])\$(?:[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]*)?\$)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_EMPTY = re.compile(r"(?:\s|--[^\n]*(?:\n|$))*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its number in the script and the line where it starts (both from 1), and its text."""

    number: int
    line: int
    text: str


def split_statements(script: str) -> Iterator[Statement]:
    """The statements of a script, without their semicolons and without the comments before them.

    Knows strings, quoted identifiers, dollar quotes, line comments and nested block comments. `BEGIN ATOMIC` function
    bodies (semicolons outside quotes) are not supported: quote the body.
    """
    number = 0
    start = position = 0
    while position <= len(script):
        match = _TOKEN.search(script, position)
        end = match.start() if match else len(script)
        if match and match.lastgroup != "end":
            position = _skip(script, match)
            continue
        begin = _first_token(script, start, end)
        if begin < end:
            number += 1
            yield Statement(number, script.count("\n", 0, begin) + 1, script[begin:end].rstrip())
        start = position = end + 1


def _skip(script: str, match: re.Match[str]) -> int:
    """Position after a token that hides semicolons; an unclosed one reaches to the end (PostgreSQL will say so)."""
    if match.lastgroup == "dollar":
        close = script.find(match.group(), match.end())
        return len(script) if close < 0 else close + len(match.group())
    if match.lastgroup == "block_comment":
        return _skip_block_comment(script, match.end())
    return match.end()


def _skip_block_comment(script: str, position: int) -> int:
    depth = 1
    while depth:
        edge = _BLOCK_EDGE.search(script, position)
        if edge is None:
            return len(script)
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position


def _first_token(script: str, start: int, end: int) -> int:
    """Where the statement's own text begins, after white space and comments."""
    position = start
    while True:
        blank = _EMPTY.match(script, position, end)
        position = blank.end() if blank else position
        if not script.startswith("/*", position) or position >= end:
            return position
        position = _skip_block_comment(script, position + 2)
