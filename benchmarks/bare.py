# SPDX-License-Identifier: Apache-2.0
"""The least that an upload can cost: one process that reads, hashes, writes and flushes.

Nothing of an image service is in it. A thread for each connection reads into a few buffers;
each hash has a thread and so has the file, and the answer is given when the data is on the disk:
what glance-lite does, without HTTP, identity, database and inspection.

Run as ``bare.py PORT DIRECTORY HASH...``.
"""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import sys
import threading
import uuid
from collections.abc import Callable

CHUNK = 1024 * 1024
#: buffers of a connection, so that a reader is ahead of the slowest thread by some
BUFFERS = 8
ANSWER = b'HTTP/1.1 204 No Content\r\n\r\n'


class Worker(threading.Thread):
    """Does one thing with each chunk, in order."""

    def __init__(self, do: Callable[[memoryview], object]) -> None:
        super().__init__(daemon=True)
        self._do = do
        self.chunks: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while (chunk := self.chunks.get()) is not None:
            self._do(chunk)
            self.done.put(None)


def take(connection: socket.socket, left: int, first: bytes, path: str, hashes: list[str]) -> None:
    """Read `left` bytes, of which `first` are here already, into a file."""
    with open(path, 'xb', buffering=0) as file:
        workers = [Worker(hashlib.new(name).update) for name in hashes]
        workers.append(Worker(file.write))
        buffers = [memoryview(bytearray(CHUNK)) for _ in range(BUFFERS)]
        number, have = 0, len(first)
        buffers[0][:have] = first
        while left > 0:
            if number >= BUFFERS:  # whoever had this buffer must be through with it
                for worker in workers:
                    worker.done.get()
            buffer, wanted = buffers[number % BUFFERS], min(CHUNK, left)
            while have < wanted:
                count = connection.recv_into(buffer[have:wanted])
                if not count:
                    raise ConnectionError('the client has gone')
                have += count
            for worker in workers:
                worker.chunks.put(buffer[:have])
            left -= have
            number, have = number + 1, 0
        for worker in workers:
            worker.chunks.put(None)
            worker.join()
        os.fsync(file.fileno())


def serve(connection: socket.socket, directory: str, hashes: list[str]) -> None:
    with connection:
        while True:
            head = b''
            while b'\r\n\r\n' not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            head, _, first = head.partition(b'\r\n\r\n')
            _, _, length = head.lower().partition(b'\r\ncontent-length:')
            left = int(length.partition(b'\r\n')[0] or b'0')
            if left:
                take(connection, left, first, f'{directory}/{uuid.uuid4()}', hashes)
            connection.sendall(ANSWER)


def main(port: str, directory: str, *hashes: str) -> None:
    listener = socket.create_server(('127.0.0.1', int(port)))
    while True:
        arguments = (listener.accept()[0], directory, list(hashes))
        threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == '__main__':
    main(*sys.argv[1:])
