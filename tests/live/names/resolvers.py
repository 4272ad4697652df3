"""Resolves names as a program does: with `socket` (the C library), dnspython or c-ares, as the first argument says.

Prints {"name", "addresses" | "error"} for each further argument.
"""

import json
import socket
import sys


def by_socket(name):
    found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    return [entry[4][0] for entry in found]


def by_dnspython(name):
    import dns.exception
    import dns.resolver

    try:
        kinds = [dns.resolver.resolve(name, kind, raise_on_no_answer=False) for kind in ("A", "AAAA")]
        return [item.to_text() for answer in kinds for item in answer]
    except dns.exception.DNSException as error:
        raise OSError(type(error).__name__)


def by_cares(name):
    import select

    import pycares

    channel = pycares.Channel(timeout=5, tries=2)
    outcome = {}
    hints = dict(family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
    channel.getaddrinfo(name, 80, callback=lambda found, error: outcome.update(found=found, error=error), **hints)
    while not outcome:
        readable, writable = channel.getsock()
        ready = select.select(readable, writable, [], channel.timeout())
        for descriptor in ready[0]:
            channel.process_fd(descriptor, pycares.ARES_SOCKET_BAD)
        for descriptor in ready[1]:
            channel.process_fd(pycares.ARES_SOCKET_BAD, descriptor)
        if not ready[0] and not ready[1]:
            channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
    if outcome["error"] is not None:
        raise OSError(pycares.errno.strerror(outcome["error"]))
    return [node.addr[0].decode() if isinstance(node.addr[0], bytes) else node.addr[0] for node in outcome["found"].nodes]


resolve = {"socket": by_socket, "dnspython": by_dnspython, "c-ares": by_cares}[sys.argv[1]]
for name in sys.argv[2:]:
    try:
        print(json.dumps({"name": name, "addresses": sorted(set(resolve(name)))}), flush=True)
    except OSError as error:
        print(json.dumps({"name": name, "error": str(error)}), flush=True)
