"""Asks a nameserver and prints what it says, one JSON value a line.

ask.py SERVER udp|tcp NAME TYPE [NAME TYPE]...   SERVER may be "default": the first of /etc/resolv.conf.
"""

import json
import sys

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.resolver

server, carrier, *questions = sys.argv[1:]
if server == "default":
    server = dns.resolver.get_default_resolver().nameservers[0]
for name, kind in zip(questions[::2], questions[1::2]):
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    # Both check that the answer comes from the address that was asked, and belongs to the question.
    ask = dns.query.udp if carrier == "udp" else dns.query.tcp
    reply = ask(query, server, timeout=10)
    print(
        json.dumps(
            {
                "name": name,
                "rcode": dns.rcode.to_text(reply.rcode()),
                "answers": sorted(item.to_text() for rrset in reply.answer for item in rrset),
                "authority": [rrset.to_text() for rrset in reply.authority],
                "edns": reply.edns,
                "milliseconds": round(reply.time * 1000, 3),
            }
        ),
        flush=True,
    )
