# SPDX-License-Identifier: Apache-2.0
"""What a copy is a copy of: the name of its file says which bytes must be in it."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glance_lite.model import Image

_NAME = re.compile(r'([0-9A-Za-z-]{1,36})\.(\d{1,19})\.([a-z0-9_]{1,20})\.([0-9a-f]{8,128})')


@dataclasses.dataclass(frozen=True)
class Key:
    """Of which image, how many bytes, and with which digest."""

    image_id: str
    #: bytes
    size: int
    algorithm: str
    #: in hexadecimal digits
    digest: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return f'{self.image_id}.{self.size}.{self.algorithm}.{self.digest}'

    @classmethod
    def parse(cls, name: str) -> Key | None:
        """The key of a file; None: the name is none of ours."""
        match = _NAME.fullmatch(name)
        return cls(match[1], int(match[2]), match[3], match[4]) if match else None

    @classmethod
    def of(cls, image: Image) -> Key | None:
        """None: the data of this image must not be kept, or nobody could tell whether it is right.

        By the image's hash, or by its MD5 where that is all there is.
        """
        if image.status != 'active' or not image.size:
            return None
        value = (image.os_hash_value or '').lower()
        if value and _known(image.os_hash_algo or ''):
            made = cls(image.id, image.size, image.os_hash_algo or '', value)
        elif image.checksum:
            made = cls(image.id, image.size, 'md5', image.checksum.lower())
        else:
            return None
        return made if _NAME.fullmatch(made.name) else None


def _known(algorithm: str) -> bool:
    """Whether data can be hashed with it, and the digest has one length."""
    return algorithm in hashlib.algorithms_available and not algorithm.startswith('shake')
