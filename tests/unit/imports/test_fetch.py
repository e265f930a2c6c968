# SPDX-License-Identifier: Apache-2.0
"""Fetching into a file, from servers that break off, change their mind, trickle and lie."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import time

import pytest

from glance_lite.errors import FetchFailed, Gone, Invalid, LimitExceeded, UrlRefused
from glance_lite.guarded import Guard, Limits, Rules
from glance_lite.imports import fetch as fetching
from glance_lite.imports.fetch import Bounds, Expected, Fetch, Mark
from tests.backends import cutting, web
from tests.backends.cutting import Thing

DATA = random.Random(7).randbytes(3 * 1024 * 1024 + 17)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Bounds(seconds=30, retries=3, pause=0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'fetched'


@pytest.fixture
def served():
    """Serves a thing; gives a `Fetch` of it."""
    with_servers = []

    def serve(thing):
        context = cutting.serving(thing)
        with_servers.append(context)
        return context.__enter__()

    yield serve
    for context in with_servers:
        context.__exit__(None, None, None)


def guard(*ports, read=5.0):
    rules = Rules(
        allowed_ports=frozenset(ports), allowed_networks=(ipaddress.ip_network('127.0.0.0/8'),)
    )
    return Guard(rules, Limits(connect=5, read=read))


def fetch(port, path, bounds=QUICK, read=5.0, **more):
    return Fetch(guard(port, read=read), f'http://127.0.0.1:{port}/x', path, bounds, **more).run()


def test_all_of_it(served, path):
    thing = Thing(DATA)
    told = []
    expected = Expected('sha256', SHA256.upper())
    done = fetch(served(thing), path, expected=expected, progress=lambda *at: told.append(at))
    assert (done.size, done.retried) == (len(DATA), 0)
    assert path.read_bytes() == DATA
    assert 'range' not in thing.requests[0]
    assert told[0] == (0, None)


@pytest.mark.parametrize('chunked', [False, True])
@pytest.mark.parametrize('cuts', [[0], [1], [1_500_000], [len(DATA) - 1], [700_000, 5, 900_000]])
def test_it_carries_on_after_a_cut(served, path, cuts, chunked):
    thing = Thing(DATA, cuts=list(cuts), chunked=chunked)
    done = fetch(served(thing), path, expected=Expected('sha256', SHA256))
    assert path.read_bytes() == DATA and done.retried == len(cuts)
    offsets = [0]
    for cut in cuts:
        offsets.append(offsets[-1] + cut)
    asked = [request.get('range') for request in thing.requests]
    # Nothing is asked for twice.
    assert asked == [f'bytes={offset}-' if offset else None for offset in offsets]
    ranges = [request.get('if-range') for request in thing.requests if 'range' in request]
    assert set(ranges) <= {'"one"'}


def test_a_date_that_is_old_enough_names_a_version(served, path):
    thing = Thing(DATA, etag=None, age=3600, cuts=[1000])
    assert fetch(served(thing), path).retried == 1
    assert thing.requests[1]['range'] == 'bytes=1000-'
    assert thing.requests[1]['if-range'].endswith('GMT')


@pytest.mark.parametrize(
    'thing',
    [
        Thing(DATA, etag=None),
        Thing(DATA, etag='W/"weak"'),
        Thing(DATA, etag='unquoted'),
        Thing(DATA, etag=None, age=5),
    ],
    ids=['nothing', 'weak', 'unquoted', 'just changed'],
)
def test_without_a_version_it_begins_anew(served, path, thing):
    thing.cuts, thing.requests = [1_200_000], []
    fetch(served(thing), path, expected=Expected('sha256', SHA256))
    assert path.read_bytes() == DATA
    assert [request.get('range') for request in thing.requests] == [None, None]


def test_a_server_that_knows_no_ranges_begins_anew(served, path):
    thing = Thing(DATA, cuts=[2_000_000], ranges=False)
    fetch(served(thing), path, expected=Expected('sha256', SHA256))
    assert path.read_bytes() == DATA and len(thing.requests) == 2


def test_a_thing_that_became_another_is_fetched_whole(served, path):
    other = DATA[::-1] + b'more'

    def change(thing):
        thing.data, thing.etag = other, '"two"'

    thing = Thing(DATA, cuts=[2_000_000], after_cut=[change])
    expected = Expected('sha256', hashlib.sha256(other).hexdigest())
    fetch(served(thing), path, expected=expected)
    assert path.read_bytes() == other


@pytest.mark.parametrize(
    'claims',
    ['bytes 0-9/10', 'bytes 999-3145744/3145745', 'nonsense', 'bytes 1000-3145744/9999999',
     'bytes 1000-1200/3145745', 'bytes 1000-3145744/*'],
)  # fmt: skip
def test_a_range_that_was_not_asked_for_is_refused(served, path, claims):
    thing = Thing(DATA, cuts=[1000], claims=claims)
    with pytest.raises(FetchFailed, match='another'):
        fetch(served(thing), path)


def test_tries_are_bounded(served, path):
    thing = Thing(DATA, cuts=[10] * 20)
    with pytest.raises(FetchFailed, match='broke off'):
        fetch(served(thing), path)
    assert len(thing.requests) == 1 + QUICK.retries


def test_what_came_at_a_stretch_forgives_failures(served, path, monkeypatch):
    monkeypatch.setattr(fetching, 'FORGIVEN', 100_000)
    thing = Thing(DATA, cuts=[100_000] * 12)
    assert fetch(served(thing), path).retried == 12


@pytest.mark.parametrize('status', [500, 502, 503, 429, 408])
def test_a_passing_failure_is_tried_again(served, path, status):
    thing = Thing(DATA, statuses=[status, status])
    assert fetch(served(thing), path).retried == 2
    assert path.read_bytes() == DATA


@pytest.mark.parametrize('status', [204, 301, 400, 401, 403, 404, 410, 501])
def test_a_lasting_failure_is_not(served, path, status):
    thing = Thing(DATA, statuses=[status])
    with pytest.raises(FetchFailed, match=str(status)):
        fetch(served(thing), path)
    assert len(thing.requests) == 1


def test_a_server_is_waited_for_as_it_asks(served, path, monkeypatch):
    monkeypatch.setattr(fetching, 'LONGEST_PAUSE', 0.3)
    began = time.monotonic()
    fetch(served(Thing(DATA, statuses=[503], more={'Retry-After': '3600'})), path)
    assert 0.3 <= time.monotonic() - began < 5


def test_what_never_changes_is_resumed_without_a_version(served, path):
    thing = Thing(DATA, etag=None, cuts=[1_200_000])
    fetch(served(thing), path, expected=Expected('sha256', SHA256), constant=True)
    assert path.read_bytes() == DATA
    assert [request.get('range') for request in thing.requests] == [None, 'bytes=1200000-']
    assert 'if-range' not in thing.requests[1]
    # And begun anew where the server cannot.
    thing = Thing(DATA, etag=None, cuts=[1_200_000], after_cut=[lambda it: it.statuses.append(400)])
    fetch(served(thing), path, expected=Expected('sha256', SHA256), constant=True)
    assert path.read_bytes() == DATA
    assert [request.get('range') for request in thing.requests] == [
        None, 'bytes=1200000-', None,
    ]  # fmt: skip


# --- limits


@pytest.mark.parametrize('chunked', [False, True])
def test_too_large(served, path, chunked):
    bounds = Bounds(size=1_000_000, retries=3, pause=0.01)
    thing = Thing(DATA, chunked=chunked)
    with pytest.raises(LimitExceeded, match='1000000'):
        fetch(served(thing), path, bounds)
    assert len(thing.requests) == 1
    assert path.stat().st_size <= 1_000_000 + fetching.CHUNK


def test_a_server_that_trickles_is_given_up_in_time(served, path):
    thing = Thing(DATA, piece=10, pause=0.05)
    began = time.monotonic()
    with pytest.raises(FetchFailed, match='in 1 seconds'):
        fetch(served(thing), path, Bounds(seconds=1, retries=100, pause=0.01))
    assert time.monotonic() - began < 4


def test_a_server_that_fails_for_ever_is_given_up_in_time(served, path):
    thing = Thing(DATA, statuses=[503] * 10_000)
    with pytest.raises(FetchFailed, match='in 1 seconds'):
        fetch(served(thing), path, Bounds(seconds=1, retries=10_000, pause=0.2))


def test_silence_is_a_cut(served, path):
    thing = Thing(DATA, piece=len(DATA) // 2, pause=30)
    with pytest.raises(FetchFailed, match='ReadTimeout'):
        fetch(served(thing), path, Bounds(retries=0), read=0.3)


def test_whoever_listens_can_end_it(served, path):
    def gone(done, total):
        if done:
            raise Gone('The image was deleted')

    thing = Thing(DATA, piece=100_000, pause=0.3)
    with pytest.raises(Gone):
        fetch(served(thing), path, progress=gone)
    assert len(thing.requests) == 1


def test_progress_comes_with_the_total(served, path):
    told = []
    thing = Thing(DATA, piece=1_000_000, pause=0.6)
    fetch(served(thing), path, progress=lambda *at: told.append(at))
    assert len(told) > 2 and told[-1][1] == len(DATA)
    assert [at for at, _ in told] == sorted(at for at, _ in told)


# --- digests


def test_another_digest(served, path):
    with pytest.raises(Invalid, match='another sha256 digest'):
        fetch(served(Thing(DATA)), path, expected=Expected('sha256', '0' * 64))


@pytest.mark.parametrize(
    ('algorithm', 'value'),
    [('sha257', '0' * 64), ('sha256', '0' * 63), ('sha256', 'g' * 64), ('shake_128', ''),
     ('', ''), ('sha256', SHA256 + '\n'), ('\0', '')],
)  # fmt: skip
def test_digests_that_are_none(algorithm, value):
    with pytest.raises(Invalid):
        Expected(algorithm, value)


# --- after a process was killed


@pytest.fixture
def marks(monkeypatch):
    monkeypatch.setattr(fetching, 'EVERY', 1024 * 1024)
    return []


def test_another_process_carries_on_from_the_last_mark(served, path, marks):
    class Killed(BaseException):
        pass

    def kill(done, total):
        if len(marks) == 2:
            raise Killed

    thing = Thing(DATA, piece=500_000, pause=0.4)
    port = served(thing)
    with pytest.raises(Killed):
        fetch(port, path, marked=marks.append, progress=kill)
    assert marks[-1].version == '"one"' and marks[-1].total == len(DATA)
    # What lies behind the mark may be anything after the host has died.
    with open(path, 'r+b') as file:
        file.seek(marks[-1].offset)
        file.write(b'\0' * 1000)
    thing.pause = 0
    fetch(port, path, mark=marks[-1], expected=Expected('sha256', SHA256))
    assert path.read_bytes() == DATA
    assert thing.requests[-1]['range'] == f'bytes={marks[-1].offset}-'


@pytest.mark.parametrize(
    'mark',
    [None, Mark(), Mark(1000), Mark(10**12, '"one"', None), Mark(2000, '"one"', None)],
)
def test_a_mark_that_does_not_fit_begins_anew(served, path, mark):
    path.write_bytes(b'x' * 1500)
    thing = Thing(DATA)
    fetch(served(thing), path, mark=mark)
    assert path.read_bytes() == DATA and 'range' not in thing.requests[0]


def test_a_mark_of_another_version_begins_anew(served, path):
    path.write_bytes(b'x' * 5000)
    thing = Thing(DATA)
    fetch(served(thing), path, mark=Mark(5000, '"zero"', 9999), expected=Expected('sha256', SHA256))
    assert path.read_bytes() == DATA


def test_a_thing_that_became_shorter_begins_anew(served, path):
    path.write_bytes(b'x' * 5000)
    thing = Thing(b'short')
    fetch(served(thing), path, mark=Mark(5000, '"one"', 9999))
    assert path.read_bytes() == b'short'


def test_nothing_is_asked_for_when_all_is_there(served, path):
    path.write_bytes(DATA)
    thing = Thing(DATA)
    fetch(served(thing), path, mark=Mark(len(DATA), '"one"', len(DATA)))
    assert not thing.requests and path.read_bytes() == DATA


def test_empty(served, path):
    assert fetch(served(Thing(b'')), path).size == 0
    assert path.read_bytes() == b''


def test_its_file_cannot_be_written(served, tmp_path):
    with pytest.raises(OSError):
        fetch(served(Thing(DATA)), tmp_path / 'nowhere' / 'file')
    os.mkdir(tmp_path / 'directory')
    with pytest.raises(OSError):
        fetch(served(Thing(DATA)), tmp_path / 'directory')


# --- with a real server


@pytest.mark.peer
def test_nginx(tmp_path, path):
    with web.running(tmp_path / 'web') as server:
        server.put('data', DATA)
        rules = guard(*server.ports)
        path.write_bytes(DATA[:100_000])
        answer = rules.open('HEAD', server.http + '/data')
        version = answer.headers['etag']
        answer.close()
        mark = Mark(100_000, version, len(DATA))
        done = Fetch(rules, server.http + '/moved/data', path, QUICK, mark=mark).run()
        assert done.size == len(DATA) and path.read_bytes() == DATA
        assert '206' in server.requests()
        with pytest.raises(UrlRefused):
            Fetch(rules, server.http + '/to/?url=file:///etc/passwd', path, QUICK).run()
        # A header that is secret stays with the server that it is for.
        secret = {'Authorization': 'Basic dXNlcjpzZWNyZXQ='}
        Fetch(rules, server.http + '/secret/data', path, QUICK, secrets=lambda: secret).run()
        elsewhere = f'http://localhost:{server.ports[0]}/secret/data'
        with pytest.raises(FetchFailed, match='401'):
            Fetch(
                rules, f'{server.http}/to/?url={elsewhere}', path, QUICK, secrets=lambda: secret
            ).run()
