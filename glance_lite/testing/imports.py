# SPDX-License-Identifier: Apache-2.0
"""Conformance kit of import plug-ins: what every one of them owes to those around it.

A test of a plug-in inherits `ImportPluginConformance`, says which class it is and gives it data;
what this plug-in alone does stands beside it::

    class TestStamp(ImportPluginConformance):
        plugin = Stamp
        configuration = '[acme_stamp]\\nkey = x\\n'
        data = b'...'
"""

from __future__ import annotations

import hashlib
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from glance_lite import conf as configuration
from glance_lite.errors import GlanceLiteError, Gone, LimitExceeded
from glance_lite.imports.plugin import ImportPlugin
from glance_lite.imports.values import IMPORT_API, Job, Outcome, Work
from glance_lite.testing.layers import make_image

#: Attributes of the image that a plug-in may set.
FIELDS = frozenset({'disk_format', 'container_format', 'virtual_size', 'min_disk', 'min_ram'})


class StepWork(Work):
    """What a step has at hand, in a directory of a test. It notes what is told."""

    def __init__(
        self,
        path: pathlib.Path,
        most: int | None = None,
        note: Mapping[str, str] | None = None,
        gone: bool = False,
    ) -> None:
        """`gone`: the image was deleted, as the step learns when it tells how far it is."""
        self.path = path
        self.most = most
        self.note = dict(note or {})
        self.gone = gone
        #: (done, total), in order
        self.seen: list[tuple[int, int | None]] = []
        #: threads that told: a plug-in must tell in the one it was called in
        self.threads: set[int] = set()

    def told(self, done: int, total: int | None = None) -> None:
        self.seen.append((done, total))
        self.threads.add(threading.get_ident())
        if self.gone:
            raise Gone('The image was deleted')
        if self.most is not None and done > self.most:
            raise LimitExceeded(f'An image may have {self.most} bytes at most')

    def keep(self, note: Mapping[str, str]) -> None:
        self.note = dict(note)
        if self.gone:
            raise Gone('The image was deleted')

    def new(self) -> pathlib.Path:
        return self.path.with_name(self.path.name + '.new')


def make_job(**fields: Any) -> Job:
    """An import of ``web-download`` that a member of project alpha asked for."""
    image = make_image('an-id').replace(
        status='importing', size=None, virtual_size=None, checksum=None, os_hash_algo=None,
        os_hash_value=None, locations=(), **fields.pop('image', {}),
    )  # fmt: skip
    values: dict[str, Any] = {
        'serial': 1,
        'task_id': 'a-task',
        'image': image,
        'method': 'web-download',
        'project': 'alpha',
        'user': 'alice',
        'roles': ('member', 'reader'),
    }
    return Job(**{**values, **fields})


class ImportPluginConformance:
    """Cases that every import plug-in must pass. Needs ``plugin``, its class."""

    #: class of the plug-in
    plugin: type[ImportPlugin]
    #: added to the configuration file
    configuration = ''
    #: what is imported
    data = b'some data of a disk' * 1000
    #: attributes of its image
    image: Mapping[str, Any] = {'disk_format': 'raw', 'container_format': 'bare'}

    @pytest.fixture
    def subject(self, tmp_path: pathlib.Path) -> ImportPlugin:
        """It, made from its configuration."""
        file = tmp_path / 'glance-api.conf'
        file.write_text(self.configuration)
        conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
        for group, options in self.plugin.opts.items():
            conf.register_opts(options, group=group)
        return self.plugin('subject', conf)

    @pytest.fixture
    def step(self, tmp_path: pathlib.Path) -> StepWork:
        """A step on its data."""
        directory = tmp_path / 'staging'
        directory.mkdir()
        (directory / 'an-id.1').write_bytes(self.data)
        return StepWork(directory / 'an-id.1')

    @property
    def job(self) -> Job:
        return make_job(image=dict(self.image))

    def test_it_is_a_plug_in_of_this_version(self) -> None:
        assert issubclass(self.plugin, ImportPlugin)
        assert self.plugin.requires_api == IMPORT_API

    def test_the_data_stays_as_it_was(self, subject: ImportPlugin, step: StepWork) -> None:
        before = step.path.stat()
        subject.apply(self.job, step)
        assert step.path.read_bytes() == self.data
        assert step.path.stat().st_ino == before.st_ino

    def test_files_are_where_they_are_removed(self, subject: ImportPlugin, step: StepWork) -> None:
        outcome = subject.apply(self.job, step)
        assert outcome.file is None or outcome.file.name.startswith(step.new().name)
        assert outcome.file is None or outcome.file.exists()
        for path in step.path.parent.iterdir():
            assert path == step.path or path.name.startswith(step.new().name), path

    def test_a_second_time_gives_the_same(self, subject: ImportPlugin, step: StepWork) -> None:
        """As after a process that was killed in the midst of it."""
        first = _known(subject.apply(self.job, step))
        step.new().write_bytes(b'what another process has left' * 100_000)
        assert _known(subject.apply(self.job, step)) == first

    def test_what_it_sets_can_be_set(self, subject: ImportPlugin, step: StepWork) -> None:
        outcome = subject.apply(self.job, step)
        assert set(outcome.fields) <= FIELDS
        for name, value in outcome.properties.items():
            assert isinstance(name, str) and not name.startswith('os_glance')
            assert isinstance(value, str)

    def test_it_tells_in_its_own_thread(self, subject: ImportPlugin, step: StepWork) -> None:
        subject.apply(self.job, step)
        assert step.threads <= {threading.get_ident()}
        assert all(done <= total for done, total in step.seen if total is not None)

    def test_a_deleted_image_ends_it(self, subject: ImportPlugin, step: StepWork) -> None:
        """It lets through what it is told when it tells how far it is."""
        step.gone = True
        try:
            subject.apply(self.job, step)
        except Gone:
            return
        assert not step.seen, 'it has swallowed what `told` raised'

    def test_hostile_data_is_refused_or_taken(self, subject: ImportPlugin, step: StepWork) -> None:
        """Whatever it is: an outcome, or an error whose message an owner may read."""
        for data in (b'', b'\0', b'\xff' * 100_000, self.data[: len(self.data) // 2]):
            step.path.write_bytes(data)
            try:
                subject.apply(self.job, step)
            except GlanceLiteError as ex:
                assert str(step.path.parent) not in ex.message

    def test_it_keeps_nothing_of_a_job(self, subject: ImportPlugin, step: StepWork) -> None:
        before = {name: id(value) for name, value in vars(subject).items()}
        subject.apply(self.job, step)
        assert {name: id(value) for name, value in vars(subject).items()} == before


def _known(outcome: Outcome) -> Any:
    made = None
    if outcome.file is not None:
        made = hashlib.sha256(outcome.file.read_bytes()).hexdigest()
    return made, dict(outcome.fields), dict(outcome.properties)
