# SPDX-License-Identifier: Apache-2.0
"""Who takes part in a day with the real clients, and what counts their checks."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable
from typing import Any

import openstack
from openstack import exceptions as sdk

from tests.backends import keystone
from tests.clients.shells import Refused, Shell

RAW = b'what an image holds ' * 5000
BARE = ('--disk-format', 'raw', '--container-format', 'bare')


class Checks:
    """Counts what was looked at, and remembers what was not as it should be."""

    def __init__(self) -> None:
        self.count: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def __call__(self, what: str, found: Any, expected: Any = True) -> None:
        self.count[what] += 1
        if found != expected:
            self.wrong.append(f'{what}: {found!r} and not {expected!r}')

    def refused(self, what: str, status: int, call: Callable[[], Any]) -> None:
        """A call of openstacksdk, or of a shell, is answered with this status."""
        try:
            found: Any = call()
        except sdk.HttpException as ex:
            found = ex.status_code
        except Refused as ex:
            found = status if str(status) in str(ex) else str(ex)
        self(what, found, status)


class Person:
    """An account, its shells and its connection."""

    def __init__(self, account: keystone.Account) -> None:
        self.account = account
        self.shell = Shell(account)
        self.cloud: openstack.connection.Connection = account.connect()
        self.image = self.cloud.image
        self.project_id = account.project_id

    def sees(self, image_id: str) -> bool:
        return self.image.find_image(image_id) is not None

    def names(self, **filters: Any) -> set[str]:
        return {image.name for image in self.image.images(**filters)}


class Day:
    """Who takes part, and what they have made so far."""

    def __init__(self, region: keystone.Region, directory: pathlib.Path, server: Any) -> None:
        self.check = Checks()
        self.directory = directory
        self.server = server
        self.region = region
        alice = region.user('alice')
        self.alice = Person(alice)
        self.bob = Person(region.user('bob'))
        shared = (alice.project, alice.project_id)
        self.reader = Person(region.user('reader', roles=('reader',), project=shared))
        self.admin = Person(region.user('boss', roles=('admin', 'member', 'reader')))
        self.service = Person(region.user('nova', roles=('service', 'reader')))
        self.file = directory / 'image'
        self.file.write_bytes(RAW)
        #: name -> id
        self.made: dict[str, str] = {}
