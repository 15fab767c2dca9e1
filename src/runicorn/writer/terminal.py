"""A small terminal: what the lines that a program has printed finally were.

What arrives is what was written, chunk by chunk, and what leaves are lines that nothing can change any more. It knows
what tqdm, rich, pip, Keras and Lightning write; the lines are the same wherever a chunk ends.

Each stream has a model of its own, so a line that is printed while a bar is pending on the other one comes out clean.
Within a stream each thread collects its own line, and the threads that move the cursor share a screen. A plan carries
all of it: the same chunks give the same lines, whichever writer feeds them.
"""

from __future__ import annotations

import re

import msgspec

from runicorn.writer.screen_row import MOST_ROWS, FoundRow, ScreenRows, is_plain, part

MOST_PENDING_CHARACTERS = 64 * 1024
_MOST_THREADS = 1024


class TerminalLine(msgspec.Struct, omit_defaults=True):
    """The line that a thread has begun beside the screen.

    Attributes:
        time_s: when.
        text: what it has printed.
        held: a return, half an escape sequence, or newlines: only the next chunk tells what they mean.
        cut: its beginning has become a line already, because it was too long.
    """

    time_s: float
    text: str = ""
    held: str = ""
    cut: bool = False

    def cut_off(self, found: FoundRow) -> None:
        """Make a line of what there is; what follows goes on with it."""
        found.extend([(self.time_s, "")] * self.held.count("\n"))
        found.extend([(self.time_s, self.text)] * bool(self.text))
        self.text, self.held, self.cut = "", self.held.strip("\n"), self.cut or bool(self.text)


class Stream(msgspec.Struct, omit_defaults=True):
    """One stream of one process: lines that threads have begun, the screen, and who has moved its cursor last."""

    lines: dict[int, TerminalLine] = {}
    screen: ScreenRows = msgspec.field(default_factory=ScreenRows)
    painter: int | None = None

    def feed(self, text: str, time_s: float, thread: int, found: FoundRow) -> None:
        """One chunk; ``found`` takes the lines that are final by it."""
        screen = self.screen
        screen.settle(time_s, found)
        line = self.lines.get(thread)
        if line is not None and line.held:
            text, line.held = line.held + text, ""
            if not (line.text or line.cut):
                del self.lines[thread]
        paints = thread == self.painter or (screen.hidden and all(row.is_blank for row in screen.rows))
        body, held = part(text)
        if not paints and "\r\n" in body and is_plain(lines := re.sub(r"\r+\n", "\n", body)):
            body = lines
        if paints or not is_plain(body):
            body, held = (body, held) if held != "\r" else (body + held, "")
            self._paint(body, time_s, thread, found)
        elif body:
            self._print(body, time_s, thread, found)
        if held:
            self._begin(thread, time_s, found).held += held

    def trim(self, found: FoundRow, most_characters: int) -> None:
        """Make lines of everything that is pending, if it is more than so many characters."""
        pending = sum(len(row.text) + len(row.plain) for row in self.screen.rows)
        if pending + sum(len(line.text) for line in self.lines.values()) > most_characters:
            self.screen.release(len(self.screen.rows), found)
            for line in self.lines.values():
                line.cut_off(found)

    def _paint(self, text: str, time_s: float, thread: int, found: FoundRow) -> None:
        """A chunk that moves the cursor, or is printed by the thread that has moved it."""
        line = self.lines.pop(thread, None)
        screen = self.screen
        if line is not None and screen.rows and not screen.rows[screen.at].is_blank:  # it would come to another's row
            line.cut_off(found)
        screen.write(text if line is None else line.text + text, time_s, found)
        self.painter = thread if screen.rows or screen.hidden else None

    def _print(self, text: str, time_s: float, thread: int, found: FoundRow) -> None:
        """Plain text beside the screen."""
        if thread not in self.lines and len(text) <= MOST_ROWS and not text.strip("\n"):
            self._begin(thread, time_s, found).held = text
            return
        first, *others = text.split("\n")
        if others:
            line = self.lines.pop(thread, None) or TerminalLine(time_s)
            if line.text or first or not line.cut:
                found.append((line.time_s, line.text + first))
            found.extend((time_s, each) for each in others[:-1])
            first = others[-1]
        if first:
            line = self._begin(thread, time_s, found)
            line.text += first
            if len(line.text) > MOST_PENDING_CHARACTERS:
                line.cut_off(found)

    def _begin(self, thread: int, time_s: float, found: FoundRow) -> TerminalLine:
        """The line of a thread; of very many threads the oldest, which may have ended, is not waited for."""
        line = self.lines.get(thread)
        if line is None:
            line = self.lines[thread] = TerminalLine(time_s)
            if len(self.lines) > _MOST_THREADS:
                self.lines.pop(next(iter(self.lines))).cut_off(found)
        return line


class Screen(msgspec.Struct):
    """What one process prints on its two streams; ``mode`` is ``smart``, ``all`` or ``none``."""

    mode: str
    out: Stream = msgspec.field(default_factory=Stream)
    err: Stream = msgspec.field(default_factory=Stream)

    def feed(self, stream: int, text: str, time_s: float, thread: int) -> list[tuple[float, str]]:
        """Take one ``write()`` to stdout (1) or stderr (2); the lines that are final by it, each with its time."""
        this, other = (self.out, self.err) if stream == 1 else (self.err, self.out)
        found, before = FoundRow(self.mode), FoundRow(self.mode)
        this.feed(text, time_s, thread, found)
        if found:
            other.screen.settle(time_s, before, is_idle=thread == other.painter)
        return before + found

    def settle(self, time_s: float) -> list[tuple[float, str]]:
        """Make lines of the bars that have ended: above the cursor is nothing that will be painted again."""
        found = FoundRow(self.mode)
        for stream in (self.out, self.err):
            stream.screen.settle(time_s, found, is_idle=True)
        return found

    def flush(self) -> list[tuple[float, str]]:
        """The end: everything that is pending becomes lines."""
        found = self.trim(-1)
        self.out, self.err = Stream(), Stream()
        return found

    def trim(self, most_characters: int = MOST_PENDING_CHARACTERS) -> list[tuple[float, str]]:
        """Between two batches: a stream's pending text becomes lines if it is more than that: a plan stays small."""
        found = FoundRow(self.mode)
        self.out.trim(found, most_characters)
        self.err.trim(found, most_characters)
        return found
