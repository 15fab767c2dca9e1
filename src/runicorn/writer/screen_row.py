"""The screen of a small terminal: rows, the cursor, and the escape sequences that move it or erase."""

from __future__ import annotations

import re

import msgspec

MOST_ROWS = 50
_LONGEST_BAR = 4096
_PAINTED_WITHIN_S = 1.0
"""A painting of several writes is complete in less, however busy the machine is."""

# Compiled if they are needed: 1 ms that the end of a run without a captured console does not wait for.
_SGR = r"\x1b\[[0-9;:]*m"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"
_STRING = r"\x1b[\]PX^_][^\x00-\x1f\x7f]*"  # a control character ends it, so it can swallow no more than its line
_TOKEN = (
    rf"(?P<text>(?:{_SGR}|[^\x00-\x08\x0a-\x1f\x7f])+)"
    r"|\x1b\[(?P<arguments>[0-?]*)(?P<command>[@-~])"
    rf"|\x1b\[[0-?]*[ -/]+[@-~]|{_STRING}(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
    r"|(?P<control>[\x00-\x1f\x7f])"
)
_UNFINISHED = rf"(?:\r|\x1b\[[0-?]*[ -/]*|{_STRING}\x1b?|\x1b[ -/]*)\Z"


class FoundRow(list[tuple[float, str]]):
    """Lines that nothing can change any more, with their times; ``mode`` says what becomes of bars."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode


class ScreenRow(msgspec.Struct, omit_defaults=True):
    """One row of the screen.

    Attributes:
        time_s: when it was written last.
        text: what it shows, with its colours.
        bar: it was rewritten, or belongs to a block that is painted again and again.
        plain: the end of a bar that came without any control character: it may be a printed line.
    """

    time_s: float
    text: str = ""
    bar: bool = False
    plain: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether it shows nothing."""
        return not _without_colours(self.text).strip()

    def clear(self) -> None:
        """Erase it: what comes next is an ordinary line until something rewrites it."""
        self.text, self.plain, self.bar = "", "", False

    def put(self, text: str, column: int) -> None:
        """Write at a column, over what stands there."""
        if len(self.text) > _LONGEST_BAR or column == columns(self.text):  # so long a one is no bar: it stays
            self.text += text
            return
        end = self.text[_index(self.text, column + columns(text)) :]
        self.text = self.text[: _index(self.text, column)] + " " * (column - columns(self.text)) + text + end


