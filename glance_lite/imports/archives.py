# SPDX-License-Identifier: Apache-2.0
"""Taking compressed files apart: gzip, xz, bzip2, zstd, and zip archives with one file in them.

The data is hostile. Memory is bounded whatever it says of itself: what comes out is asked for in
pieces, and dictionaries have a limit. A file that swells too much is refused while it does, one
that ends early, has something behind its end, or comes out compressed once more is refused too.
"""

from __future__ import annotations

import bz2
import dataclasses
import io
import lzma
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO

from glance_lite.errors import LimitExceeded, UnsupportedMedia

#: Bytes that are read, and asked for, at a time.
PIECE = 1024 * 1024
#: Largest dictionary in bytes: what `xz -9` and `zstd --ultra -22` need, and no more.
DICTIONARY = 128 * 1024 * 1024
#: Bytes that come out before the ratio is looked at: little data may well be made of nothing.
UNLOOKED = 16 * 1024 * 1024

#: (offset, bytes there) -> what it is.
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b'\x1f\x8b\x08', 'gzip'),
    (0, b'\xfd7zXZ\x00', 'xz'),
    (0, b'BZh', 'bzip2'),
    (0, b'\x28\xb5\x2f\xfd', 'zstd'),
    (0, b'PK\x03\x04', 'zip'),
    (0, b'PK\x05\x06', 'zip'),
    (2, b'-lh', 'lha'),
    (0, b'7z\xbc\xaf\x27\x1c', '7z'),
    (0, b'Rar!\x1a\x07', 'rar'),
    (0, b'\x5d\x00\x00', 'lzma'),
    (0, b'\x04\x22\x4d\x18', 'lz4'),
    (0, b'\x1f\x9d\x90', 'compress'),
)
#: Those that are known by the look of them, and cannot be opened.
CLOSED = frozenset({'lha', '7z', 'rar', 'lzma', 'lz4', 'compress'})
#: Frames of zstd that have nothing in them may stand before one that has.
SKIPPED = b'\x2a\x4d\x18'
LONGEST_MAGIC = 16

#: Ways in which a file may lie in a zip archive. With lzma, the archive would decide how much
#: memory it takes.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})

_BZIP2_BLOCK = (b'1AY&SY', b'\x17rE8P\x90')


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one file. None is no limit."""

    #: most bytes that may come out
    size: int | None = None
    #: how many bytes may come out for each that goes in
    ratio: int | None = None


def kind_of(head: bytes) -> str | None:
    """How data that begins so is compressed; None if it is not."""
    for offset, magic, name in MAGIC:
        if not head.startswith(magic, offset):
            continue
        if name == 'bzip2' and (not b'1' <= head[3:4] <= b'9' or head[4:10] not in _BZIP2_BLOCK):
            continue
        if name == 'lzma' and not _is_lzma(head):
            continue
        return name
    if len(head) >= 8 and 0x50 <= head[0] <= 0x5F and head[1:4] == SKIPPED:
        return 'zstd'
    return None


def _is_lzma(head: bytes) -> bool:
    """The old format has no magic: properties, a power of two, and a size that is none or sane."""
    dictionary = int.from_bytes(head[1:5], 'little')
    size = head[5:13]
    return bool(dictionary) and not dictionary & (dictionary - 1) and size == b'\xff' * 8


def kind_of_file(path: str | os.PathLike[str]) -> str | None:
    with open(path, 'rb') as file:
        return kind_of(file.read(LONGEST_MAGIC))


def decompress(
    kind: str,
    source: pathlib.Path,
    target: pathlib.Path,
    bounds: Bounds,
    told: Callable[[int, int], object],
) -> int:
    """Write to `target` what `source` holds; the bytes that came out.

    `told` hears how many bytes of how many have gone in, and may raise. Blocks; not for the hub.
    `UnsupportedMedia`: it is damaged, or nothing that can be opened. `LimitExceeded`: too large.
    """
    if kind in CLOSED:
        raise UnsupportedMedia(f'Data that is compressed with {kind} cannot be opened')
    total = source.stat().st_size
    out = _Output(kind, bounds)
    with open(source, 'rb') as file, open(target, 'wb') as made:
        try:
            for piece in _PIECES[kind](file):
                out.look_at(piece, file.tell())
                made.write(piece)
                told(file.tell(), total)
        except _BROKEN as ex:
            if isinstance(ex, OSError) and ex.errno is not None:
                raise  # of our own disk
            raise _damaged(kind, ex) from ex
        made.flush()
        os.fsync(made.fileno())
    return out.size


#: What the libraries raise for data that is made up. (bz2 has an OSError without a number.)
_BROKEN = (
    OSError, EOFError, ValueError, IndexError, OverflowError, RuntimeError, struct.error,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


def _damaged(kind: str, ex: Exception) -> UnsupportedMedia:
    if 'memory' in str(ex).lower():
        return UnsupportedMedia(f'The {kind} data needs too much memory to be decompressed')
    return UnsupportedMedia(f'The {kind} data is damaged, or ends early')


class _Output:
    """Looks at what comes out."""

    def __init__(self, kind: str, bounds: Bounds) -> None:
        self._kind = kind
        self._bounds = bounds
        self._head = b''
        self.size = 0

    def look_at(self, piece: bytes, taken: int) -> None:
        """The next bytes, for which `taken` bytes in all have gone in."""
        bounds = self._bounds
        if len(self._head) < LONGEST_MAGIC:
            self._head += piece[:LONGEST_MAGIC]
            inner = kind_of(self._head)
            if inner is not None and len(self._head) >= LONGEST_MAGIC:
                raise UnsupportedMedia(
                    f'The data is compressed more than once: {inner} within {self._kind}'
                )
        self.size += len(piece)
        if bounds.size is not None and self.size > bounds.size:
            raise LimitExceeded(
                f'The data would be larger than {bounds.size} bytes when it is decompressed'
            )
        if bounds.ratio and self.size > UNLOOKED and self.size > bounds.ratio * max(taken, 1):
            raise LimitExceeded(
                f'The data swells to more than {bounds.ratio} times its size when it is '
                f'decompressed'
            )


# --- formats that are one stream after another


def _streams(file: BinaryIO, begin: Callable[[], Any], padding: int = 0) -> Iterator[bytes]:
    """What a file of streams holds. `padding` is what zeros behind a stream must be multiples of;
    0: there may be none. Raises `EOFError` where it ends early."""
    rest = file.read(PIECE)
    while True:
        stream = begin()
        while not stream.eof:
            ended = False
            if not rest and stream.needs_input:
                rest = file.read(PIECE)
                ended = not rest
            piece = stream.decompress(rest, PIECE)
            rest = b''
            if piece:
                yield piece
            elif ended and not stream.eof:
                raise EOFError
        rest = stream.unused_data
        zeros = 0
        while not rest.strip(b'\0'):
            zeros += len(rest)
            rest = file.read(PIECE)
            if not rest:
                break
        else:
            zeros += len(rest) - len(rest.lstrip(b'\0'))
            rest = rest.lstrip(b'\0')
        if zeros and (not padding or zeros % padding):
            raise EOFError
        if not rest:
            return


class _Gzip:
    """zlib, spoken to like the others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, size)


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    return _streams(file, _Gzip, padding=1)


