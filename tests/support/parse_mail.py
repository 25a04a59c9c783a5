"""Reads a mail from standard input as Python's email package sees it, and writes it as JSON."""

import json
import sys
from email import message_from_bytes, policy

mail = message_from_bytes(sys.stdin.buffer.read(), policy=policy.default)
parts = list(mail.walk())


def text(kind):
    part = mail.get_body((kind,))
    return None if part is None else part.get_content(errors="strict")


json.dump(
    {
        "headers": [(name, str(value)) for name, value in mail.items()],
        "parts": [(part.get_content_type(), part.get("Content-Transfer-Encoding")) for part in parts],
        "text": text("plain"),
        "html": text("html"),
        "defects": [repr(defect) for part in parts for defect in part.defects]
        + [f"{name}: {defect!r}" for part in parts for name, value in part.items() for defect in value.defects],
    },
    sys.stdout,
)
