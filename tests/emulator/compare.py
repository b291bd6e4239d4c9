"""Plays recordings into sessions and into pyte; screens must be the same, cell by cell with their colours, and so must the
rows of the log, each with its blanks and the blank rows between.

Each recording is played at 80x24 and 120x40, whole and in small pieces. What pyte 0.8.2 lacks is added or taken out here,
each with the reason beside it; nothing else differs. What a row is, and when it is final, is made anew here on pyte's lines.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import namedtuple

import pyte
from pyte import modes
from pyte.screens import StaticDefaultDict
from wcwidth import wcwidth

SIZES = [(80, 24), (120, 40)]
PLAYERS = {
    "whole": "cat {0}",
    "in pieces of 7 bytes": "dd bs=7 status=none if={0}",
    "byte by byte": "dd bs=1 status=none if={0}",
}
CHUNKS = [1, 7, 4096, 1 << 30]

# Taken out, because pyte prints parts of them as text or takes them for something else:
UNKNOWN_TO_PYTE = re.compile(
    rb"\x1b[PX^_].*?\x1b\\"  # DCS, SOS, PM, APC: it has no such strings
    rb"|\x1b\[[<=>][0-9;:]*[a-zA-Z]"  # CSI with a private sign other than `?`: keyboard protocols, XTMODKEYS, DA2
    rb"|\x1b\[\?[0-9;]*[a-gi-km-zA-Z]"  # CSI ? other than h and l: queries such as `?u`
    rb"|\x1b\[[0-9;]*[ $!\"'*][a-zA-Z]"  # CSI with an intermediate byte: cursor shapes, mode queries
    rb"|\x1b\[[0-9;]*:[0-9;:]*m"  # SGR with colons: underline styles
    rb"|\x1b\[[0-9;]*t",  # window operations
    re.DOTALL,
)


class Line(StaticDefaultDict):
    """A line of the screen, and what rows need to know of it."""

    goes_on = None  # the row goes on in the next line, after so many cells of this one
    done = None  # the text of the row that begins here, when that is final

    def __setitem__(self, x, char):
        if self.goes_on is not None and x >= self.goes_on - 1:
            self.goes_on = None
        if self.done == "":
            self.done = None
        super().__setitem__(x, char)


class Screen(pyte.Screen):
    """pyte's screen, and what it lacks: the alternate screen, scrolling by SU and SD, the background of what is erased;
    and the rows: final when a line feed leaves them, or, where the cursor has gone up, when they scroll
    off, or at the end.
    """

    def __init__(self, cols, rows):
        self.rows = []  # that are final
        self.forward = False  # the cursor hasn't gone up
        self.first = 0  # the line on which the open row begins, while it goes forward
        self.head = ""  # what has scrolled off of the row at the top
        self.main = None  # the main screen, while the other one is shown
        super().__init__(cols, rows)
        self.buffer, self.forward = [self.blank() for _ in range(rows)], True

    def blank(self):
        return Line(pyte.screens.Char(" ", bg=self.cursor.attrs.bg))

    # The two screens.

    def set_mode(self, *numbers, **kwargs):
        if kwargs.get("private") and 1049 in numbers and self.main is None:
            self.main = (self.buffer, self.cursor.x, self.cursor.y, self.forward, self.first, self.head)
            self.buffer, self.forward, self.head = [self.blank() for _ in range(self.lines)], False, ""
        super().set_mode(*numbers, **kwargs)

    def reset_mode(self, *numbers, **kwargs):
        if kwargs.get("private") and 1049 in numbers and self.main is not None:
            self.buffer, self.cursor.x, self.cursor.y, self.forward, self.first, self.head = self.main
            self.main = None
        super().reset_mode(*numbers, **kwargs)

    # Erasing: pyte fills with all attributes, and only where something stood.

    def erase(self, y, xs):
        for x in xs:
            self.buffer[y][x] = pyte.screens.Char(" ", bg=self.cursor.attrs.bg)

    def erase_in_line(self, how=0, private=False):
        x = min(self.cursor.x, self.columns - 1)
        if how != 0 or self.cursor.x < self.columns:
            self.erase(self.cursor.y, [range(x, self.columns), range(x + 1), range(self.columns)][how])

    def erase_characters(self, count=None):
        self.erase(self.cursor.y, range(self.cursor.x, min(self.cursor.x + (count or 1), self.columns)))

    def erase_in_display(self, how=0, *args, **kwargs):
        if how == 3:
            return
        for y in [range(self.cursor.y + 1, self.lines), range(self.cursor.y), range(self.lines)][how]:
            self.buffer[y] = self.blank()
        if how < 2:
            self.erase_in_line(how)
        else:
            self.first, self.head = self.cursor.y, ""  # the open row is lost

    # What a line leaves behind when it scrolls.

    def up(self, top):
        """The lines from `top` to the margin go up."""
        _, bottom = self.margins or pyte.screens.Margins(0, self.lines - 1)
        if top == 0 and self.main is None:
            self.scrolled_off(self.buffer[0])
        self.first = max(0, self.first - 1)
        for y in range(top, bottom):
            self.buffer[y] = self.buffer[y + 1]
        self.buffer[bottom] = self.blank()

    def down(self, top):
        _, bottom = self.margins or pyte.screens.Margins(0, self.lines - 1)
        self.forward = self.forward and self.leave_forward()
        for y in range(bottom, top, -1):
            self.buffer[y] = self.buffer[y - 1]
        self.buffer[top] = self.blank()

    def scrolled_off(self, line):
        if self.forward and self.first > 0:
            return  # it was final before
        if line.goes_on is not None:
            self.head += text(line, self.columns)
        elif not self.forward:
            self.final(line, (self.head + text(line, self.columns)).rstrip(" "))
            self.head = ""

    def final(self, line, row):
        self.rows.append(Row(None if row == line.done else row))

    def step_down(self):
        top, bottom = self.margins or pyte.screens.Margins(0, self.lines - 1)
        if self.cursor.y == bottom:
            self.up(top)
        elif self.cursor.y < self.lines - 1:
            self.cursor.y += 1

    # Rows of a program that goes forward.

    def open_row(self):
        """The last line of the open row, and its text."""
        last, row = self.first, self.head
        while self.buffer[last].goes_on is not None and last + 1 < self.lines:
            row += text(self.buffer[last], self.columns)
            last += 1
        return last, (row + text(self.buffer[last], self.columns)).rstrip(" ")

    def begin_row(self):
        self.first, self.head = self.cursor.y, ""

    def leave_forward(self):
        """The program paints from now on; all above the open row is final."""
        for row, line in rows_on(self, range(self.first)):
            line.done = row
        return False

    def index(self):
        if not self.forward:
            return self.step_down()
        last, row = self.open_row()
        within = any(text(self.buffer[y], self.columns) for y in range(self.cursor.y + 1, last + 1))
        self.step_down()
        if not within:
            self.rows.append(Row(row, left=True))
            self.begin_row()

    def draw(self, data):
        for char in data:
            cells, wraps = wcwidth(char), modes.DECAWM in self.mode
            # pyte writes half of a wide character into the last column, and wraps before a combining one
            if wraps and cells > 0 and self.cursor.x + cells > self.columns:
                line, at = self.buffer[self.cursor.y], self.cursor.x
                self.cursor.x = 0
                line.goes_on = at
                self.step_down()
            if cells == 0:
                self.mode.discard(modes.DECAWM)
            super().draw(char)
            if cells == 0 and wraps:
                self.mode.add(modes.DECAWM)

    def reverse_index(self):
        top, _ = self.margins or pyte.screens.Margins(0, self.lines - 1)
        if self.cursor.y == top:
            self.down(top)
        else:
            self.cursor_up()

    def scroll_up(self, lines=1):
        self.forward = self.forward and self.leave_forward()
        for _ in range(lines or 1):
            self.up((self.margins or pyte.screens.Margins(0, 0)).top)

    def scroll_down(self, lines=1):
        for _ in range(lines or 1):
            self.down((self.margins or pyte.screens.Margins(0, 0)).top)

    def insert_lines(self, count=None):
        top, bottom = self.margins or pyte.screens.Margins(0, self.lines - 1)
        if top <= self.cursor.y <= bottom:
            for _ in range(min(count or 1, self.lines)):
                self.down(self.cursor.y)
            self.cursor.x = 0

    def delete_lines(self, count=None):
        top, bottom = self.margins or pyte.screens.Margins(0, self.lines - 1)
        if top <= self.cursor.y <= bottom:
            self.forward = self.forward and self.leave_forward()
            for _ in range(min(count or 1, self.lines)):
                for y in range(self.cursor.y, bottom):
                    self.buffer[y] = self.buffer[y + 1]
                self.buffer[bottom] = self.blank()
            self.cursor.x = 0

    def at_the_end(self):
        """All rows: what was final, and what stands there."""
        if self.main is None:
            return printed(self.rows + self.standing())
        alternate = printed(self.standing())
        self.buffer, _, _, self.forward, self.first, self.head = self.main
        return printed(self.rows + self.standing()) + alternate

    def standing(self):
        if self.forward:
            return [Row(self.open_row()[1])]
        return [Row(None if row == line.done else row) for row, line in rows_on(self, range(self.lines), self.head)]


def moving(name):
    """A step that only moves the cursor: down, it leaves the row; up, the program begins to paint."""
    step = getattr(pyte.Screen, name)

    def moved(self, *args, **kwargs):
        if not self.forward:
            return step(self, *args, **kwargs)
        last, row = self.open_row()
        step(self, *args, **kwargs)
        if self.cursor.y > last:
            self.rows += [Row(text, left=True) for text in [row] + [""] * (self.cursor.y - last - 1)]
            self.begin_row()
        elif self.cursor.y < self.first:
            self.forward = self.leave_forward()

    setattr(Screen, name, moved)


for _name in "cursor_up cursor_up1 cursor_down cursor_down1 cursor_position cursor_to_line restore_cursor".split():
    moving(_name)


def rows_on(screen, lines, head=""):
    """The rows on some lines, the first of which may have begun above: the text, and the Line they begin on."""
    row, first = head, None
    for y in lines:
        line = screen.buffer[y]
        first = line if first is None else first
        row += text(line, screen.columns)
        if line.goes_on is None or y == lines[-1]:
            yield row.rstrip(" "), first
            row, first = "", None


Row = namedtuple("Row", ["text", "left"], defaults=[False])  # no text: it was printed before; left: by a line feed


def printed(rows):
    """What is printed of them: of blank rows those that a line feed left, or that stand between two others."""
    out, blanks = [], 0
    for row in rows:
        if row.text == "" and not row.left:
            blanks += 1
            continue
        if row.text is not None:
            out += [""] * blanks if out else []
            out.append(row.text)
        blanks = 0
    return out


class Stream(pyte.ByteStream):
    csi = {**pyte.Stream.csi, "S": "scroll_up", "T": "scroll_down"}
    events = pyte.Stream.events | {"scroll_up", "scroll_down"}


def repeated(data):
    """REP, which pyte lacks: the character before it, so many times."""
    return re.sub(rb"([ -~])\x1b\[([0-9]+)b", lambda m: m[1] * (1 + int(m[2])), data)


def watched(data, cols, rows, chunk):
    screen = Screen(cols, rows)
    stream = Stream(screen)
    stream.select_other_charset("@")  # line drawing characters, which pyte leaves out in UTF-8
    stream.use_utf8 = True
    data = repeated(UNKNOWN_TO_PYTE.sub(b"", data))
    for i in range(0, len(data), chunk):
        stream.feed(data[i : i + chunk])
    return screen


def text(line, cols):
    """What a person reads in a line of pyte's buffer, a wide character once; blanks at the end where the row goes on."""
    out, skip = "", False
    for x in range(cols if line.goes_on is None else line.goes_on):
        char = line[x].data
        if not skip:
            out += char
        skip = not skip and bool(char) and wcwidth(char[0]) == 2
    return unicodedata.normalize("NFC", out if line.goes_on is not None else out.rstrip(" "))


