"""A responder of multicast DNS for tests: names and services of one host, as RFC 6762 has them.

python responder.py ADDRESS NAME: it answers what asks for NAME.local, and says that a workstation
of that name is there, without its address: whoever wants that asks again.
"""

import socket
import struct
import sys

GROUP, PORT = "224.0.0.251", 5353
A, PTR, SRV = 1, 12, 33


def encoded(*labels: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack("!2HIH", kind, 1, 10, len(data)) + data


def main() -> None:
    address, name = sys.argv[1:]
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((GROUP, PORT))
    group = socket.inet_aton(GROUP) + socket.inet_aton(address)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    speaker.bind((address, 0))
    own, kind = encoded(name, "local"), encoded("_workstation", "_tcp", "local")
    instance = encoded(f"{name} [mac]", "_workstation", "_tcp", "local")
    print("ready", flush=True)
    while True:
        query, asker = listener.recvfrom(9000)
        answers = []
        if own + struct.pack("!H", A) in query:
            answers.append(record(own, A, socket.inet_aton(address)))
        if kind in query:
            answers.append(record(kind, PTR, instance))
            # Its name is told by a pointer to the header's end, where the first answer has it.
            answers.append(record(instance, SRV, struct.pack("!3H", 0, 0, 9) + own))
        if answers:
            speaker.sendto(b"no message", asker)
            header = query[:2] + struct.pack("!5H", 0x8400, 0, len(answers), 0, 0)
            speaker.sendto(header + b"".join(answers), asker)


main()
