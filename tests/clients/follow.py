#!/usr/bin/env python3
"""Follows a session's bytes over TCP as docs/protocol.md says, through any number of broken connections.

follow.py URI SESSION FILE: TERMALIVE_TOKEN is the token, FILE gets the bytes. Prints how often it had to connect.
"""
import json, os, struct, sys, time
from urllib.parse import urlencode
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

uri, session, path = sys.argv[1:]
token = os.environ["TERMALIVE_TOKEN"]
query, ended, connections = {"content": "raw", "follow": 1}, False, 0
give_up = time.monotonic() + 60
with open(path, "wb", buffering=0) as out:
    while not ended:
        try:
            with connect(f"{uri}/v1/sessions/{session}/follow?{urlencode(query)}",
                         subprotocols=["termalive", f"bearer.{token}"]) as socket:
                assert socket.subprotocol == "termalive", socket.subprotocol
                connections += 1
                for frame in socket:
                    if isinstance(frame, bytes):
                        seq, offset = struct.unpack(">QI", frame[:12])
                        out.write(frame[12:])
                        query["after"] = f"@{seq}.{offset + len(frame) - 12}"
                        continue
                    line = json.loads(frame)
                    if line["event"] == "hello":
                        query.update(id=line["id"], start=line["start"])
                        query.setdefault("after", line["next"])
                    ended = ended or line["event"] == "end"
        except (ConnectionClosed, InvalidMessage, OSError, EOFError):
            pass  # the host was killed; the next one goes on
        except InvalidStatus as refused:
            sys.exit(f"refused: {refused}")
        if not ended and time.monotonic() > give_up:
            sys.exit("no host")
print(connections)