class Host:
    def __init__(self, binary, folder):
        self.binary, self.env = binary, {**os.environ, "TERMALIVE_HOME": folder}
        for name in ("TERMALIVE_HOST", "TERMALIVE_STATE_DIR", "TERMALIVE_RUNTIME_DIR", "TERMALIVE_LOGS"):
            self.env.pop(name, None)

    def run(self, *args):
        done = subprocess.run([self.binary, *args], env=self.env, capture_output=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"termalive {' '.join(args)}: {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def play(self, name, command, cols, rows):
        self.run("new", name, "--size", f"{cols}x{rows}", "--", "sh", "-c", f"stty raw -echo; {command}")
        self.run("logs", name, "-f", "-q")
        shown = json.loads(self.run("screen", name, "--json"))
        return shown, self.run("screen", name, "--ansi"), self.run("logs", name)


compared = {"screens": 0, "rows": 0}


def differ(what, ours, theirs):
    compared["screens"] += 1
    compared["rows"] += sum(bool(row) for row in ours)
    if ours == theirs:
        return 0
    print(f"DIFFERENT  {what}")
    for row, (a, b) in enumerate(zip(ours, theirs)):
        if isinstance(a, list):
            a, b = zip(*[((x, *ours), (x, *theirs)) for x, (ours, theirs) in enumerate(zip(a, b)) if ours != theirs] or [((), ())])
        if a != b:
            print(f"  {row}: termalive {a!r}\n  {row}: pyte      {b!r}")
    if len(ours) != len(theirs):
        print(f"  {len(ours)} rows, {len(theirs)} rows")
    return 1


def look(cell):
    """What a person sees of a cell, of what both know: pyte has no dim and hidden text, termalive none that blinks."""
    painted = cell.underscore or cell.strikethrough or cell.reverse
    if cell.data == " " and not painted:
        return (" ", cell.bg)
    return (*cell._replace(blink=False),)


def looks(screen):
    return [[look(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]


def compare(host, name, data):
    path = pathlib.Path(host.env["TERMALIVE_HOME"], name + ".bytes")
    path.write_bytes(data)
    bad = 0
    for cols, rows in SIZES:
        screens = [watched(data, cols, rows, chunk) for chunk in CHUNKS]
        displays = [[text(s.buffer[y], cols).rstrip(" ") for y in range(rows)] for s in screens]
        assert all(d == displays[0] for d in displays), f"{name}: pyte's own screen depends on the chunks"
        cursor = (min(screens[0].cursor.x, cols - 1), screens[0].cursor.y)
        cells, printed = looks(screens[0]), screens[0].at_the_end()
        for number, (how, player) in enumerate(PLAYERS.items()):
            session = f"{name}-{cols}-{number}"
            shown, painted, logged = host.play(session, player.format(path), cols, rows)
            what = f"{name} at {cols}x{rows}, {how}"
            lines = [unicodedata.normalize("NFC", line) for line in shown["lines"]]
            bad += differ(what, lines, displays[0])
            bad += differ(what + ": cursor", [(shown["cursor"]["x"], shown["cursor"]["y"])], [cursor])
            again = watched(painted.removesuffix("\n").replace("\n", "\r\n").encode(), cols, rows, 1 << 30)
            bad += differ(what + ": colours", looks(again), cells)
            bad += differ(what + ": rows", unicodedata.normalize("NFC", logged).removesuffix("\n").split("\n"), printed)
    return bad


# What a log shows row by row, without programs that paint.
WRITTEN = {
    "wide": "日本語 text\r\n" * 30 + "日" * 100 + "x\r\n" + "a" * 79 + "日本\r\n" + "e\u0301u\u0308 o\u0302\r\n\u3042\u3044\r\n",
    "tabs": "".join(f"{'x' * n}\ty\tz\r\n" for n in range(30)) + "\x1b[3g\x1b[1;5H\x1bH\x1b[40;1H\ta\tb\r\n",
    "wraps": "".join(f"{n} " + "word " * n + "\r\n" for n in range(60)),
    "alternate": "before\r\n\x1b[?1049h\x1b[2J\x1b[Hfull\r\nscreen\x1b[5;5Hhere\x1b[?1049lafter\r\n" * 3 + "end",
    "painted": "".join(f"row {n}\r\n" for n in range(20)) + "\x1b[A\rup\r\n" + "".join(f"\r\nafter {n}\r\n\r\n" for n in range(20)) + "\x1b[H\x1b[J\x1b[5;1Hbelow",
    "prompt": "$ one\r\nanswer\r\n\x1b[2A\x1b[Jagain\r\n" + "x" * 200 + "\x1b[2A\rover\x1b[3Bend\r\n\r\n",
    "colours": "".join(f"\x1b[{n}mx{n} \x1b[7my\x1b[0m" for n in [1, 2, 3, 4, 7, 9, *range(30, 38), *range(40, 48), *range(90, 98)])
    + "".join(f"\x1b[38;5;{n}ma\x1b[48;5;{n}mb\x1b[m" for n in range(256))
    + "\x1b[44m\x1b[K\r\n\x1b[2Jgone\x1b[48;2;1;2;3m\x1b[5X\x1b[3@\x1b[2P\x1b[L\x1b[m\x1b[M\x1b[41m" + "\r\n" * 45 + "\x1b[mend",
    "alternate-left": "before\r\n\x1b[?1049h\x1b[H\x1b[2Jfull\x1b[2;3Hscreen",
}
def up_to(output, count):
    """The first pieces, and more while a synchronized update isn't whole: pyte draws those as they come."""
    while count < len(output) and b"".join(output[:count]).count(b"\x1b[?2026h") != b"".join(output[:count]).count(b"\x1b[?2026l"):
        count += 1
    return b"".join(output[:count])


def main(binary, casts):
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        host = Host(binary, folder)
        try:
            for name, written in WRITTEN.items():
                bad += compare(host, name, written.encode())
            for cast in casts:
                lines = pathlib.Path(cast).read_text().splitlines()[1:]
                events = [json.loads(line) for line in lines if line.strip()]
                output = [event[2].encode() for event in events if event[1] == "o"]
                name = pathlib.Path(cast).stem
                for part in (1, 2, 3):
                    data = up_to(output, len(output) * part // 3)
                    bad += compare(host, f"{name}-{part}", data)
        finally:
            subprocess.run([binary, "stop", "-y"], env=host.env, capture_output=True)
    print("different" if bad else f"the same: {compared['rows']} rows in {compared['screens']} comparisons")
    sys.exit(1 if bad else 0)


main(sys.argv[1], sys.argv[2:])
