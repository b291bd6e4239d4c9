"""Plays recordings into sessions and into pyte; both screens must be the same, and so must the rows, where pyte has them.

Each recording is played at 80x24 and 120x40, whole and in small pieces. What pyte 0.8.2 lacks is added or taken out here,
each with the reason beside it; nothing else differs.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata

import pyte
from pyte import modes

SIZES = [(80, 24), (120, 40)]
PLAYERS = {"whole": "cat {0}", "in pieces of 7 bytes": "dd bs=7 status=none if={0}"}
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


class Screen(pyte.HistoryScreen):
    """pyte's screen, and what it lacks: the alternate screen, scrolling by SU and SD."""

    main = None

    def set_mode(self, *numbers, **kwargs):
        if kwargs.get("private") and 1049 in numbers and self.main is None:
            self.main = (self.buffer.copy(), self.cursor.x, self.cursor.y, self.history)
            self.buffer.clear()
        super().set_mode(*numbers, **kwargs)

    def reset_mode(self, *numbers, **kwargs):
        if kwargs.get("private") and 1049 in numbers and self.main is not None:
            self.buffer.clear()
            buffer, self.cursor.x, self.cursor.y, self.history = self.main
            self.buffer.update(buffer)
            self.main = None
        super().reset_mode(*numbers, **kwargs)

    def index(self):
        # pyte keeps a line that scrolls off inside margins that don't begin at the top, and on the alternate screen
        history = None if self.main is None else self.history
        super().index()
        if history is not None:
            self.history = history

    def draw(self, data):
        for char in data:
            # pyte writes half of a wide character into the last column
            if self.cursor.x == self.columns - 1 and modes.DECAWM in self.mode and wide(char):
                self.cursor.x = self.columns
            super().draw(char)

    def scroll(self, lines, step):
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        at = (self.cursor.x, self.cursor.y)
        for _ in range(lines or 1):
            self.cursor.y = margins.bottom if step > 0 else margins.top
            (self.index if step > 0 else self.reverse_index)()
        self.cursor.x, self.cursor.y = at

    def scroll_up(self, lines=1):
        self.scroll(lines, 1)

    def scroll_down(self, lines=1):
        self.scroll(lines, -1)


class Stream(pyte.ByteStream):
    csi = {**pyte.Stream.csi, "S": "scroll_up", "T": "scroll_down"}
    events = pyte.Stream.events | {"scroll_up", "scroll_down"}


def repeated(data):
    """REP, which pyte lacks: the character before it, so many times."""
    return re.sub(rb"([ -~])\x1b\[([0-9]+)b", lambda m: m[1] * (1 + int(m[2])), data)


def watched(data, cols, rows, chunk):
    screen = Screen(cols, rows, history=100_000, ratio=0.5)
    stream = Stream(screen)
    stream.select_other_charset("@")  # line drawing characters, which pyte leaves out in UTF-8
    stream.use_utf8 = True
    data = repeated(UNKNOWN_TO_PYTE.sub(b"", data))
    for i in range(0, len(data), chunk):
        stream.feed(data[i : i + chunk])
    return screen


def wide(char):
    return bool(char) and unicodedata.east_asian_width(char[0]) in "WF"


def text(line, cols):
    """A line of pyte's buffer as `display` has it: a wide character once."""
    out, skip = "", False
    for x in range(cols):
        char = line[x].data
        if skip:
            skip = False
            continue
        skip = wide(char)
        out += char
    return unicodedata.normalize("NFC", out.rstrip(" "))


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
        return shown, self.run("logs", name)


compared = {"screens": 0, "rows": 0}


def differ(what, ours, theirs):
    compared["screens"] += 1
    compared["rows"] += sum(bool(row) for row in ours)
    if ours == theirs:
        return 0
    print(f"DIFFERENT  {what}")
    for row, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            print(f"  {row}: termalive {a!r}\n  {row}: pyte      {b!r}")
    if len(ours) != len(theirs):
        print(f"  {len(ours)} rows, {len(theirs)} rows")
    return 1


def compare(host, name, data, with_rows):
    path = pathlib.Path(host.env["TERMALIVE_HOME"], name + ".bytes")
    path.write_bytes(data)
    bad = 0
    for cols, rows in SIZES:
        screens = [watched(data, cols, rows, chunk) for chunk in CHUNKS]
        displays = [[text(s.buffer[y], cols) for y in range(rows)] for s in screens]
        assert all(d == displays[0] for d in displays), f"{name}: pyte's own screen depends on the chunks"
        for number, (how, player) in enumerate(PLAYERS.items()):
            session = f"{name}-{cols}-{number}"
            shown, logged = host.play(session, player.format(path), cols, rows)
            what = f"{name} at {cols}x{rows}, {how}"
            lines = [unicodedata.normalize("NFC", line) for line in shown["lines"]]
            bad += differ(what, lines, displays[0])
            cursor = (min(screens[0].cursor.x, cols - 1), screens[0].cursor.y)
            bad += differ(what + ": cursor", [(shown["cursor"]["x"], shown["cursor"]["y"])], [cursor])
            if with_rows:
                history = [text(line, cols) for line in screens[0].history.top]
                # rows are whole: what pyte has in two lines stands in one
                theirs = "".join(history + displays[0]).replace(" ", "")
                ours = unicodedata.normalize("NFC", logged.replace("\n", "")).replace(" ", "")
                bad += differ(what + ": rows", [ours], [theirs])
    return bad


# What a log shows row by row, without programs that paint.
WRITTEN = {
    "wide": "日本語 text\r\n" * 30 + "日" * 100 + "x\r\n" + "a" * 79 + "日本\r\n" + "e\u0301u\u0308 o\u0302\r\n\u3042\u3044\r\n",
    "tabs": "".join(f"{'x' * n}\ty\tz\r\n" for n in range(30)) + "\x1b[3g\x1b[1;5H\x1bH\x1b[40;1H\ta\tb\r\n",
    "wraps": "".join(f"{n} " + "word " * n + "\r\n" for n in range(60)),
    "alternate": "before\r\n\x1b[?1049h\x1b[2J\x1b[Hfull\r\nscreen\x1b[5;5Hhere\x1b[?1049lafter\r\n" * 3 + "end",
    "alternate-left": "before\r\n\x1b[?1049h\x1b[H\x1b[2Jfull\x1b[2;3Hscreen",
}
# Ended on the alternate screen: a log ends with the rows of both, pyte shows one.
NO_ROWS = {"alternate-left"}


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
                bad += compare(host, name, written.encode(), name not in NO_ROWS)
            for cast in casts:
                lines = pathlib.Path(cast).read_text().splitlines()[1:]
                events = [json.loads(line) for line in lines if line.strip()]
                output = [event[2].encode() for event in events if event[1] == "o"]
                name = pathlib.Path(cast).stem
                for part in (1, 2, 3):
                    data = up_to(output, len(output) * part // 3)
                    bad += compare(host, f"{name}-{part}", data, name == "llm")
        finally:
            host.run("stop", "-y")
    print("different" if bad else f"the same: {compared['rows']} rows in {compared['screens']} comparisons")
    sys.exit(1 if bad else 0)


main(sys.argv[1], sys.argv[2:])
