# SPDX-License-Identifier: Apache-2.0
"""Keys of encrypted images: a secret in the key manager may end together with its image."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from glance_lite.errors import GlanceLiteError
from glance_lite.signatures import INSTALL

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.key_manager import KeyManager
    from glance_lite.model import Image

LOG = logging.getLogger(__name__)

#: Properties that Cinder gives to an image of an encrypted volume.
KEY = 'cinder_encryption_key_id'
POLICY = 'cinder_encryption_key_deletion_policy'
WITH_THE_IMAGE = 'on_image_deletion'


class EncryptionKeys:
    """Deletes the keys of images that are gone."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Raises `ConfigurationError`."""
        self._keys: KeyManager | None = None
        try:
            # It needs castellan, which comes with an extra.
            from glance_lite.key_manager import KeyManager
        except ImportError:
            return
        self._keys = KeyManager(conf)

    def delete(self, ctx: RequestContext, image: Image) -> None:
        """The image has been deleted; so is its key, where it says so. Never fails.

        What cannot be deleted is logged: the image does not come back for it.
        """
        key = image.properties.get(KEY)
        if not key or image.properties.get(POLICY) != WITH_THE_IMAGE:
            return
        reason = self._try(ctx, image, key)
        if reason:
            LOG.warning('The encryption key %s of image %s stays: %s', key, image.id, reason)

    def _try(self, ctx: RequestContext, image: Image, key: str) -> str | None:
        """Why the key stays; None when it is gone."""
        if self._keys is None:
            return f'{KEY} needs: {INSTALL}'
        if ctx.project_id is None or ctx.project_id != image.owner:
            # Whoever owns an image can name any key in it, and the key manager believes an
            # administrator: it would be told to delete what belongs to a third project.
            return 'the image was deleted by another project than its own'
        try:
            self._keys.delete(ctx, key)
        except GlanceLiteError as ex:
            return ex.message
        LOG.info('The encryption key %s of image %s is deleted', key, image.id)
        return None
