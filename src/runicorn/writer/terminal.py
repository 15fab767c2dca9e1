"""A small terminal: what the lines that a program has printed finally were.

A terminal is not a file: progress bars write over themselves, go up a line, erase. What arrives here is what was
written, chunk by chunk, and what leaves are lines that nothing can change any more. Nearly all chunks are plain
text, and go through without a look at their characters.

Each stream has a model of its own, so that a line printed while a bar is pending on the other one comes out clean;
and so has each thread that prints into another one's unfinished line. Everything is data that a plan can carry: the
same chunks give the same lines, whoever feeds them.
"""

from __future__ import annotations

import re

import msgspec

Lines = list[tuple[float, str]]

MOST_ROWS = 50
"""Rows that are held for a cursor that may come back: a terminal has not more either."""
MOST_PENDING_CHARACTERS = 64 * 1024
_MOST_COLUMNS = 4096
_MOST_THREADS = 1024
_MOST_PAINTERS = 16
_LONGEST_ESCAPE = 256
_PAINTED_WITHIN_S = 1.0
"""A painting of several writes is complete in less, however busy the machine is."""

_SGR = r"\x1b\[[0-9;:]*m"
_COLOUR = re.compile(_SGR)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_RETURNS = re.compile(r"\r\r+")
_BLANK = re.compile(rf"(?:\s|{_SGR})*\Z")
_CELL = re.compile(rf"((?:{_SGR})*)([^\x1b])", re.DOTALL)
_STRING = r"\x1b[\]PX^_][^\x00-\x1f\x7f]*"  # a control character ends it, so it can swallow no more than its line
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    rf"|(?P<colour>{_SGR})"
    r"|\x1b\[(?P<arguments>[0-?]*)(?P<between>[ -/]*)(?P<command>[@-~])"
    rf"|{_STRING}(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
    r"|(?P<control>[\x00-\x1f\x7f])"
)
_UNFINISHED = re.compile(rf"(?:\x1b\[[0-?]*[ -/]*|{_STRING}\x1b?|\x1b[ -/]*)\Z")


