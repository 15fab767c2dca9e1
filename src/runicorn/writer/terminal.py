"""A small terminal: what the lines that a program has printed finally were.

A terminal is not a file: progress bars write over themselves, go up a line, erase. What arrives here is what was
written, chunk by chunk, and what leaves are lines that nothing can change any more. Nearly all chunks are plain
text, and go through without a look at their characters.

Each stream has a model of its own, so that a line printed while a bar is pending on the other one comes out clean.
Everything is data that a plan can carry: the same chunks give the same lines, whoever feeds them.
"""

from __future__ import annotations

import re

import msgspec

Lines = list[tuple[float, str]]

MOST_ROWS = 50
"""Rows that are held for a cursor that may come back: a terminal has not more either."""
MOST_PENDING_CHARACTERS = 64 * 1024
_MOST_COLUMNS = 10_000
_MOST_THREADS = 64
_LONGEST_ESCAPE = 4096

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_CELL = re.compile(r"((?:\x1b\[[0-9;:]*m)*)([^\x1b])", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    r"|\x1b\[(?P<arguments>[0-?]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\^_`-~]"
    r"|(?P<control>[\x00-\x1f\x7f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)?\Z")


class Row(msgspec.Struct):
    """One row of the screen.

    Attributes:
        time_s: when its first character was written, or its last one where it is a progress row.
        thread: who has begun it.
        text: what it shows, while it was only appended to.
        cells: what it shows, a character each with the colours before it, once it was rewritten.
        progress: whether it was rewritten.
        states: in mode ``all``, what it has shown before, with the times.
        plain: what was printed on it as ordinary text, if that is how it ends.
        under: what it had shown before an ordinary line was printed over it, with the time.
    """

    time_s: float
    thread: int
    text: str = ""
    cells: list[str] | None = None
    progress: bool = False
    states: list[tuple[float, str]] = []
    plain: str = ""
    under: tuple[float, str] | None = None

    @property
    def shown(self) -> str:
        """What it shows; a rewritten row without the blanks at its end, with which bars are wiped out."""
        if self.cells is None:
            return self.text
        cells = self.cells
        end = len(cells)
        while end and cells[end - 1] == " ":
            end -= 1
        return "".join(cells[:end])

    @property
    def is_blank(self) -> bool:
        """Whether it shows nothing."""
        return not _COLOUR.sub("", self.shown).strip()

    @property
    def is_ordinary(self) -> bool:
        """Whether it is no progress row, or an ordinary line was printed over one."""
        return not self.progress or self.under is not None

    def as_cells(self) -> list[str]:
        """Its characters one by one, to be rewritten."""
        if self.cells is None:
            found = _CELL.findall(self.text)
            self.cells = [colours + character for colours, character in found]
            rest = self.text[sum(map(len, self.cells)) :]
            if rest and self.cells:  # a colour behind the last character
                self.cells[-1] += rest
        return self.cells

    def note_state(self) -> None:
        """In mode ``all``: what it shows is about to change."""
        if not self.is_blank and (not self.states or self.states[-1][1] != self.shown):
            self.states.append((self.time_s, self.shown))

    def lines(self, mode: str) -> Lines:
        """What it comes to."""
        if mode == "none" and self.progress:
            return [(self.time_s, self.plain)] if self.plain else []
        found: Lines = []
        if mode == "all":
            if self.is_ordinary and self.progress:
                found = [*self.states, (self.time_s, self.shown)]
            elif self.progress:
                self.note_state()
                found = list(self.states)
            else:
                found = [(self.time_s, self.shown)]
            return found
        if self.under is not None and self.under[1].strip():
            found.append(self.under)
        if self.is_ordinary or not self.is_blank:
            found.append((self.time_s, self.shown))
        return found


