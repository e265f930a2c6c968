# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as the chain, the stores and the start-up say it.

No class here knows a status code: ``glance_lite.api.faults`` has the one table that
turns an error into an answer, so a layer or a driver never thinks of HTTP. A message is
written for the person who made the request; it carries no credential, no path of the
server's disk and no data of another project.
"""

from __future__ import annotations


class GlanceLiteError(Exception):
    """Base of all errors raised on purpose."""

    def __init__(self, message: str = '') -> None:
        super().__init__(message or (self.__doc__ or '').splitlines()[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


# --- start-up: each message is one sentence that names the file, the group and the option


class ConfigurationError(GlanceLiteError):
    """The configuration cannot be served; the process stops with exit code 1."""


class PluginError(ConfigurationError):
    """A plug-in is missing, broken, registered twice or in the wrong place."""


class BadStoreConfiguration(ConfigurationError):
    """A store's settings are wrong; the message names the store's group and the option."""


# --- requests


class Invalid(GlanceLiteError):
    """The request makes no sense as it was sent."""


class UrlRefused(Invalid):
    """The url is not one that this service fetches."""


class NotAuthenticated(GlanceLiteError):
    """The request carries no valid identity."""


class Forbidden(GlanceLiteError):
    """You are not allowed to do this."""


class NotFound(GlanceLiteError):
    """There is no such thing, or it is hidden from you."""


class ImageNotFound(NotFound):
    """The image does not exist, or is hidden from the caller."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f'No image found with ID {image_id}')


class Conflict(GlanceLiteError):
    """The thing is not in a state that allows this."""


class StagedElsewhere(Conflict):
    """The data is staged on another host, and only that one can import it."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host


class Duplicate(Conflict):
    """Something of that name or id exists already."""


class Gone(GlanceLiteError):
    """The image was deleted while it was being worked on."""


class LimitExceeded(GlanceLiteError):
    """A quota, a count or a size limit would be passed."""


class UnsupportedMedia(GlanceLiteError):
    """The content is not what it was said to be, or is not safe."""


class UnknownPatch(UnsupportedMedia):
    """A patch came in none of the media types `known`."""

    def __init__(self, known: tuple[str, ...]) -> None:
        super().__init__(f'A patch must be sent as one of {", ".join(known)}')
        self.known = known


class RangeNotSatisfiable(GlanceLiteError):
    """The range asked for lies outside the image, or is none.

    ``size`` is the image's, in bytes; None where it has not been looked at.
    """

    def __init__(self, size: int | None, message: str = '') -> None:
        super().__init__(
            message or f'The range asked for is not within the {size} bytes of the image'
        )
        self.size = size


class Unavailable(GlanceLiteError):
    """The service cannot do this now, but may in ``retry_after`` seconds."""

    def __init__(self, message: str = '', retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FetchFailed(Unavailable):
    """What a url names could not be fetched."""


class ClientGone(GlanceLiteError):
    """The client stopped sending or reading before the end."""


# --- stores: the verbs of a driver raise these and no others


class StoreError(GlanceLiteError):
    """A store failed; the Gateway adds the store's name."""


class BadStoreUri(StoreError, Invalid):
    """The url is not one of this driver's."""


class ObjectNotFound(StoreError, NotFound):
    """The store holds nothing under that key."""


class ObjectExists(StoreError, Duplicate):
    """The store holds something under that name already."""


class StoreFull(StoreError, LimitExceeded):
    """The store has no room left for this."""


class StoreReadOnly(StoreError, Gone):
    """The store takes no data. (410, which is what clients of Glance get.)"""


class StoreDenied(StoreError, Unavailable):
    """The store refused the service's own credentials or the write."""


class StoreUnavailable(StoreError, Unavailable):
    """The store did not answer, or broke off."""


class LeftBehind(StoreUnavailable):
    """An upload failed, and something of it may still be in the store: it is removed later."""


class InUse(StoreError, Conflict):
    """The data cannot be deleted: something in the store depends on it."""


class StillNeeded(InUse):
    """Nobody finds the data any more, and it goes when what depends on it has gone: ask again."""
