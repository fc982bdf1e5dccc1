"""Runs commands without any network but a name server that records questions; prints those as JSON.

To be run in network and mount namespaces of its own: ``unshare --map-root-user --net --mount python isolated.py ...``.
Each argument is a command, as a JSON list.
"""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
QUESTION = "recorder-works.example"


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def use_own_name_server() -> None:
    with tempfile.NamedTemporaryFile("w", delete=False) as stream:
        stream.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", stream.name, os.path.realpath("/etc/resolv.conf")], check=True)


def record_questions(server: socket.socket, questions: list[str]) -> None:
    while True:
        packet, sender = server.recvfrom(4_096)
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode(errors="replace"))
            at += 1 + packet[at]
        questions.append(".".join(labels))
        server.sendto(packet[:2] + b"\x81\x83" + packet[4:6] + bytes(6) + packet[12 : at + 5], sender)  # no such name


def main() -> None:
    raise_loopback()
    use_own_name_server()
    questions: list[str] = []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=record_questions, args=(server, questions), daemon=True).start()
    with contextlib.suppress(OSError):
        socket.getaddrinfo(QUESTION, 443)
    results = []
    for command in sys.argv[1:]:
        done = subprocess.run(json.loads(command), capture_output=True, text=True, check=False)
        results.append((done.returncode, done.stdout, done.stderr))
    print(json.dumps({"questions": questions, "results": results}))  # noqa: T201


if __name__ == "__main__":
    main()