class Row(msgspec.Struct, omit_defaults=True):
    """One row of the screen.

    Attributes:
        time_s: when its first character was written, or its last one where it is a progress row.
        thread: who has begun it.
        text: what it shows, while it was only appended to.
        columns: how many columns ``text`` takes.
        cells: what it shows, a character each with the colours at it, once the cursor has moved in it.
        progress: whether it was rewritten.
        over: it was, but what it shows now is an ordinary line that was printed over that.
        under: what it had shown before that, with the time.
        plain: what was printed as ordinary text behind a progress bar.
        state: in mode ``all``, the last state that has become a line.
        changed: whether it has changed since.
        continues: its beginning has become a line already, because it was too long to wait for the end.
        painted: it was written as a part of a block that was repainted down to the cursor.
    """

    time_s: float
    thread: int
    text: str = ""
    columns: int = 0
    cells: list[str] | None = None
    progress: bool = False
    over: bool = False
    under: tuple[float, str] | None = None
    plain: str = ""
    state: str = ""
    changed: bool = False
    continues: bool = False
    painted: bool = False

    @property
    def shown(self) -> str:
        """What it shows; a rewritten row without the blanks at its end, with which bars are wiped out."""
        if self.cells is None:
            return self.text
        cells = self.cells
        end = len(cells)
        colours = ""
        while self.progress and end and (cells[end - 1] == " " or _COLOUR.sub("", cells[end - 1]) == " "):
            end -= 1
            colours = cells[end].replace(" ", "") + colours
        return "".join(cells[:end]) + colours if end else ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written on it, or all of it was erased."""
        return not self.text and not self.cells

    @property
    def is_blank(self) -> bool:
        """Whether it shows nothing."""
        if self.cells is None:
            return _BLANK.match(self.text) is not None
        return all(cell == " " or _BLANK.match(cell) for cell in self.cells)

    @property
    def is_fresh(self) -> bool:
        """Whether it is as good as no row."""
        return not (self.text or self.progress or self.continues or self.cells is not None)

    @property
    def is_ordinary(self) -> bool:
        """Whether it is no progress row, or an ordinary line was printed over one."""
        return not self.progress or self.over

    @property
    def size(self) -> int:
        """How many characters have to be carried along for it."""
        return len(self.text) + len(self.plain) + len(self.state) + sum(map(len, self.cells or ()))

    def lines(self, mode: str) -> Lines:
        """What it comes to, in mode ``all`` without its states."""
        shown = self.shown
        if self.continues and not shown:
            return []
        if self.is_ordinary:
            if mode == "all" and shown and shown == self.state and not self.changed:  # taken for a bar until now
                return []
            if mode == "smart" and self.under is not None:
                return [self.under, (self.time_s, shown)]
            return [(self.time_s, shown)]
        if mode == "none":
            return [] if _BLANK.match(self.plain) else [(self.time_s, self.plain)]
        return [(self.time_s, shown)] if mode == "smart" and not self.is_blank else []


class Stream(msgspec.Struct, omit_defaults=True):
    """One stream of one process.

    Attributes:
        rows: those that are not final, the newest last; empty where nothing is pending.
        at: the row of the cursor.
        column: its column.
        pen: colours that were written where nothing stands yet.
        escapes: what waits for the next chunk of a thread: the beginning of an escape sequence that was cut, or
            newlines beside a bar.
        returned: the last thing written was a carriage return.
        cut: the thread with whose carriage return a chunk has ended: a newline may follow.
        returns: carriage returns in this row since the cursor came to it.
        hidden: the cursor is, so a block is being repainted: every row is held.
        ghosts: in mode ``all``, the last states of rows that were released: a bar is drawn again below a message.
        painters: threads that have moved the cursor while rows were pending, the last one at the end.
        asides: threads that print while another one's row is pending, each with what it has printed.
    """

    rows: list[Row] = []
    at: int = 0
    column: int = 0
    pen: str = ""
    escapes: dict[int, str] = {}
    returned: bool = False
    cut: int | None = None
    returns: int = 0
    hidden: bool = False
    ghosts: list[str] = []
    painters: list[int] = []
    asides: dict[int, Stream] = {}

    def feed(self, text: str, time_s: float, thread: int, mode: str) -> Lines:
        """One chunk; the lines that are final by it."""
        if self._is_calm(thread) and _CONTROL.search(text) is None:
            return self._feed_calm(text, time_s, thread, mode)
        if not text:
            return []
        if thread in self.escapes:
            text = self.escapes.pop(thread) + text
        body, escape = _part(text)
        if "\r" in body:
            body = _RETURNS.sub("\r", body).replace("\r\n", "\n")
        cut = not escape and body.endswith("\r")
        if cut:
            body = body[:-1]
        plain = _CONTROL.search(_COLOUR.sub("", body) if "\x1b" in body else body) is None
        found: Lines = []
        if plain and not escape and self._may_go_down(thread, body):
            self._hold(thread, body)
            return found
        if self._is_beside(thread, body, plain=plain):
            self._feed_aside(text, time_s, thread, mode, found)
            return found
        if body:
            if not plain:
                self._make_room(time_s, thread)
            self._take_cut(body, time_s, thread, mode, found)
            if plain:
                is_first_block = self.hidden and not self.rows and _is_block(body)
                self._feed_plain(body, time_s, thread, mode, found)
                if is_first_block:
                    self.rows[self.at].painted = True
            else:
                self._feed_tokens(body, time_s, thread, mode, found)
        if escape:
            self._take_cut("", time_s, thread, mode, found)
            self._hold(thread, escape)
        if cut:
            if self.cut != thread:
                self._take_cut("", time_s, thread, mode, found)
            self.cut = thread
            if self.hidden:
                self._paints(thread)
        self._tidy(mode, found)
        return found

    def settle(self, mode: str, time_s: float, thread: int) -> Lines:
        """Release the rows above the cursor: a line of this thread is to come after them.

        Another thread that has just painted the row of the cursor will go up again: then all stays.
        """
        found: Lines = []
        if self.at and not self.hidden:
            row = self.rows[self.at]
            if thread == row.thread or row.is_fresh or time_s > row.time_s + _PAINTED_WITHIN_S:
                self._release(self.at, mode, found)
        return found

    def flush(self, mode: str) -> Lines:
        """Everything that is pending, as lines."""
        found: Lines = []
        if self.cut is not None and self.rows:
            self._return(self.rows[self.at].time_s, self.rows[self.at].thread, mode, found)
        if self.rows and self.rows[-1].is_fresh:
            del self.rows[-1]
        self._release(len(self.rows), mode, found)
        for aside in self.asides.values():
            found += aside.flush(mode)
        for held in self.escapes.values():
            found += [(0.0, "")] * held.count("\n")
        return found

    def trim(self, mode: str) -> Lines:
        """Pending text that is too long to be carried along, as lines."""
        found: Lines = []
        if sum(row.size for row in self.rows) > MOST_PENDING_CHARACTERS:
            row = self.rows[self.at]
            if self.rows[-1].is_fresh:
                del self.rows[-1]
            self._release(len(self.rows), mode, found)
            if row.is_ordinary and not row.is_empty:
                self.rows = [Row(row.time_s, row.thread, continues=True)]
        sizes = {thread: sum(row.size for row in aside.rows) for thread, aside in self.asides.items()}
        pending = sum(sizes.values())
        for thread in sorted(sizes, key=lambda thread: -sizes[thread]):
            if pending <= MOST_PENDING_CHARACTERS:
                break
            pending -= sizes[thread]
            aside = self.asides[thread]
            found += aside._spill(mode) if aside.rows else []  # noqa: SLF001 - one of ours
        return found

    # --- chunks ---------------------------------------------------------------------------------------------

    def _is_calm(self, thread: int) -> bool:
        """Whether nothing is pending but the beginning of an ordinary line of this thread, or nothing at all."""
        if self.escapes or self.asides or self.hidden or self.ghosts or self.painters:
            return False
        rows = self.rows
        if not rows:
            return self.cut is None
        row = rows[0]
        return (
            len(rows) == 1
            and self.cut is None
            and row.thread == thread
            and not row.progress
            and row.cells is None
            and row.columns == self.column
        )

    def _feed_calm(self, text: str, time_s: float, thread: int, mode: str) -> Lines:
        """What nearly every chunk is: the same as below, without a look at the screen."""
        rows = self.rows
        if "\n" not in text:
            if not text:
                return []
            if rows:
                row = rows[0]
                row.text += text
                row.columns += len(text)
                self.column = row.columns
            else:
                row = Row(time_s, thread, text, len(text))
                self.rows = [row]
                self.column = len(text)
            return self._spill(mode) if len(row.text) > MOST_PENDING_CHARACTERS else []
        if text == "\n":
            if not rows:
                return [(time_s, "")]
            row = rows[0]
            self.rows = []
            self.at = self.column = 0
            return [] if row.continues and not row.text else [(row.time_s, row.text)]
        first, *more = text.split("\n")
        found = [(time_s, first)]
        if rows:
            row = rows[0]
            first = row.text + first
            found = [] if row.continues and not first else [(row.time_s if row.text else time_s, first)]
        last = more.pop()
        found += [(time_s, line) for line in more]
        self.rows = [Row(time_s, thread, last, len(last))] if last else []
        self.column = len(last)
        self.at = 0
        return found + self._spill(mode) if len(last) > MOST_PENDING_CHARACTERS else found

    def _hold(self, thread: int, text: str) -> None:
        self.escapes[thread] = text
        if len(self.escapes) > _MOST_THREADS:
            del self.escapes[next(iter(self.escapes))]

    def _is_beside(self, thread: int, text: str, *, plain: bool) -> bool:
        """Whether a chunk belongs to a line of its thread that is beside the screen."""
        if self.hidden:  # the screen is a painting: whoever moves the cursor goes on with it
            if _is_block(text) and not self.rows:  # so does who paints the first block
                self._paints(thread)
            return plain and (thread in self.asides or self._is_print(thread, text))
        return thread in self.asides or (plain and self._is_anothers(thread) and not self._goes_down(thread, text))

    def _is_print(self, thread: int, text: str) -> bool:
        """Whether plain text beside a painting is none of it: another thread's, or behind what is painted already."""
        if not text or thread != self.painters[-1]:
            return bool(text)
        return bool(self.rows and self.rows[self.at].painted and self.cut is None and text.strip("\n"))

    def _is_anothers(self, thread: int) -> bool:
        """Whether plain text would come to another thread's row."""
        return bool(self.rows) and self.rows[self.at].thread != thread

    def _goes_down(self, thread: int, text: str) -> bool:
        """Whether newlines lead a painter to the next bar."""
        row = self.rows[self.at]
        return (row.is_fresh or not row.is_ordinary) and thread in self.painters and not text.strip("\n")

    def _may_go_down(self, thread: int, text: str) -> bool:
        """Whether newlines are an empty line, or lead to a thread's first bar: its next chunk will tell."""
        if self.hidden or thread in self.asides or text.strip("\n") or not self._is_anothers(thread):
            return False
        if len(text) > MOST_ROWS:
            return False
        return not self.rows[self.at].is_ordinary and thread not in self.painters

    def _feed_aside(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        aside = self.asides.pop(thread, None) or Stream()
        lines = aside.feed(text, time_s, thread, mode)
        lines += aside.settle(mode, time_s, thread)
        aside._tidy(mode, lines)  # noqa: SLF001 - one of ours
        if aside.rows or aside.escapes or aside.hidden or aside.cut is not None:
            self.asides[thread] = aside
            if len(self.asides) > _MOST_THREADS:
                lines += self.asides.pop(next(iter(self.asides))).flush(mode)
        if lines:
            found += self.settle(mode, time_s, thread) + lines

    def _make_room(self, time_s: float, thread: int) -> None:
        """A bar comes: where another thread's line is unfinished, that goes on by itself."""
        painters = self.painters
        self._paints(thread)
        if not self.rows:
            if self.hidden and thread in self.asides:  # it paints over its own line
                line = self.asides.pop(thread)
                self.rows, self.at, self.column, self.pen = line.rows, line.at, line.column, line.pen
            return
        row = self.rows[self.at]
        if self.hidden and row.thread in painters:  # that is no line, it is a row of the painting
            return
        if row.thread == thread or not row.is_ordinary or row.is_fresh or row.thread in self.asides:
            return
        cut = row.thread if self.cut == row.thread else None
        self.asides[row.thread] = Stream([row], column=self.column, pen=self.pen, cut=cut)
        self.rows[self.at] = Row(time_s, thread)
        self.column, self.pen, self.returned = 0, "", False
        self.cut = None if cut is not None else self.cut

    def _paints(self, thread: int) -> None:
        if self.painters[-1:] != [thread]:
            self.painters = [*(each for each in self.painters if each != thread), thread][-_MOST_PAINTERS:]

    def _take_cut(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        """A chunk has ended with a carriage return: now it is known what follows."""
        by, self.cut = self.cut, None
        if by is None or (by != thread and (not self.rows or self.rows[self.at].is_empty)):
            return
        if text.startswith("\n") and not (self.rows and self.rows[self.at].progress):
            return
        self._return(time_s, by, mode, found)

    def _tidy(self, mode: str, found: Lines) -> None:
        if not self.rows:
            self._clear()
            return
        if len(self.rows[self.at].text) + len(self.rows[self.at].plain) > MOST_PENDING_CHARACTERS:
            found += self._spill(mode)
        if len(self.rows) == 1 and self.column == 0 and not self.pen and self.rows[0].is_fresh:
            self._clear()

    def _feed_plain(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        first, *middle = text.split("\n")
        if first:
            self._print(first, time_s, thread, mode, found)
        if not middle:
            return
        last = middle.pop()
        self._newline(time_s, thread, mode, found)
        for line in middle:
            if len(self.rows) == 1 and not self.hidden and self.rows[0].is_fresh:
                found.append((time_s, line))
                continue
            if line:
                self._print(line, time_s, thread, mode, found)
            self._newline(time_s, thread, mode, found)
        if last:
            self._print(last, time_s, thread, mode, found)

    def _feed_tokens(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        if mode == "all":
            known = self._states()
            for index, row in enumerate(self.rows):
                if row.progress or (self.hidden and index < self.at):
                    self._note(row, found, known)
        was_hidden = self.hidden
        top: Row | None = None  # of the painting: a painter that does not go up has painted one row
        if was_hidden and self.rows and self.rows[self.at].painted and text.startswith("\r"):
            top = self.rows[self.at]
        written: dict[int, Row] = {}  # by id(), and with the row, so that no other one gets that
        colours = ""
        for token in _TOKEN.finditer(text):
            if token["text"] is not None:
                self._put(colours + token["text"], time_s, thread, mode, found)
                if self.hidden:
                    row = self.rows[self.at]
                    written[id(row)] = row
                colours = ""
                continue
            if token["colour"] is not None:
                colours += token["colour"]
                continue
            if colours:
                self._put(colours, time_s, thread, mode, found)
                colours = ""
            if token["command"] is not None:
                if not token["between"]:
                    self._command(token["command"], token["arguments"], (time_s, thread), mode, found)
                    if token["command"] in "AF" and self.hidden:
                        top = self.rows[self.at]
            elif token["control"] == "\n":
                self._newline(time_s, thread, mode, found)
            elif token["control"] == "\r":
                self._return(time_s, thread, mode, found)
            elif token["control"] == "\b" and self.column:
                self._rewrite(mode, found, note=True)
                self.column = max(0, self.column - 1)
                self.returned = False
        if colours:
            self._put(colours, time_s, thread, mode, found)
        if top is not None:
            self._release_painted(top, mode, found)
        if self.hidden:
            self._mark_painted(written)
        elif was_hidden:
            found += self.settle(mode, time_s, thread)

    def _mark_painted(self, written: dict[int, Row]) -> None:
        """Which rows a block consists of: those that were written in one go, down to the cursor."""
        painted = True
        for row in reversed(self.rows[: self.at + 1]):
            painted = painted and id(row) in written
            row.painted = painted

    def _release_painted(self, top: Row, mode: str, found: Lines) -> None:
        """The next block begins below rows of the last one: they are a message, and final."""
        above = next((index for index, row in enumerate(self.rows) if row is top), 0)
        if any(row.painted for row in self.rows[:above]):
            for row in self.rows[:above]:
                row.over = row.over or row.painted
            self._release(above, mode, found)

    # --- what a chunk does --------------------------------------------------------------------------------------

    def _row(self, time_s: float, thread: int) -> Row:
        """The row of the cursor."""
        if not self.rows:
            self.rows = [Row(time_s, thread)]
            self.at = 0
        return self.rows[self.at]

    def _print(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        """Ordinary text at the cursor."""
        row = self._row(time_s, thread)
        if not row.is_ordinary and _COLOUR.sub("", text):
            if self.column == 0 and (self.returned or row.is_blank):
                row.under = None if row.is_blank else (row.time_s, row.shown)
                row.text, row.columns, row.cells, row.plain = "", 0, None, ""
                row.over, row.painted = True, False
                text, self.pen = self.pen + text, ""
            elif self.column >= len(row.cells or ()):
                row.plain += text
        self._put(text, time_s, thread, mode, found)

    def _put(self, text: str, time_s: float, thread: int, mode: str, found: Lines) -> None:
        """Text at the cursor, behind what is there or in the place of it."""
        row = self._row(time_s, thread)
        if (row.is_empty and not row.continues) or not row.is_ordinary:
            row.thread = thread
        if row.cells is not None or self.column != row.columns:
            self._overwrite(row, text, time_s, mode, found)
            return
        if not row.text:
            row.time_s = time_s
        columns = _columns(text)
        row.text += text
        row.columns += columns
        row.changed = True
        self.column += columns
        if columns:
            self.returned = False

    def _overwrite(self, row: Row, text: str, time_s: float, mode: str, found: Lines) -> None:
        fresh, colours = _cut_cells(self.pen + text)
        self.pen = ""
        if fresh:
            if not row.progress and self.column < (row.columns if row.cells is None else len(row.cells)):
                row = self._rewrite(mode, found)
            cells = self._as_cells(row)
            if self.column > len(cells):
                cells += [" "] * (self.column - len(cells))
            cells[self.column : self.column + len(fresh)] = fresh
            self.column += len(fresh)
            self.returned = False
            row.time_s = time_s
            row.changed = True
            if len(cells) > _MOST_COLUMNS:
                found += self._spill(mode)
                return
        if not colours:
            return
        cells = self._as_cells(row)
        if 0 < self.column <= len(cells):
            cells[self.column - 1] = _colour(cells[self.column - 1], colours)
            row.changed = True
        elif len(colours) <= _LONGEST_ESCAPE:
            self.pen = colours

    def _as_cells(self, row: Row) -> list[str]:
        """A row's characters one by one, to be rewritten."""
        if row.cells is None:
            row.cells, colours = _cut_cells(row.text)
            if colours and row.cells:
                row.cells[-1] = _colour(row.cells[-1], colours)
            elif len(colours) <= _LONGEST_ESCAPE:
                self.pen = self.pen or colours
            row.text, row.columns = "", 0
        return row.cells

    def _note(self, row: Row, found: Lines, known: list[str] | None = None) -> None:
        """In mode ``all``: what a row shows is about to change."""
        if row.progress and not row.changed:
            return
        row.changed = False
        shown = row.shown
        if row.is_blank or shown == row.state:
            return
        if shown not in (self._states() if known is None else known):
            found.append((row.time_s, shown))
            self.ghosts = []
        elif row.state:  # bars were drawn again one row below
            self.ghosts = [*self.ghosts, row.state][-MOST_ROWS:]
        row.state = shown

    def _states(self) -> list[str]:
        return self.ghosts + [row.state for row in self.rows]

    def _rewrite(self, mode: str, found: Lines, *, note: bool = False) -> Row:
        """Something comes to the row of the cursor that makes it a progress row."""
        if len(self.rows[self.at].text) > _MOST_COLUMNS:
            found += self._spill(mode)
        row = self.rows[self.at]
        self._mark(row, mode, found, note=note)
        return row

    def _mark(self, row: Row, mode: str, found: Lines, *, note: bool = False) -> None:
        if mode == "all" and (note or not row.progress):
            self._note(row, found)
        self._as_cells(row)
        row.progress, row.over, row.painted = True, False, False
        row.under, row.plain = None, ""

    def _return(self, time_s: float, thread: int, mode: str, found: Lines) -> None:
        row = self._row(time_s, thread)
        if self.returned:
            return
        if self.returns and self.at and not row.is_blank:
            self._release(self.at, mode, found)  # those of bars that have ended: nobody goes up to them
        self._rewrite(mode, found, note=True).thread = thread
        self.column = 0
        self.returned = True
        self.returns += 1

    def _newline(self, time_s: float, thread: int, mode: str, found: Lines) -> None:
        row = self._row(time_s, thread)
        if self.pen and row.cells:
            row.cells[-1] = _colour(row.cells[-1], self.pen)
        ordinary = row.is_ordinary or (mode == "none" and not _BLANK.match(row.plain))
        self.at += 1
        self.column, self.pen, self.returned, self.returns = 0, "", False, 0
        if self.at == len(self.rows):
            self.rows.append(Row(time_s, thread))
        if (ordinary and not self.hidden) or len(row.text) > MOST_PENDING_CHARACTERS:
            self._release(self.at, mode, found)
        elif len(self.rows) > MOST_ROWS:
            self._release(1, mode, found)

    def _release(self, count: int, mode: str, found: Lines) -> None:
        """Make lines of the oldest rows."""
        released = self.rows[:count]
        for row in released:
            if mode == "all" and not row.is_ordinary:
                self._note(row, found)
            found += row.lines(mode)
        del self.rows[:count]
        self.at = max(0, self.at - count)
        self.ghosts = [row.state for row in released if row.state]
        if not self.rows:
            self._clear()

    def _spill(self, mode: str) -> Lines:
        """Make lines of what is shown down to the cursor, because it is too long; what follows goes on with it."""
        found: Lines = []
        self._release(self.at, mode, found)
        row = self.rows[0]
        if mode == "all" and not row.is_ordinary:
            self._note(row, found)
        found += row.lines(mode)
        self.rows[0] = Row(row.time_s, row.thread, continues=True)
        self.column, self.pen, self.returned = 0, "", False
        return found

    def _clear(self) -> None:
        self.rows = []
        self.at = self.column = self.returns = 0
        self.pen, self.returned = "", False
        if not self.hidden:
            self.painters = []

    def _command(self, command: str, arguments: str, origin: tuple[float, int], mode: str, found: Lines) -> None:
        """A control sequence that moves the cursor, or erases; others are dropped."""
        if arguments == "?25" and command in "hl":
            self.hidden = command == "l"
        if not _PLAIN_ARGUMENTS.match(arguments) or command not in "ABCDEFGJK":
            return
        number = _number(arguments)
        count = max(1, number)
        row = self._row(*origin)
        if command in "ABEF":
            self._move_to(self.at + (count if command in "BE" else -count), origin)
            self.column = 0 if command in "EF" else self.column
        elif command in "CDG":
            target = {"C": self.column + count, "D": self.column - count, "G": count - 1}[command]
            if target < self.column and not row.is_empty:
                self._rewrite(mode, found)
            self.column = max(0, min(target, max(self.column, _MOST_COLUMNS)))
            self.returned = False
        elif command == "K":
            self._erase(number, mode, found)
        elif number < 3:
            self._erase(number, mode, found)
            for other in [
                *self.rows[: self.at if number else 0],
                *self.rows[self.at + 1 if number != 1 else MOST_ROWS :],
            ]:
                self._wipe(other, mode, found)
            if number != 1:
                del self.rows[self.at + 1 :]

    def _move_to(self, target: int, origin: tuple[float, int]) -> None:
        while target >= len(self.rows) and len(self.rows) < MOST_ROWS:
            self.rows.append(Row(*origin))
        self.at = min(max(0, target), len(self.rows) - 1)
        self.returned, self.returns = False, 0

    def _erase(self, what: int, mode: str, found: Lines) -> None:
        """Erase in the row of the cursor: behind it, before it, or all."""
        row = self.rows[self.at]
        shown = row.columns if row.cells is None else len(row.cells)
        if not shown or what > 2 or (what == 0 and self.column >= shown):
            return
        if what == 2:
            self._wipe(row, mode, found)
            return
        row = self._rewrite(mode, found)
        cells = self._as_cells(row)
        if what == 0:
            del cells[self.column :]
        else:
            end = min(len(cells), self.column + 1)
            cells[:end] = [" "] * end
        row.changed = True

    def _wipe(self, row: Row, mode: str, found: Lines) -> None:
        if not row.is_empty:
            self._mark(row, mode, found)
            row.cells = []
            row.changed = True


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
        return other.settle(self.mode, time_s, thread) + lines if lines and other.at else lines

    def flush(self) -> Lines:
        """The end: everything that is pending becomes lines."""
        lines = self.out.flush(self.mode) + self.err.flush(self.mode)
        self.out, self.err = Stream(), Stream()
        return lines

    def trim(self) -> Lines:
        """Between two batches: pending text of more than 64 Ki characters becomes lines: a plan stays small."""
        return self.out.trim(self.mode) + self.err.trim(self.mode)


_PLAIN_ARGUMENTS = re.compile(r"[0-9;:]*\Z")


def _part(text: str) -> tuple[str, str]:
    """A chunk without the escape sequence that its end has cut, and as much of that as its end will need."""
    last = text.rfind("\x1b")
    if last < 0:
        return text, ""
    before = text.rfind("\x1b", 0, last)  # the last one may be half of what ends a string
    found = _UNFINISHED.search(text, max(0, before) if before >= 0 else last)
    if found is None:
        return text, ""
    escape = found.group()
    if escape[1:2] in tuple("]PX^_"):
        escape = escape[:2] + ("\x1b" if escape[2:].endswith("\x1b") else "")
    return text[: found.start()], escape[:_LONGEST_ESCAPE]


def _is_block(text: str) -> bool:
    return "\n" in text and not text.endswith("\n")


def _columns(text: str) -> int:
    return len(_COLOUR.sub("", text)) if "\x1b" in text else len(text)


def _cut_cells(text: str) -> tuple[list[str], str]:
    """Characters one by one, each with the colours before it, and the colours behind the last one."""
    if "\x1b" not in text:
        return list(text), ""
    cells = []
    end = 0
    for cell in _CELL.finditer(text):
        if cell.start() != end:
            break
        end = cell.end()
        cells.append(cell.group() if end - cell.start() <= _LONGEST_ESCAPE else cell.group(2))
    return cells, text[end:]


def _colour(cell: str, colours: str) -> str:
    return cell + colours if len(cell) + len(colours) <= _LONGEST_ESCAPE else cell


def _number(arguments: str) -> int:
    first = arguments.partition(";")[0][:6]
    return min(int(first), _MOST_COLUMNS) if first.isdecimal() else 0
