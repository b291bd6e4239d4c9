#!/usr/bin/env python3
"""Captures what programs echo, through a real PTY, as cases for tests/follow_echo.rs. Python's standard library only.

    python3 tests/echo/capture.py          writes captured.case beside this file

Text is typed as termalive types it: as a bracketed paste where the program asked for it, Enter 50 ms later. An echo that is
torn by a flood needs luck, so it is tried until it comes. Expected ends stand in CASES: change one, capture again.
"""

import fcntl
import os
import pty
import random
import re
import select
import signal
import struct
import sys
import termios
import threading
import time

BOX = r'''
import sys, time, textwrap, tty
tty.setraw(0)
def out(s): sys.stdout.write(s); sys.stdout.flush()
def box(text, width):
    rows = textwrap.wrap(text, width - 4) or [""]
    out("\r\n".join(["╭" + "─" * (width - 2) + "╮"] + ["│ " + ("> " if i == 0 else "  ") + r.ljust(width - 6) + " │"
        for i, r in enumerate(rows)] + ["╰" + "─" * (width - 2) + "╯"]) + "\r\n")
    return len(rows) + 2
n = box("", 44)
text = ""
while True:
    c = sys.stdin.buffer.read1(4096).decode()
    if c == "\r":
        break
    text += c
    out(f"\x1b[{n}A\x1b[J")
    n = box(text, 44)
out(f"\x1b[{n}A\x1b[J")
for row in textwrap.wrap(text, 60):
    out("> " + row + "\r\n")
out("\r\n")
for frame in "|/-\\":
    out("\r" + frame + " Thinking about: " + text[:30] + "…")
    time.sleep(0.12)
out("\r\x1b[K• " + ANSWER + "\r\n")
box("", 44)
time.sleep(0.3)
'''

LONG = "please look at all the files in this folder, one by one, write down what each is for, and print "
BASH = ["bash", "--norc", "--noprofile", "-i"]
QUIET = "sh -c 'stty -echo; printf \"name: \"; read x; printf \"\\nhello $x, DONE\\n\"'"
FLOOD = "import sys\nwhile True: sys.stdout.write('yes, and yes again\\n' * 50)"
PROMPT = "while True:\n x = input('> ')\n print('you said something: ' + ('DONE' if 'say' in x else 'no'))"


def box(answer):
    return ["python3", "-c", BOX.replace("ANSWER", repr(answer))]


# name, command, steps, options, printed (None: not checked), end. A step: text to submit, or seconds to wait.
CASES = [
    ("bash at its prompt", BASH, ["echo BUILD_DONE"], ["until BUILD_DONE"], "BUILD_DONE\\n", "pattern"),
    ("bash at its prompt, no answer", BASH, ["true || echo BUILD_DONE"], ["until BUILD_DONE"], None, "timeout"),
    ("bash at its prompt, a long command", BASH, ["true " + "word " * 30 + "|| echo BUILD_DONE"], ["until BUILD_DONE"], None, "timeout"),
    ("bash at its prompt, a long command with an answer", BASH, ["true " + "word " * 30 + "; echo BUILD_DONE"], ["until BUILD_DONE"], "BUILD_DONE\\n", "pattern"),
    ("bash, busy", BASH, ["sleep 1", "sleep 0.3 && echo BUILD_DONE"], ["until BUILD_DONE"], "BUILD_DONE\\n", "pattern"),
    ("bash, busy, no answer", BASH, ["sleep 1", "sleep 0.3 || echo BUILD_DONE"], ["until BUILD_DONE"], None, "timeout"),
    ("bash, several lines", BASH, ["true 'a\nb' ||\necho BUILD_DONE"], ["until BUILD_DONE"], None, "timeout"),
    ("bash, several lines and an answer", BASH, ["true 'a\nb' &&\necho BUILD_DONE"], ["until BUILD_DONE"], "BUILD_DONE", "pattern"),
    ("bash, history", BASH, ["true || echo BUILD_DONE", "history | tail -2"], ["until BUILD_DONE"], None, "timeout"),
    ("bash, an error that quotes the command", BASH, ["nosuchcommand_BUILD_DONE"], ["until BUILD_DONE"], None, "timeout"),
    ("bash, the prompt comes back", BASH, ["ls /dev/null"], [r"until ^bash[^ ]*\\$ ?$"], "bash$", "pattern"),
    ("python's prompt", ["python3", "-q"], ['print("DO" + "NE")'], ["until DONE"], "DONE\\n", "pattern"),
    ("python's prompt, no answer", ["python3", "-q"], ['x = "DONE"'], ["until DONE"], None, "timeout"),
    ("python's prompt, continued", ["python3", "-q"], ['for i in "a":\n    x = "DONE"\n'], ["until DONE"], None, "timeout"),
    ("python's prompt, continued, with an answer", ["python3", "-q"], ['for i in "a":\n    print("DO" + "NE")\n'], ["until DONE"], "DONE\\n", "pattern"),
    ("cat", ["cat"], ["say DONE when ready"], ["until DONE"], "say DONE when ready\\n", "timeout"),
    ("cat, another text later", ["cat"], ["say DONE when ready", "hello"], ["until DONE"], None, "timeout"),
    ("no echo", ["sh", "-c", QUIET.split("'", 1)[1][:-1]], ["world"], ["until DONE"], "hello world, DONE\\n", "pattern"),
    ("a prompt made with input()", ["python3", "-c", PROMPT], ["do not print DONE"], ["until DONE"], None, "timeout"),
    ("a prompt made with input() and an answer", ["python3", "-c", PROMPT], ["say DONE"], ["until DONE"], "you said something: DONE\\n", "pattern"),
    ("a yes", ["sh", "-c", 'printf "Go on? [y/N] "; read x; sleep 0.2; echo "you said yes"'], ["y"], ["until y"], "you said yes\\n", "pattern"),
    ("a yes without answer", ["sh", "-c", 'printf "Go on? [N] "; read x; sleep 0.2; echo "ok"'], ["y"], ["until y"], None, "timeout"),
    ("a box", box("done: PLAN_DONE"), [LONG + "PLAN_DONE at the end of it all"], ["until PLAN_DONE"], "• done: PLAN_DONE", "pattern"),
    ("a box, no answer", box("no"), [LONG + "PLAN_DONE"], ["until PLAN_DONE"], None, "timeout"),
    ("a box, the marker first", box("no"), ["PLAN_DONE is what you print when you are ready, and not before"], ["until PLAN_DONE"], None, "timeout"),
    ("a box, the marker first and the answer", box("PLAN_DONE"), ["PLAN_DONE is what you print when you are ready, and not before"], ["until PLAN_DONE"], "• PLAN_DONE", "pattern"),
    ("a flood", ["python3", "-c", FLOOD], ["say DONE when you are ready"], ["until DONE"], None, "timeout"),
]


