# SPDX-License-Identifier: Apache-2.0
"""The conformance kit of store drivers: the suite is the contract.

A driver's own test is a fixture::

    class TestTape(StoreConformance):
        @pytest.fixture
        def driver(self, tmp_path):
            driver = TapeStore('tape', {'tape_robot': str(tmp_path)})
            driver.start()
            return driver

Give the traits of a medium by overriding the class attributes. After each case the kit lists
what is stored, where the driver can, and nothing may be left that the case did not leave.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pytest

from glance_lite.store import (
    BadStoreUri,
    Cap,
    ObjectExists,
    ObjectNotFound,
    StoreDriver,
    StoreReadOnly,
)
from glance_lite.store import Source as StoreSource
from glance_lite.testing.faults import Broken, Source

Driver = TypeVar('Driver', bound=StoreDriver)


def pattern(size: int) -> bytes:
    """`size` bytes that differ from place to place, with zeros in the middle."""
    block = bytes(range(251)) * 17
    data = bytearray((block * (size // len(block) + 1))[:size])
    third = size // 3
    data[third : 2 * third] = bytes(third)
    return bytes(data)


def make_driver(kind: type[Driver], name: str, **settings: Any) -> Driver:
    """A driver that is not started, with these settings and the defaults of all others."""
    return kind(name, {opt.dest: opt.default for opt in kind.opts} | settings)


class Stranger(StoreDriver):
    """A store of a type that no driver knows: nobody shares a backend with it."""

    schemes = ('stranger',)

    def start(self) -> None:
        """Nothing to open."""

    def parse(self, url: str) -> str:
        raise BadStoreUri('There is nothing here')

    def add(self, name: str, source: StoreSource, size: int | None) -> str:
        raise StoreReadOnly('It takes nothing')

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        raise ObjectNotFound('There is nothing here')

    def size(self, key: str) -> int:
        raise ObjectNotFound('There is nothing here')

    def delete(self, key: str) -> None:
        raise ObjectNotFound('There is nothing here')


class ReadConformance:
    """Cases about reading. Needs the fixture ``driver``: a started driver."""

    #: bytes of the large case
    large = 9 * 1024 * 1024 + 1
    #: urls that must be refused, beside the kit's own
    hostile: tuple[str, ...] = ()
    #: urls of what the driver's test has stored
    _added: list[str]

    def elsewhere(self, driver: StoreDriver) -> Iterable[str]:
        """Urls of things that can be read, and that the driver would not write: of a time when
        it was configured otherwise."""
        return ()

    @pytest.fixture
    def name(self) -> str:
        return str(uuid.uuid4())

    @pytest.fixture(autouse=True)
    def _counted(self) -> None:
        self._added = []

    # --- what the test of a driver that cannot write overrides

    def add(self, driver: StoreDriver, name: str, data: bytes, sized: bool = True) -> Any:
        url = driver.add(name, Source(data, sized=sized), len(data) if sized else None)
        self._added.append(url)
        return driver.parse(url)

    @staticmethod
    def read(driver: StoreDriver, key: Any, *span: Any) -> bytes:
        chunks = driver.get(key, *span)
        try:
            return b''.join(bytes(chunk) for chunk in chunks)
        finally:
            close: Callable[[], None] | None = getattr(chunks, 'close', None)
            if close is not None:
                close()

    def sizes(self, driver: StoreDriver) -> list[int]:
        chunk = driver.chunk_size
        return [0, 1, chunk - 1, chunk, chunk + 1, self.large]

    # --- what is stored can be read

    def test_round_trip_of_known_sizes(self, driver: StoreDriver) -> None:
        for size in self.sizes(driver):
            data = pattern(size)
            key = self.add(driver, str(uuid.uuid4()), data)
            assert driver.size(key) == size
            assert self.read(driver, key) == data

    def test_any_range(self, driver: StoreDriver, name: str) -> None:
        chunk = driver.chunk_size
        data = pattern(2 * chunk + 5)
        key = self.add(driver, name, data)
        for offset in (0, 1, chunk - 1, chunk, len(data) - 1):
            for length in (1, 7, chunk, len(data) - offset):
                length = min(length, len(data) - offset)
                assert self.read(driver, key, offset, length) == data[offset : offset + length]
            assert self.read(driver, key, offset) == data[offset:]

    def test_an_abandoned_read_closes_its_handle(self, driver: StoreDriver, name: str) -> None:
        key = self.add(driver, name, pattern(3 * driver.chunk_size))
        descriptors = '/proc/self/fd'
        before = len(os.listdir(descriptors))
        for _ in range(20):
            chunks = driver.get(key)
            next(chunks)
            with contextlib.suppress(AttributeError):
                chunks.close()  # type: ignore[attr-defined]
            del chunks
        gc.collect()
        assert len(os.listdir(descriptors)) < before + 10

    def test_hostile_urls_are_refused(self, driver: StoreDriver) -> None:
        scheme = driver.schemes[0]
        urls = (
            '', ':', 'nothing', '://', f'{scheme}:', f'{scheme}://', f'{scheme}:///',
            f'{scheme}:///etc/passwd', f'{scheme}://../../etc/passwd', f'{scheme}:///a\0b',
            f'{scheme}:///{"a" * 5000}', 'http://[::1', 'javascript:alert(1)', '\udcff',
            *self.hostile,
        )  # fmt: skip
        for url in urls:
            with pytest.raises(BadStoreUri):
                driver.parse(url)
            assert not driver.owns(url)

    def test_nobody_can_register_what_lies_elsewhere(self, driver: StoreDriver) -> None:
        for url in self.elsewhere(driver):
            driver.parse(url)
            assert not driver.owns(url)

    def test_it_is_well_and_tells_no_secret(self, driver: StoreDriver) -> None:
        driver.check()
        told = str(driver.describe())
        secret = [opt.dest for opt in driver.opts if opt.secret]
        for dest in secret:
            assert str(driver.settings[dest]) not in told
        for opt in driver.opts:
            assert opt.help, f'{opt.name} has no help'


class ReadOnlyConformance(ReadConformance):
    """Cases for a driver without `Cap.WRITE`; its test overrides `add` to store by other means."""

    def test_it_takes_nothing_and_removes_nothing(self, driver: StoreDriver, name: str) -> None:
        assert Cap.WRITE not in driver.caps
        key = self.add(driver, name, b'data')
        source = Source(b'other')
        with pytest.raises(StoreReadOnly):
            driver.add(name, source, 5)
        with pytest.raises(StoreReadOnly):
            driver.delete(key)
        assert self.read(driver, key) == b'data'
        assert driver.locate(name) == ()


class StoreConformance(ReadConformance):
    """Cases that every driver that writes must pass."""

    #: whether `add` with size None works
    unknown_size = True

    @pytest.fixture(autouse=True)
    def _leftovers(self, driver: StoreDriver, _counted: None) -> Iterator[None]:
        """Nothing may lie around that no case added, or that one has removed."""
        yield
        if Cap.LIST in driver.caps:
            stored = {url for url, _, _ in driver.list()}
            assert stored <= set(self._added), 'something was left behind'

    # --- what is written can be read

    def test_round_trip_of_unknown_sizes(self, driver: StoreDriver) -> None:
        if not self.unknown_size:
            return
        for size in self.sizes(driver):
            data = pattern(size)
            key = self.add(driver, str(uuid.uuid4()), data, sized=False)
            assert driver.size(key) == size
            assert self.read(driver, key) == data

    def test_sendfile_gives_the_same_bytes(self, driver: StoreDriver, name: str) -> None:
        if Cap.SENDFILE not in driver.caps:
            return
        data = pattern(100_000)
        key = self.add(driver, name, data)
        for span in ((0, None), (17, 40_000), (99_999, 1)):
            file, offset, length = driver.sendfile(key, *span)
            with file:
                assert os.pread(file.fileno(), length, offset) == self.read(driver, key, *span)

    # --- all or nothing, never over something

    def test_a_name_is_taken_once(self, driver: StoreDriver, name: str) -> None:
        key = self.add(driver, name, b'first')
        with pytest.raises(ObjectExists):
            driver.add(name, Source(b'second'), 6)
        assert self.read(driver, key) == b'first'

    @pytest.mark.parametrize('sized', [True, False])
    @pytest.mark.parametrize('where', ['first', 'middle', 'last'])
    def test_a_source_that_fails_leaves_nothing(
        self, driver: StoreDriver, name: str, where: str, sized: bool
    ) -> None:
        if not sized and not self.unknown_size:
            return
        data = pattern(2 * driver.chunk_size + 11)
        at = {'first': 0, 'middle': len(data) // 2, 'last': len(data) - 1}[where]
        with pytest.raises(Broken):
            driver.add(name, Source(data, at, sized), len(data) if sized else None)
        key = self.add(driver, name, b'the name is free')
        assert self.read(driver, key) == b'the name is free'

    def test_a_source_that_trickles(self, driver: StoreDriver, name: str) -> None:
        data = pattern(300)
        url = driver.add(name, Source(data, piece=1, pause=0.001), len(data))
        self._added.append(url)
        assert self.read(driver, driver.parse(url)) == data

    def test_a_source_that_stalls_holds_up_nobody(self, driver: StoreDriver, name: str) -> None:
        data = pattern(2 * driver.chunk_size)
        stalled, go_on = threading.Event(), threading.Event()

        def stall() -> None:
            stalled.set()
            assert go_on.wait(30), 'nobody has let it go on'

        source = Source(data, stall_at=len(data) // 2, stall=stall)
        urls: list[str] = []
        thread = threading.Thread(target=lambda: urls.append(driver.add(name, source, len(data))))
        thread.start()
        try:
            assert stalled.wait(30), 'it has not read so far'
            other = self.add(driver, str(uuid.uuid4()), b'quick')
            assert self.read(driver, other) == b'quick'
        finally:
            go_on.set()
            thread.join()
        self._added += urls
        (url,) = urls
        assert self.read(driver, driver.parse(url)) == data

    def test_of_many_adds_at_once_one_wins(self, driver: StoreDriver, name: str) -> None:
        results: list[Any] = []

        def add(number: int) -> None:
            data = bytes([number]) * 50_000
            try:
                results.append((driver.add(name, Source(data), len(data)), data))
            except ObjectExists as ex:
                results.append(ex)

        self._together(add, 6)
        won = [result for result in results if not isinstance(result, Exception)]
        assert len(results) == 6 and len(won) == 1
        url, data = won[0]
        self._added.append(url)
        assert self.read(driver, driver.parse(url)) == data

    def test_many_things_at_once(self, driver: StoreDriver) -> None:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                data = pattern(100_000 + number)
                url = driver.add(str(uuid.uuid4()), Source(data), len(data))
                key = driver.parse(url)
                assert self.read(driver, key) == data
                driver.delete(key)
            except BaseException as ex:
                failures.append(ex)

        self._together(work, 8)
        assert not failures

    @staticmethod
    def _together(work: Callable[[int], None], count: int) -> None:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # --- what is not there

    def test_what_is_deleted_is_gone_at_once(self, driver: StoreDriver, name: str) -> None:
        key = self.add(driver, name, b'data')
        driver.delete(key)
        for call in (driver.get, driver.size, driver.delete):
            with pytest.raises(ObjectNotFound):
                call(key)
        assert self.read(driver, self.add(driver, name, b'again')) == b'again'

    # --- urls

    def test_a_url_parses_to_the_same_thing(self, driver: StoreDriver, name: str) -> None:
        url = driver.add(name, Source(b'data'), 4)
        self._added.append(url)
        assert url.partition(':')[0] == driver.schemes[0]
        assert driver.parse(url) == driver.parse(url)

    def test_it_says_where_a_name_may_lie(self, driver: StoreDriver, name: str) -> None:
        """Or nothing at all, and then nobody can clean up by name."""
        url = driver.add(name, Source(b'data'), 4)
        self._added.append(url)
        urls = driver.locate(name)
        assert not urls or url in urls
        assert set(urls).isdisjoint(driver.locate(str(uuid.uuid4())))

    def test_it_says_how_much_room_there_is_or_nothing(self, driver: StoreDriver) -> None:
        room = driver.room()
        if room is not None:
            size, free = room
            assert 0 <= free <= size

    def test_redacted_urls_are_still_urls(self, driver: StoreDriver, name: str) -> None:
        url = driver.add(name, Source(b'data'), 4)
        self._added.append(url)
        assert driver.redact(url).startswith(driver.schemes[0])

    # --- who reads, where the driver decides

    def test_who_reads_can_be_said_again_and_again(self, driver: StoreDriver, name: str) -> None:
        if Cap.ACL not in driver.caps:
            return
        key = self.add(driver, name, b'data')
        for projects in (('alpha', 'beta'), ('beta',), (), ()):
            driver.acl(key, False, projects)
            driver.acl(key, True, ())
            assert b''.join(driver.get(key)) == b'data'

    def test_of_what_is_not_there_nobody_can_say_who_reads(
        self, driver: StoreDriver, name: str
    ) -> None:
        if Cap.ACL not in driver.caps:
            return
        key = self.add(driver, name, b'data')
        driver.delete(key)
        with pytest.raises(ObjectNotFound):
            driver.acl(key, True, ())

    # --- copies within the backend

    @pytest.fixture
    def other(self, driver: StoreDriver) -> StoreDriver:
        """Another started store with which the driver shares a backend; override it."""
        return driver

    def copy(self, driver: StoreDriver, other: StoreDriver, key: Any, name: str) -> Any:
        url = driver.copy_from(other, key, name)
        assert url is not None
        self._added.append(url)
        return driver.parse(url)

    def test_a_copy_is_the_same_and_stands_alone(
        self, driver: StoreDriver, other: StoreDriver
    ) -> None:
        if Cap.COPY not in driver.caps:
            return
        for size in self.sizes(driver):
            data = pattern(size)
            key = self.add(other, str(uuid.uuid4()), data)
            copy = self.copy(driver, other, key, str(uuid.uuid4()))
            other.delete(key)
            assert driver.size(copy) == size
            assert self.read(driver, copy) == data
            driver.delete(copy)

    def test_a_copy_goes_over_nothing(
        self, driver: StoreDriver, other: StoreDriver, name: str
    ) -> None:
        if Cap.COPY not in driver.caps:
            return
        key = self.add(driver, name, b'first')
        source = self.add(other, str(uuid.uuid4()), b'second')
        with pytest.raises(ObjectExists):
            driver.copy_from(other, source, name)
        assert self.read(driver, key) == b'first'

    def test_what_is_not_there_is_not_copied(
        self, driver: StoreDriver, other: StoreDriver, name: str
    ) -> None:
        if Cap.COPY not in driver.caps:
            return
        gone = self.add(other, str(uuid.uuid4()), b'data')
        other.delete(gone)
        with pytest.raises(ObjectNotFound):
            driver.copy_from(other, gone, name)
        assert self.read(driver, self.add(driver, name, b'free')) == b'free'

    def test_a_stranger_is_not_copied_from(self, driver: StoreDriver, name: str) -> None:
        if Cap.COPY not in driver.caps:
            return
        assert driver.copy_from(Stranger('stranger', {}), 'key', name) is None
        assert self.read(driver, self.add(driver, name, b'free')) == b'free'

    def test_of_many_copies_at_once_one_wins(
        self, driver: StoreDriver, other: StoreDriver, name: str
    ) -> None:
        if Cap.COPY not in driver.caps:
            return
        results: list[Any] = []
        key = self.add(other, str(uuid.uuid4()), pattern(50_000))

        def work(number: int) -> None:
            try:
                results.append(driver.copy_from(other, key, name))
            except ObjectExists as ex:
                results.append(ex)

        self._together(work, 6)
        won = [result for result in results if isinstance(result, str)]
        assert len(results) == 6 and len(won) == 1
        self._added += won
        assert self.read(driver, driver.parse(won[0])) == pattern(50_000)

    # --- for people

    def test_list_shows_what_is_stored(self, driver: StoreDriver, name: str) -> None:
        if Cap.LIST not in driver.caps:
            return
        self.add(driver, name, b'data')
        ((url, size, when),) = driver.list()
        assert (url, size) == (self._added[0], 4)
        assert when > 1_600_000_000