class ScreenRows(msgspec.Struct, omit_defaults=True):
    """The rows of a screen that are not final, and the cursor.

    Attributes:
        rows: the newest last; empty if nothing is pending.
        at: the row of the cursor.
        column: its column.
        returned: a carriage return was written, and no text since: the next text takes the place of the row.
        hidden: the cursor is, so a block is painted again and again.
        states: in mode ``all``, the last states that have become lines: a block is repainted with the same rows.
    """

    rows: list[ScreenRow] = []
    at: int = 0
    column: int = 0
    returned: bool = False
    hidden: bool = False
    states: list[str] = []

    def write(self, text: str, time_s: float, found: FoundRow) -> None:
        """Do what a terminal does."""
        plain = is_plain(text)
        for token in re.finditer(_TOKEN, text):
            if not self.rows:
                self.rows = [ScreenRow(time_s)]
            if token["text"] is not None:
                self._put(token["text"], time_s, found, plain=plain)
            elif token["command"] is not None:
                self._command(token["command"], token["arguments"], found)
            elif token["control"] == "\n":
                self._newline(time_s, found)
            elif token["control"] == "\r":
                self._return(found)
            elif token["control"] == "\b":
                self.column = max(0, self.column - 1)
        if not (self.hidden or self.at or self.column or any(row.text.strip() for row in self.rows)):
            self.rows = [row for row in self.rows[:1] if row.bar]  # with it a bar begins
            self.returned = bool(self.rows)

    def settle(self, time_s: float, found: FoundRow, *, is_idle: bool = False) -> None:
        """Release the rows above the cursor if they are old, or their painter is idle: those bars have ended."""
        if self.at and not self.hidden and (is_idle or time_s > self.rows[self.at - 1].time_s + _PAINTED_WITHIN_S):
            self.release(self.at, found)

    def release(self, count: int, found: FoundRow, *, printed: bool = False) -> None:
        """Make lines of the oldest rows; ``printed``: they are no bars, whatever they look like."""
        for row in [row for index, row in enumerate(self.rows[:count]) if row.text or index < self.at]:
            if printed and row.text in self.states:  # it was a state already
                self.states.remove(row.text)
            elif printed or not row.bar:
                found.append((row.time_s, row.text))
            elif found.mode == "all":
                self._note(row, found)
            else:
                text = row.text.rstrip() if found.mode == "smart" else row.plain
                found.extend([(row.time_s, text)] * bool(_without_colours(text).strip()))
        del self.rows[:count]
        self.at = max(0, self.at - count)
        if not self.rows:
            self.column, self.returned = 0, False

    def _put(self, text: str, time_s: float, found: FoundRow, *, plain: bool) -> None:
        """Text at the cursor; behind a carriage return it takes the place of the row."""
        row = self.rows[self.at]
        if self.returned and self.hidden:  # the block begins here: what stands above it are messages, and final
            self.release(self.at, found, printed=True)
        if self.returned and not row.is_blank:
            self._note(row, found)
            row.text, row.plain, row.bar = "", "", True
        self.returned = False
        row.bar = row.bar or (self.hidden and not row.text)
        row.put(text, self.column)
        row.time_s = time_s
        row.plain += text if plain and row.bar else ""
        self.column += columns(text)

    def _return(self, found: FoundRow) -> None:
        if self.hidden:
            self._take_back(found)
            for row in self.rows[: self.at + 1]:
                self._note(row, found)
        row = self.rows[self.at]
        if not self.column:  # nothing stands before it: so bars begin
            row.bar = True
        elif row.is_blank:  # the row was wiped: what comes next need not be a bar
            row.clear()
        row.plain = ""
        self.column, self.returned = 0, True

    def _take_back(self, found: FoundRow) -> None:
        """Make lines of what was printed behind a block, before that is painted again from its own last row."""
        top = self.at
        while top and self.rows[top - 1].plain == self.rows[top - 1].text:
            top -= 1
        if self.rows[self.at].text or (top and not self.rows[top - 1].plain):
            return  # nothing has ended with a newline, as no block does
        row = self.rows[max(0, top - 1)]
        found.extend((each.time_s, each.plain) for each in self.rows[max(0, top - 1) : self.at])
        row.text, row.plain = row.text.removesuffix(row.plain), ""
        del self.rows[max(1, top) :]
        self.at, self.column = max(0, top - 1), columns(row.text)

    def _newline(self, time_s: float, found: FoundRow) -> None:
        """Go down; a line that is printed is final then, and with it what stands above."""
        row = self.rows[self.at]
        self.at += 1
        self.column, self.returned = 0, False
        if self.at == len(self.rows):
            self.rows.append(ScreenRow(time_s))
        if not (self.hidden or row.bar or row.is_blank):
            self.release(self.at, found)
        elif len(self.rows) > MOST_ROWS:
            self.release(1, found, printed=self.hidden)

    def _command(self, command: str, arguments: str, found: FoundRow) -> None:
        """A control sequence: up, down, erase, hide the cursor; others are dropped."""
        number = int(arguments[:4]) if arguments.isdecimal() else 0
        row = self.rows[self.at]
        if arguments == "?25" and command in "hl":
            self.hidden = command == "l"
            self.release(self.at if self.hidden else 0, found)
        elif command == "A":
            self.at = max(0, self.at - max(1, number))
        elif command == "B":
            self.at = min(len(self.rows) - 1, self.at + max(1, number))
        elif command == "K" and number in (0, 2):
            if (number or not self.column) and not row.is_blank:
                self._note(row, found)
                row.clear()
            elif self.column < columns(row.text):
                row.text = row.text[: _index(row.text, self.column)]

    def _note(self, row: ScreenRow, found: FoundRow) -> None:
        """In mode ``all``: what a row shows is about to change, or final."""
        shown = row.text.rstrip()
        if found.mode != "all" or row.is_blank:
            return
        if shown in self.states:
            self.states.remove(shown)
        else:
            found.append((row.time_s, shown))
        if len(shown) <= _LONGEST_BAR:
            self.states = [*self.states, shown][-2 * len(self.rows) - 2 :]


def is_plain(text: str) -> bool:
    """Whether it has no control characters but newlines, tabs and colours."""
    return re.search(_CONTROL, _without_colours(text)) is None


def columns(text: str) -> int:
    """How many columns a text takes."""
    return len(_without_colours(text))


def part(text: str) -> tuple[str, str]:
    """A chunk without what its end leaves open: returns, or as much of a cut escape sequence as its end will need."""
    last = len(text) - 1 if text.endswith("\r") else max(0, text.rfind("\x1b"))
    before = text.rfind("\x1b", 0, last)  # the last one may be half of what ends a string
    found = re.compile(_UNFINISHED).search(text, last if before < 0 else before)
    if found is None:
        return text, ""
    escape = found.group()
    if escape[1:2] in tuple("]PX^_"):
        escape = escape[:2] + "\x1b" * escape[2:].endswith("\x1b")
    return text[: found.start()], escape[:_LONGEST_BAR]


def _without_colours(text: str) -> str:
    return re.sub(_SGR, "", text) if "\x1b" in text else text


def _index(text: str, column: int) -> int:
    """Where a column begins in a text: behind the character before it."""
    at = 0
    for colour in re.finditer(_SGR, text):
        if colour.start() - at >= column:
            break
        column -= colour.start() - at
        at = colour.end()
    return min(at + column, len(text))
