# SPDX-License-Identifier: Apache-2.0
"""What a request may look like: RFC 9112 to the letter, where a proxy could read it otherwise.

Two who read the same bytes as different requests are how somebody's request is smuggled past the
one in front. The standard library and eventlet forgive much: a header without a colon ends the
headers, a bare CR begins another one, ``+5`` and ``1_0`` are lengths, and a chunk of -5 bytes is
one. Nothing of that is taken here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from glance_lite.server import eventlet as green

#: Longest line with the size of a chunk, and all lines after the last chunk, in bytes.
CHUNK_LINE = 1024
TRAILERS = 16 * 1024

#: Chunks that are read before others have their turn: very small ones cost much.
TURN = 256

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb'[^\x00-\x08\x0a-\x1f\x7f]*'
_REQUEST_LINE = re.compile(_TOKEN + rb' [^\x00-\x20\x7f]+ HTTP/([0-9])\.[0-9]\r?\n')
_HEADERS = re.compile(rb'(?:%s:%s\r?\n)*\r?\n' % (_TOKEN, _TEXT))
_TRAILER = re.compile(rb'%s:%s\r\n' % (_TOKEN, _TEXT))
_CHUNK = re.compile(rb'([0-9A-Fa-f]{1,15})[ \t]*(?:;%s)?\r\n' % _TEXT)
_LENGTH = re.compile('[0-9]{1,18}')
_HOST = re.compile(r'[!"$-.0->@-\[\]-~]*')  # no blank and nothing that begins a path
_ABSOLUTE = re.compile('https?://([^/?#]*)', re.IGNORECASE)


def fault_of_text(request_line: bytes, headers: bytes) -> tuple[int, str]:
    """(status, what is wrong) of these lines; (0, '') when nothing is."""
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        return 400, 'The request line is malformed'
    if match[1] != b'1':
        return 505, 'This server speaks HTTP 1'
    if not _HEADERS.fullmatch(headers):
        return 400, 'A header line is malformed'
    return 0, ''


def ascii_only(request_line: bytes) -> bytes:
    """The line with bytes beyond ASCII quoted: some of them would pass for blanks."""
    if request_line.isascii():
        return request_line
    return b''.join(b'%%%02X' % byte if byte > 127 else bytes((byte,)) for byte in request_line)


def split_absolute(target: str) -> tuple[str | None, str]:
    """(host or None, path) of a target that may name the scheme and host, as to a proxy."""
    match = _ABSOLUTE.match(target)
    if match is None:
        return None, target
    rest = target[match.end() :]
    return match[1], rest if rest.startswith('/') else '/' + rest


def fault_of_headers(headers: Any, version: str) -> tuple[int, str]:
    """(status, what is wrong) of parsed headers; (0, '') when nothing is."""
    hosts = headers.get_all('Host', ())
    if len(hosts) > 1 or (not hosts and version != 'HTTP/1.0'):
        return 400, 'There must be one Host header'
    if hosts and not _HOST.fullmatch(hosts[0].strip(' \t')):
        return 400, 'The Host header is malformed'
    lengths = headers.get_all('Content-Length', ())
    codings = headers.get_all('Transfer-Encoding', ())
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0].strip(' \t'))):
        return 400, 'Content-Length must be one number'
    if not codings:
        return 0, ''
    if lengths or version == 'HTTP/1.0' or len(codings) > 1:
        return 400, 'Transfer-Encoding must come once, without Content-Length, not in HTTP 1.0'
    if codings[0].strip(' \t').lower() != 'chunked':
        return 501, 'The only Transfer-Encoding that is known is chunked'
    return 0, ''


class SizedBody(green.Input):  # type: ignore[misc]
    """A body of known length, which can be read into memory that is there."""

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; how many bytes, fewer only at the end."""
        if self.should_send_hundred_continue:
            self.send_hundred_continue_response()
            self.is_hundred_continue_response_sent = True
        wanted = view[: self.content_length - self.position]
        count: int = self.rfile.readinto(wanted) if wanted else 0
        self.position += count
        return count


class ChunkedBody(green.Input):  # type: ignore[misc]
    """A chunked body. Reading raises `ValueError` where it is malformed, `OSError` at an early end.

    The attributes are eventlet's: `chunk_length` is -1 before the first chunk and 0 after the last
    one, `position` is in the chunk.
    """

    #: whether nothing can be read after this any more
    broken = False
    #: how many have come
    _chunks = 0

    def _chunked_read(
        self, rfile: Any, length: int | None = None, use_readline: bool = False
    ) -> bytes:
        read = rfile.readline if use_readline else rfile.read
        wanted = float('inf') if length is None or length < 0 else length
        pieces: list[bytes] = []
        while wanted and (left := self._left_of_chunk(rfile)):
            piece = read(int(min(wanted, left)))
            self._pass(rfile, len(piece))
            pieces.append(piece)
            wanted -= len(piece)
            if use_readline and piece.endswith(b'\n'):
                break
        return b''.join(pieces)

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; how many bytes, fewer only at the end."""
        filled = 0
        while filled < len(view) and (left := self._left_of_chunk(self.rfile)):
            count = self.rfile.readinto(view[filled : filled + left])
            self._pass(self.rfile, count)
            filled += count
        return filled

    def _left_of_chunk(self, rfile: Any) -> int:
        """Bytes of this chunk, or of the next one, that are not read yet; 0 at the end."""
        if self.should_send_hundred_continue:
            self.send_hundred_continue_response()
            self.is_hundred_continue_response_sent = True
        if self.broken or self.chunk_length < 0 or self.chunk_length == self.position != 0:
            self._next_chunk(rfile)
            self._chunks += 1
            if self._chunks % TURN == 0:
                green.sleep(0)
        left: int = self.chunk_length - self.position
        return left

    def _pass(self, rfile: Any, count: int) -> None:
        """So many bytes of the chunk were read."""
        if not count:
            self._break(OSError('The body ended in a chunk'))
        self.position += count
        if self.position == self.chunk_length and rfile.read(2) != b'\r\n':
            self._break(green.ChunkReadError('A chunk does not end where it should'))

    def _next_chunk(self, rfile: Any) -> None:
        if self.broken:
            raise green.ChunkReadError('The body was malformed before')
        match = _CHUNK.fullmatch(rfile.readline(CHUNK_LINE))
        if match is None:
            self._break(green.ChunkReadError('The size of a chunk is malformed'))
        self.chunk_length, self.position = int(match[1], 16), 0
        if not self.chunk_length:
            self._skip_trailers(rfile.readline)

    def _skip_trailers(self, readline: Callable[[int], bytes]) -> None:
        left = TRAILERS
        while (line := readline(left)) != b'\r\n':
            left -= len(line)
            if left <= 0 or not _TRAILER.fullmatch(line):
                self._break(green.ChunkReadError('What follows the last chunk is malformed'))

    def _break(self, error: Exception) -> NoReturn:
        self.broken = True
        self.chunk_length = -1
        raise error