def _bzip2(file: BinaryIO) -> Iterator[bytes]:
    return _streams(file, bz2.BZ2Decompressor)


def _xz(file: BinaryIO) -> Iterator[bytes]:
    def begin() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY + PIECE)

    return _streams(file, begin, padding=4)


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    try:
        zstd = _zstd_library()
    except ImportError as ex:
        raise UnsupportedMedia(
            'Data that is compressed with zstd cannot be opened here: the service lacks the library'
        ) from ex
    options = {zstd.DecompressionParameter.window_log_max: DICTIONARY.bit_length() - 1}
    try:
        yield from _streams(file, lambda: zstd.ZstdDecompressor(options=options))
    except zstd.ZstdError as ex:
        raise _damaged('zstd', ex) from ex


def _zstd_library() -> Any:
    """Part of Python since 3.14; before, the extra ``zstd``."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[import-not-found,no-redef,unused-ignore]
    return zstd


# --- archives


class _Careful(io.RawIOBase):
    """A file of which nobody reads much at once: zipfile reads what the archive says is its
    directory in one piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:
            raise zipfile.BadZipFile('an offset below zero')
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        most = 4 * PIECE
        data = self._file.read(min(size, most + 1) if size >= 0 else most + 1)
        if len(data) > most:
            raise zipfile.BadZipFile('too much at once')
        return data


def _zip(file: BinaryIO) -> Iterator[bytes]:
    careful: Any = _Careful(file)
    with zipfile.ZipFile(careful) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(archive.infolist()) != 1 or not entries:
            raise UnsupportedMedia('A zip archive must have one file in it, and nothing else')
        (entry,) = entries
        if entry.flag_bits & 0x1:
            raise UnsupportedMedia('The file in the zip archive is encrypted')
        if entry.compress_type not in METHODS:
            raise UnsupportedMedia(
                'The file in the zip archive is compressed in a way that cannot be opened'
            )
        with archive.open(entry) as inner:
            yield from _all_of(inner, entry.file_size)


def _all_of(inner: IO[bytes], size: int) -> Iterator[bytes]:
    count = 0
    while piece := inner.read(PIECE):
        count += len(piece)
        yield piece
    if count != size:
        raise EOFError


_PIECES: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    'gzip': _gzip, 'xz': _xz, 'bzip2': _bzip2, 'zstd': _zstd, 'zip': _zip,
}  # fmt: skip