class Stream(msgspec.Struct):
    """One stream of one process.

    Attributes:
        rows: those that are not final, the newest last; empty where nothing is pending.
        at: the row of the cursor.
        column: its column.
        escape: the beginning of an escape sequence that the last chunk has cut.
        returned: the last thing written was a carriage return.
        cut: that was the last character of a chunk: a newline may follow.
        returns: carriage returns in this row since the cursor came to it.
        trimmed: what was pending was too long to be carried along: the newline that ends it ends nothing more.
        hidden: the cursor is, so a block is being repainted: every row is held.
        asides: text of threads that print while another one's row is pending, by thread: time and text.
    """

    rows: list[Row] = []
    at: int = 0
    column: int = 0
    escape: str = ""
    returned: bool = False
    cut: bool = False
    returns: int = 0
    trimmed: bool = False
    hidden: bool = False
    asides: dict[int, tuple[float, str]] = {}

    def feed(self, text: str, time_s: float, thread: int, mode: str) -> Lines:
        """One chunk; the lines that are final by it."""
        if self.trimmed and text:
            self.trimmed = False
            text = text.removeprefix("\r").removeprefix("\n") if text.startswith(("\n", "\r\n")) else text
        if self._is_calm(thread) and _CONTROL.search(text) is None:
            return self._feed_calm(text, time_s, thread)
        if self.escape:
            text, self.escape = self.escape + text, ""
        returns, self.cut = self.cut and not text.startswith("\n"), False
        if "\r" in text:
            text = text.replace("\r\n", "\n")
            if text.endswith("\r"):
                text, self.cut = text[:-1], True
        plain = _CONTROL.search(_COLOUR.sub("", text) if "\x1b" in text else text) is None
        found: Lines = []
        if plain and (thread in self.asides or self._is_anothers(thread)):
            self.cut = returns
            self._feed_aside(text, time_s, thread, mode, found)
        else:
            if returns:
                self._return(time_s, thread, mode, found)
            if plain:
                self._feed_plain(text, time_s, thread, mode, found)
            else:
                self._feed_tokens(text, time_s, thread, mode, found)
        while len(self.rows) > MOST_ROWS:
            self._release(1, mode, found)
        if len(self.rows) == 1 and self.rows[0] == Row(self.rows[0].time_s, self.rows[0].thread):
            self._clear()
        return found

    def settle(self, mode: str) -> Lines:
        """Release the rows above the cursor: a line of the other stream is to come after them."""
        found: Lines = []
        if self.at and not self.hidden:
            self._release(self.at, mode, found)
        return found

    def flush(self, mode: str) -> Lines:
        """Everything that is pending, as lines."""
        found: Lines = []
        if self.cut and self.rows:
            self._return(self.rows[self.at].time_s, self.rows[self.at].thread, mode, found)
        for row in self.rows:
            if row.shown or row.progress or row is not self.rows[-1]:
                found += row.lines(mode)
        found += list(self.asides.values())
        self._clear()
        self.asides = {}
        self.escape, self.cut, self.hidden, self.trimmed = "", False, False, False
        return found

    def trim(self, mode: str) -> Lines:
        """Pending text that is too long to be carried along, as lines."""
        found: Lines = []
        if any(len(row.cells or row.text) > MOST_PENDING_CHARACTERS for row in self.rows):
            for row in self.rows:
                found += row.lines(mode)
            self._clear()
            self.trimmed = True
        for thread, aside in list(self.asides.items()):
            if len(aside[1]) > MOST_PENDING_CHARACTERS:
                found.append(self.asides.pop(thread))
        return found

    # --- chunks ---------------------------------------------------------------------------------------------

    def _is_calm(self, thread: int) -> bool:
        """Whether nothing is pending but the beginning of an ordinary line of this thread, or nothing at all."""
        if self.escape or self.cut or self.asides or self.hidden:
            return False
        rows = self.rows
        return not rows or (len(rows) == 1 and rows[0].thread == thread and not rows[0].progress and not rows[0].cells)

    def _feed_calm(self, text: str, time_s: float, thread: int) -> Lines:
        """What nearly every chunk is: the same as below, without a look at the screen."""
        rows = self.rows
        if "\n" not in text:
            if not text:
                return []
            if rows:
                rows[0].text += text
            else:
                self.rows = [Row(time_s, thread, text)]
            self.column += len(text)
            return []
        first, *more = text.split("\n")
        found = [(rows[0].time_s, rows[0].text + first) if rows else (time_s, first)]
        last = more.pop()
        found += [(time_s, line) for line in more]
        self.rows = [Row(time_s, thread, last)] if last else []
        self.column = len(last)
        self.at = self.returns = 0
        self.returned = False
        return found

    def _is_anothers(self, thread: int) -> bool:
        return bool(self.rows) and self.rows[self.at].thread != thread and not self.rows[self.at].is_blank

    def _feed_aside(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        begun_s, pending = self.asides.pop(thread, (time_s, ""))
        *lines, rest = (pending + text).split("\n")
        if lines and self.at and not self.hidden:
            self._release(self.at, mode, found)
        for line in lines:
            found.append((begun_s, line))
            begun_s = time_s
        if rest:
            self.asides[thread] = (begun_s, rest)
            if len(self.asides) > _MOST_THREADS:
                found.append(self.asides.pop(next(iter(self.asides))))

    def _feed_plain(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        if "\n" not in text:
            if text:
                self._print(text, time_s, thread)
            return
        first, *middle, last = text.split("\n")
        if first:
            self._print(first, time_s, thread)
        self._newline(time_s, thread, mode, found)
        if not self.rows or (len(self.rows) == 1 and not self.hidden and self.rows[0] == Row(time_s, thread)):
            found += [(time_s, line) for line in middle]
        else:
            for line in middle:
                if line:
                    self._print(line, time_s, thread)
                self._newline(time_s, thread, mode, found)
        if last:
            self._print(last, time_s, thread)

    def _feed_tokens(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        unfinished = _UNFINISHED.search(text)
        if unfinished is not None:
            self.escape = unfinished.group() if len(unfinished.group()) <= _LONGEST_ESCAPE else ""
            text = text[: unfinished.start()]
        colours = ""
        plain = True
        for token in _TOKEN.finditer(text):
            if token["text"] is not None:
                if plain:
                    self._print(colours + token["text"], time_s, thread)
                else:
                    self._overwrite(colours + token["text"], time_s, thread)
                colours = ""
            elif token["command"] == "m":
                colours += token.group()
            elif token["command"] is not None:
                self._command(token["command"], token["arguments"], (time_s, thread), mode, found)
                plain = plain and token["command"] not in "ABCDEFGHJK"
            elif token["control"] == "\n":
                if colours:
                    self._append_colours(colours)
                    colours = ""
                self._newline(time_s, thread, mode, found)
                plain = True
            elif token["control"] == "\r":
                self._return(time_s, thread, mode, found)
                plain = False
            elif token["control"] == "\b":
                row = self._row(time_s, thread)
                if self.column:
                    self._rewrite(row, mode)
                    self.column -= 1
                    plain = False
        if colours:
            self._append_colours(colours)

    # --- what a chunk does --------------------------------------------------------------------------------------

    def _row(self, time_s: float, thread: int) -> Row:
        """The row of the cursor."""
        if not self.rows:
            self.rows = [Row(time_s, thread)]
            self.at = 0
        return self.rows[self.at]

    def _print(self, text: str, time_s: float, thread: int) -> None:
        """Ordinary text at the cursor."""
        row = self._row(time_s, thread)
        if self.returned:  # in an earlier chunk: an ordinary line may be printed over what was there
            self.returned = False
            if row.under is None:
                row.under = (row.time_s, row.shown)
            row.text, row.cells, row.plain, self.column = "", None, "", 0
            row.time_s, row.thread = time_s, thread
        if row.cells is None and self.column == _columns(row.text):
            if not row.text:
                row.time_s, row.thread = time_s, thread
            row.text += text
            self.column += _columns(text)
            if row.progress:
                row.plain += text
            return
        row.plain += text
        self._overwrite(text, time_s, thread)

    def _overwrite(self, text: str, time_s: float, thread: int) -> None:
        """Text at the cursor, in the place of what is there."""
        row = self._row(time_s, thread)
        if not row.cells and not row.text:
            row.thread = thread
        self.returned = False
        cells = row.as_cells()
        fresh = Row(0.0, 0, text).as_cells() or []
        if self.column > len(cells):
            cells += [" "] * (self.column - len(cells))
        cells[self.column : self.column + len(fresh)] = fresh
        self.column = min(self.column + len(fresh), _MOST_COLUMNS)
        row.time_s = time_s

    def _append_colours(self, colours: str) -> None:
        if not self.rows:
            return
        row = self.rows[self.at]
        if row.cells is None:
            row.text += colours
        elif row.cells:
            row.cells[min(self.column, len(row.cells)) - 1] += colours

    def _rewrite(self, row: Row, mode: str) -> None:
        """Something comes to the row that makes it a progress row."""
        if mode == "all":
            row.note_state()
        row.progress = True
        row.plain = ""
        row.under = None
        row.as_cells()

    def _return(self, time_s: float, thread: int, mode: str, found: Lines) -> None:
        row = self._row(time_s, thread)
        self._rewrite(row, mode)
        self.column = 0
        self.returned = True
        self.returns += 1
        if self.returns > 1 and self.at and not self.hidden:  # the rows above are those of bars that have ended
            self._release(self.at, mode, found)

    def _newline(self, time_s: float, thread: int, mode: str, found: Lines) -> None:
        row = self._row(time_s, thread)
        if mode == "all" and row.progress and row.under is None:
            row.note_state()
        ordinary = row.is_ordinary or (mode == "none" and bool(row.plain))
        self.at += 1
        self.column, self.returned, self.returns = 0, False, 0
        if self.at == len(self.rows):
            self.rows.append(Row(time_s, thread))
        if ordinary and not self.hidden:
            self._release(self.at, mode, found)

    def _release(self, count: int, mode: str, found: Lines) -> None:
        """Make lines of the oldest rows."""
        for row in self.rows[:count]:
            found += row.lines(mode)
        del self.rows[:count]
        self.at = max(0, self.at - count)
        if not self.rows:
            self._clear()

    def _clear(self) -> None:
        self.rows = []
        self.at = self.column = self.returns = 0
        self.returned = False

    def _command(self, command: str, arguments: str, origin: tuple[float, int], mode: str, found: Lines) -> None:
        """A control sequence that moves the cursor, or erases; others are dropped."""
        if arguments.startswith("?"):
            if arguments == "?25" and command in "hl":
                self.hidden = command == "l"
                if not self.hidden:
                    found += self.settle(mode)
            return
        number = _number(arguments)
        count = max(1, number)
        if command in "AF":
            self._move_to(self.at - count, origin, mode)
            self.column = 0 if command == "F" else self.column
        elif command in "BE":
            self._move_to(self.at + count, origin, mode)
            self.column = 0 if command == "E" else self.column
        elif command == "C":
            self.column = min(self.column + count, _MOST_COLUMNS)
        elif command == "D":
            self.column = max(0, self.column - count)
        elif command == "G":
            self.column = min(count - 1, _MOST_COLUMNS)
        elif command == "K":
            self._erase(self._row(*origin), number, mode)
        elif command == "J":
            self._erase(self._row(*origin), 0 if number == 0 else 2, mode)
            for row in self.rows[self.at + 1 :]:
                self._erase(row, 2, mode)
            del self.rows[self.at + 1 :]

    def _move_to(self, target: int, origin: tuple[float, int], mode: str) -> None:
        self._row(*origin)
        while target >= len(self.rows) and len(self.rows) < MOST_ROWS:
            self.rows.append(Row(*origin))
        self.at = min(max(0, target), len(self.rows) - 1)
        self.returned, self.returns = False, 0
        if self.rows[self.at].shown:
            self._rewrite(self.rows[self.at], mode)

    def _erase(self, row: Row, what: int, mode: str) -> None:
        if what == 0 and self.column >= len(row.as_cells() if row.cells is not None else _COLOUR.sub("", row.text)):
            return  # nothing is there
        self._rewrite(row, mode)
        cells = row.as_cells()
        if what == 0:
            del cells[self.column :]
        elif what == 1:
            cells[: self.column + 1] = [" "] * min(len(cells), self.column + 1)
        else:
            cells.clear()
        self.returned = False


class Screen(msgspec.Struct):
    """What one process prints on its two streams; ``mode`` is ``smart``, ``all`` or ``none``."""

    mode: str
    out: Stream = msgspec.field(default_factory=Stream)
    err: Stream = msgspec.field(default_factory=Stream)

    def feed(self, stream: int, text: str, time_s: float, thread: int) -> Lines:
        """Take one ``write()``.

        Args:
            stream: 1 is stdout, 2 is stderr.
            text: what was written.
            time_s: when, epoch seconds.
            thread: who has written it.

        Returns:
            The lines that are final by it, in order, each with its time.
        """
        this, other = (self.out, self.err) if stream == 1 else (self.err, self.out)
        lines = this.feed(text, time_s, thread, self.mode)
        return other.settle(self.mode) + lines if lines else lines

    def flush(self) -> Lines:
        """The end: everything that is pending becomes lines."""
        return self.out.flush(self.mode) + self.err.flush(self.mode)

    def trim(self) -> Lines:
        """Between two batches: pending rows of more than 64 Ki characters become lines, so that a plan stays small."""
        return self.out.trim(self.mode) + self.err.trim(self.mode)


def _columns(text: str) -> int:
    return len(_COLOUR.sub("", text)) if "\x1b" in text else len(text)


def _number(arguments: str) -> int:
    first = arguments.partition(";")[0]
    return min(int(first), _MOST_COLUMNS) if first.isdecimal() else 0
