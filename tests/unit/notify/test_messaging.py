# SPDX-License-Identifier: Apache-2.0
"""Which notifiers a configuration makes, and oslo.messaging's drivers behind one of them."""

from __future__ import annotations

import json
import logging

import pytest
from oslo_messaging.notify import _impl_test

from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError
from glance_lite.layers.notifier import load_drivers
from glance_lite.notify.driver import LogNotifier
from glance_lite.notify.events import is_disabled, make_notice
from glance_lite.notify.messaging import MessagingNotifier

THEIRS = '[oslo_messaging_notifications]\ntransport_url = fake://\n'


@pytest.fixture
def read(tmp_path):
    """Reads a configuration file with this text."""

    def parse(text):
        file = tmp_path / 'glance-api.conf'
        file.write_text(text)
        return configuration.parse(configuration.new(), ['--config-file', str(file)])

    return parse


@pytest.fixture(autouse=True)
def _forget():
    _impl_test.reset()
    yield
    _impl_test.reset()


# --- which ones


@pytest.mark.parametrize(
    ('text', 'kinds'),
    [
        ('', []),
        (f'{THEIRS}driver =\n', []),
        (f'{THEIRS}driver = noop\n', []),
        ('[DEFAULT]\nnotification_driver = messaging\n', [MessagingNotifier]),
        (f'{THEIRS}driver = log\n', [LogNotifier]),
        (f'{THEIRS}driver = messagingv2\n', [MessagingNotifier]),
        (f'{THEIRS}driver = messaging\ndriver = test\ndriver = noop\n', [MessagingNotifier]),
        (f'{THEIRS}driver = log\ndriver = messagingv2\n', [LogNotifier, MessagingNotifier]),
        ('[notifier]\ndrivers = log\n', [LogNotifier]),
        ('[notifier]\ndrivers = noop, log\n', [LogNotifier]),
        (f'{THEIRS}driver = messagingv2\n[notifier]\ndrivers = noop\n', []),
        (f'{THEIRS}driver = log\n[notifier]\ndrivers = messaging\n', [MessagingNotifier]),
    ],
)
def test_what_a_configuration_makes(read, text, kinds):
    assert [type(driver) for driver in load_drivers(read(text))] == kinds


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('[notifier]\ndrivers = nosuch\n', r'\[notifier\] drivers: there is no plug-in nosuch'),
        ('[notifier]\ndrivers = messaging\n', 'driver: it names no driver'),
        (f'{THEIRS}driver = mesagingv2\n', r'driver: mesagingv2 cannot be loaded: NoMatches'),
        (
            THEIRS.replace('fake://', 'nosuch://user:secret@host') + 'driver = messagingv2\n',
            r'transport_url: oslo.messaging cannot use it: \w+$',
        ),
        (f'{THEIRS}driver = routing\n', 'routing_config: the driver routing needs a file'),
    ],
)
def test_what_is_wrong_with_the_bus_stops_the_start(read, text, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        for driver in load_drivers(read(text)):
            driver.start()


@pytest.mark.parametrize(
    ('disabled', 'event', 'answer'),
    [
        ({'image'}, 'image.create', True),
        ({'image'}, 'image.member.create', True),
        ({'image.member'}, 'image.member.create', True),
        ({'image.member'}, 'image.create', False),
        ({'image.create'}, 'image.create', True),
        ({'image.creat', 'imag', 'create'}, 'image.create', False),
        ({'metadef_tag'}, 'metadef_tag.delete', True),
        (set(), 'image.create', False),
    ],
)
def test_events_and_groups_that_are_disabled(disabled, event, answer):
    assert is_disabled(event, disabled) is answer


# --- sending


def started(read, text):
    (driver,) = load_drivers(read(text))
    driver.start()
    return driver


def sent():
    return [
        (message['event_type'], priority) for _, message, priority, _ in _impl_test.NOTIFICATIONS
    ]


def test_drivers_of_others_are_told(read):
    driver = started(read, f'{THEIRS}driver = test\n')
    notice = make_notice('image.create', 'image.test', 'ERROR', {'a': 1})
    driver.send(notice)
    ((ctxt, message, priority, _),) = _impl_test.NOTIFICATIONS
    assert (ctxt, message, priority) == ({}, dict(notice.message), 'ERROR')
    driver.stop()


def test_the_exchange_is_glances(read):
    driver = started(read, f'{THEIRS}driver = messagingv2\n')
    assert driver.conf.control_exchange == 'glance'
    driver.stop()


def test_an_operators_exchange_counts(read):
    driver = started(read, f'[DEFAULT]\ncontrol_exchange = x\n{THEIRS}driver = messagingv2\n')
    assert driver.conf.control_exchange == 'x'
    driver.stop()


def test_the_log_has_it_as_oslo_messaging_writes_it(read, caplog):
    driver = started(read, '[notifier]\ndrivers = log\n')
    with caplog.at_level(logging.INFO, 'oslo.messaging.notification'):
        payload = {'a': 1, 'properties': {'admin_password': 'secret'}}
        driver.send(make_notice('image.create', 'image.test', 'INFO', payload))
        driver.send(make_notice('image.upload', 'image.test', 'ERROR', 'no'))
    first, second = caplog.records
    assert first.name == 'oslo.messaging.notification.image.create'
    assert (first.levelname, second.levelname) == ('INFO', 'ERROR')
    assert json.loads(first.getMessage())['payload']['a'] == 1
    assert 'secret' not in first.getMessage()


# --- routing


def routed(read, tmp_path, rules):
    file = tmp_path / 'routing.yaml'
    file.write_text(rules)
    return started(read, f'{THEIRS}driver = routing\nrouting_config = {file}\n')


def test_each_driver_gets_what_its_rules_say(read, tmp_path):
    rules = """
    billing:
      test:
        accepted_events: ['image.*', 'task.create']
        accepted_priorities: [ERROR]
    audit:
      test:
        accepted_events: [metadef_tag.create]
      noop:
    """
    driver = routed(read, tmp_path, rules)
    for event, priority in (
        ('image.create', 'INFO'),
        ('image.upload', 'ERROR'),
        ('task.create', 'ERROR'),
        ('task.failure', 'ERROR'),
        ('metadef_tag.create', 'INFO'),
    ):
        driver.send(make_notice(event, 'image.test', priority, {}))
    assert sent() == [
        ('image.upload', 'ERROR'), ('task.create', 'ERROR'), ('metadef_tag.create', 'INFO'),
    ]  # fmt: skip
    driver.stop()


@pytest.mark.parametrize(
    ('rules', 'sentence'),
    [
        ('[', 'is not YAML'),
        ('[a]', 'is not a mapping'),
        ('a: [b]', 'a is not a mapping'),
        ('a:\n  test:\n    accepted_event: [x]', 'unknown key accepted_event'),
        ('a:\n  test:\n    accepted_events: x', 'something else than lists'),
        ('a:\n  routing:', 'would lead back to the rules'),
        ('a:\n  nosuch:', 'nosuch cannot be loaded'),
    ],
)
def test_rules_that_are_wrong_stop_the_start(read, tmp_path, rules, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        routed(read, tmp_path, rules)


def test_rules_that_cannot_be_read_stop_the_start(read, tmp_path):
    text = f'{THEIRS}driver = routing\nrouting_config = {tmp_path}/nosuch\n'
    with pytest.raises(ConfigurationError, match='cannot be read'):
        load_drivers(read(text))
