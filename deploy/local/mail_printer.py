"""Appends every mail that it is sent to a file, readably: `python3 -m aiosmtpd --class mail_printer.Printer FILE`.

Headers begin at the start of a line, and a mail with `To:`; its text is indented, so that no text looks like a header.
"""

import email
import email.policy
import os


class Printer:
    """What aiosmtpd calls a handler."""

    def __init__(self, path):
        self.path = path

    @classmethod
    def from_cli(cls, parser, *arguments):
        if len(arguments) != 1:
            parser.error("Printer takes the name of a file")
        return cls(*arguments)

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        lines = [f"To:         {', '.join(envelope.rcpt_tos)}"]
        lines += [f"{name + ':':<11} {' '.join(str(mail[name]).split())}" for name in ("From", "Subject", "Message-ID")]
        body = mail.get_body(("plain", "html"))
        text = body.get_content().rstrip() if body else "(no text)"
        lines += ["", *(f"    {line}".rstrip() for line in text.splitlines()), "", ""]
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write("\n".join(lines))
        return "250 OK"
