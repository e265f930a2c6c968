# SPDX-License-Identifier: Apache-2.0
"""A server that gives everybody the same answer, to see how much the clients can ask."""

from __future__ import annotations

import selectors
import socket
import sys

BODY = b'x' * 1024
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(BODY), BODY)


def serve(port: int) -> None:
    listener = socket.create_server(('127.0.0.1', port))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif ready.recv(65536):  # the clients' requests come whole
                ready.sendall(ANSWER)
            else:
                selector.unregister(ready)
                ready.close()


if __name__ == '__main__':
    serve(int(sys.argv[1]))
