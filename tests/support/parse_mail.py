"""Reads mails from standard input as Python's email and html packages see them, and writes each as a line of JSON.

Before each mail stands a line with its length in bytes."""

import json
import sys
from email import message_from_bytes, policy
from html.parser import HTMLParser

class Reader(HTMLParser):
    """What a document consists of, in order: tags with their attributes, and the texts of each element."""

    def __init__(self):
        super().__init__()
        self.tags, self.title, self.shown, self.within = [], "", "", None

    def handle_starttag(self, tag, attributes):
        self.tags.append(" ".join([tag] + [f"{name}={value!r}" for name, value in attributes]))
        self.within = tag
        if tag == "br":
            self.shown += "\n"

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")
        self.within = None

    def handle_data(self, data):
        if self.within == "title":
            self.title += data
        else:
            self.shown += data

    def handle_other(self, *_):
        self.tags.append("?")

    handle_comment = handle_pi = unknown_decl = handle_other


def parsed(raw):
    mail = message_from_bytes(raw, policy=policy.default)
    parts = list(mail.walk())

    def text(kind):
        part = mail.get_body((kind,))
        return None if part is None else part.get_content(errors="strict")

    html = text("html")
    reader = Reader()
    reader.feed((html or "").replace("\r\n", "\n"))
    reader.close()
    return {
        "headers": [(name, str(value)) for name, value in mail.items()],
        "parts": [(part.get_content_type(), part.get("Content-Transfer-Encoding")) for part in parts],
        "text": text("plain"),
        "html": html,
        "tags": reader.tags,
        "title": reader.title,
        "shown": reader.shown,
        "defects": [repr(defect) for part in parts for defect in part.defects]
        + [f"{name}: {defect!r}" for part in parts for name, value in part.items() for defect in value.defects],
    }


for length in iter(sys.stdin.buffer.readline, b""):
    json.dump(parsed(sys.stdin.buffer.read(int(length))), sys.stdout)
    print()
