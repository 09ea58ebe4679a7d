"""A reader of the feed in Python's standard library: server-sent events, RFC 7396, a cursor in a file.

  reader.py HOST:PORT PATH FILE UNTIL

Reads until a change of sequence number UNTIL or above (0: until the snapshot is complete), then leaves without a goodbye. FILE keeps what it held, so that the
next run goes on. Prints a line for each document: handle, version, canonical JSON.
"""

import http.client
import json
import os
import sys

address, path, file, until = sys.argv[1:5]


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def events(response):
    event = {}
    for line in response:
        line = line.decode("utf-8").rstrip("\n")
        if not line:
            if "data" in event:
                yield event.get("id"), json.loads(event["data"])
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")


class Reader:
    def __init__(self, kept):
        self.id, self.documents = kept.get("id"), kept.get("documents", {})
        self.newest = kept.get("newest", {})
        self.last = {}

    def chain(self, frame):
        lane = frame.get("l", 0)
        if lane in self.last and frame["p"] != self.last[lane]:
            sys.exit(f"the frame before was {self.last[lane]}: {frame}")
        self.last[lane] = frame["s"]

    def take(self, frame):
        kind, handle = frame["t"], str(frame.get("k"))
        if kind == "reset":
            self.id, self.documents, self.newest, self.last = None, {}, {}, {}
        elif kind == "skip":
            self.chain(frame)
        elif kind == "snap":
            self.newest[handle] = frame["s"]
            self.documents[handle] = [frame["v"], frame["b"]]
        elif kind in ("full", "delta", "gone", "superseded"):
            self.chain(frame)
            self.change(kind, handle, frame)

    def change(self, kind, handle, frame):
        if self.newest.get(handle, 0) >= frame["s"]:
            return
        self.newest[handle] = frame["s"]
        version, body = self.documents.get(handle, (0, None))
        if kind in ("gone", "superseded"):
            self.documents.pop(handle, None)
        elif kind == "full":
            self.documents[handle] = [frame["v"], frame["b"]]
        elif version == frame["bv"]:
            self.documents[handle] = [frame["v"], merge(body, frame["d"])]
        else:
            sys.exit(f"holds version {version}: {frame}")


kept = json.load(open(file)) if os.path.exists(file) else {}
reader = Reader(kept)
connection = http.client.HTTPConnection(address, timeout=20)
headers = {"Accept": "text/event-stream"}
if reader.id:
    headers["Last-Event-ID"] = reader.id
connection.request("GET", path, headers=headers)
response = connection.getresponse()
if response.status != 200:
    sys.exit(f"{response.status} {response.read()}")
for event_id, frame in events(response):
    reader.take(frame)
    reader.id = event_id or reader.id
    if event_id and (frame["t"] == "live" if until == "0" else frame["t"] not in ("hb", "live") and frame["s"] >= int(until)):
        break
with open(file, "w") as kept:
    json.dump({"id": reader.id, "documents": reader.documents, "newest": reader.newest}, kept)
for handle, (version, body) in sorted(reader.documents.items(), key=lambda item: int(item[0])):
    print(handle, version, json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True))
sys.stdout.flush()
os._exit(0)