def escaped(data):
    text = data.decode("utf-8", "surrogateescape")
    named = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\x1b": "\\e", "\\": "\\\\", "{": "\\{"}

    def one(c):
        if c in named:
            return named[c]
        if 0xDC80 <= ord(c) <= 0xDCFF:
            return f"\\x{ord(c) - 0xDC00:02x}"
        if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0:
            return "".join(f"\\x{b:02x}" for b in c.encode())
        return c

    return "".join(map(one, text))


class Program:
    """A program on a PTY of 80x24, and the records of what it wrote and was typed."""

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", PS1="bash$ ", HISTFILE="", PYTHON_HISTORY="/dev/null")
            os.execvp(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.began = time.monotonic()
        self.records = []
        self.brackets = False
        self.turns = []

    def ms(self):
        return int((time.monotonic() - self.began) * 1000)

    def read(self, seconds, most=1 << 30):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and len(self.records) < most:
            if not select.select([self.fd], [], [], left)[0]:
                return
            try:
                data = os.read(self.fd, 4095)
            except OSError:
                return
            if not data:
                return
            for mode in re.findall(rb"\x1b\[\?2004([hl])", data):
                self.brackets = mode == b"h"
            self.records.append([self.ms(), "out", escaped(data)])

    def submit(self, text, flood):
        echo = bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)
        if flood:
            time.sleep(0.02)  # the program fills the buffer: there is no room for a whole echo
            data = os.read(self.fd, random.randrange(1, 60))
            self.records.append([self.ms(), "out", escaped(data)])
        self.turns.append(len(self.records) + 1)
        self.records.append([self.ms(), "in" if echo else "quiet", escaped(text.encode())])
        data = text.encode()
        os.write(self.fd, b"\x1b[200~" + data + b"\x1b[201~" if self.brackets else data.replace(b"\n", b"\r"))
        if flood:
            time.sleep(0.05)
        else:
            self.read(0.05)
        os.write(self.fd, b"\r")
        self.records.append([self.ms(), "typed", ""])

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def capture(command, steps, flood):
    program = Program(command)
    program.read(0.2 if flood else 0.7, 3 if flood else 1 << 30)
    for step in steps:
        program.submit(step, flood)
        program.read(0.2 if len(steps) > 1 and step is not steps[-1] else 1.6, len(program.records) + 12 if flood else 1 << 30)
    program.end()
    return program


def torn(most=100):
    """Types into a flood; the records around each echo of the driver that came in pieces."""
    program = Program(["yes", "yes, and yes again"])
    ended = threading.Event()
    reader = threading.Thread(target=lambda: [program.read(0.01) for _ in iter(ended.is_set, True)])
    reader.start()
    typed = []
    for number in range(most):
        time.sleep(0.02)
        text = f"say PLAN_DONE when ready {number}"
        typed.append((len(program.records), text))
        program.records.append([program.ms(), "in", text])
        os.write(program.fd, text.encode() + b"\r")
        time.sleep(0.02)
    time.sleep(0.2)
    ended.set()
    reader.join()
    program.end()
    written = "".join(r[2] for r in program.records if r[1] == "out")
    for at, text in typed:
        pieces = [n for n, r in enumerate(program.records[at : at + 40]) if r[1] == "out" and re.search("PLAN|DONE|ready|when", r[2])]
        if text not in written and len(pieces) and pieces[-1] < 8:
            yield program.records[at : at + pieces[-1] + 1]


def main():
    out = ["What real programs echo, captured by capture.py on a PTY of 80x24. See ../follow/scenario.rs for the form.\n"]
    for name, command, steps, options, printed, end in CASES:
        flood = "flood" in name
        program = capture(command, steps, flood)
        out.append(f"## {name}\nturn\nfrom @{program.turns[-1 if 'busy' in name else 0]}")
        out += options
        out += [f"{ms} {kind} {text}".rstrip(" ") if kind == "typed" else f"{ms} {kind} {text}" for ms, kind, text in program.records]
        out.append(f"{program.ms() + 60000} now live")
        out += [] if printed is None else [f"> {printed}"]
        out.append(f"= {end}\n")
        print(name, len(program.records), file=sys.stderr)
    captured = []
    while len(captured) < 4:
        captured += torn()
    for number, records in enumerate(captured[:4]):
        out.append(f"## a flood that tears the echo, {number}\nturn\nuntil PLAN_DONE")
        out += [f"{ms} {kind} {text}" for ms, kind, text in records] + [f"{records[-1][0] + 60000} now live", "= timeout\n"]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "captured.case"), "w") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
