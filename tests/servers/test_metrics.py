# SPDX-License-Identifier: Apache-2.0
"""Metrics of real processes: whichever worker is asked answers for all, the dead included."""

from __future__ import annotations

import functools
import os
import signal
import subprocess

import pytest
import requests
from prometheus_client import parser

from tests.backends import prometheus
from tests.servers import processes
from tests.servers.processes import until

#: Of an image: absent, so nothing is done but asking.
PATH = '/v2/images/5f3c2a1e-0000-4000-8000-000000000000'
LABELS = ('GET', '/v2/images/{image_id}', '4xx')


@pytest.fixture(params=processes.SERVERS)
def server(request, tmp_path):
    with processes.SERVERS[request.param](settings(tmp_path)) as server:
        yield server


def settings(directory):
    paste = directory / 'metrics-paste.ini'
    paste.write_text(
        processes.PASTE.read_text()
        .replace('pipeline = cors', 'pipeline = metrics cors')
        .replace('/run/glance/metrics', f'{directory}/metrics')
    )
    return processes.settings(directory, paste=paste)


def ask(server, count):
    """So many requests, each on a connection of its own: they go to any worker."""
    headers = {**processes.identity('alpha'), 'Connection': 'close'}
    for _ in range(count):
        assert requests.get(server.url + PATH, headers=headers, timeout=60).status_code == 404


def metrics(server):
    answer = requests.get(f'{server.url}/metrics', headers={'Connection': 'close'}, timeout=60)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def counted(server):
    return metrics(server).get(('glance_lite_requests_total', *LABELS), 0)


def check_counted(server, count):
    """Whoever is asked says so; a request is counted just after its answer has gone out."""
    until(lambda: counted(server) == count, f'{count} requests are counted')
    assert {counted(server) for _ in range(6)} == {count}


def replaced(server, dead):
    workers = server.workers()
    return len(workers) == 2 and dead not in workers


def test_every_worker_answers_for_all(server):
    ask(server, 40)
    check_counted(server, 40)
    found = metrics(server)
    seconds = 'glance_lite_request_duration_seconds_count'
    assert found[seconds, *LABELS[:2]] == 40
    operations = 'glance_lite_operation_duration_seconds_count'
    assert found[operations, 'get_image'] == 40


def test_a_worker_that_is_killed_leaves_its_counts(tmp_path):
    with processes.api(settings(tmp_path)) as server:
        ask(server, 30)
        check_counted(server, 30)  # or the last one may be lost with its worker
        for round_ in range(1, 3):
            dead = server.workers()[0]
            os.kill(dead, signal.SIGKILL)
            until(functools.partial(replaced, server, dead), 'another takes its place')
            ask(server, 30)
            check_counted(server, 30 + 30 * round_)
        files = {path.name for path in (tmp_path / 'metrics').glob('counter_*.db')}
        assert len(files) <= 3
        assert metrics(server)[('glance_lite_requests_in_progress',)] == 0


def test_a_new_generation_goes_on_counting(tmp_path):
    with processes.api(settings(tmp_path)) as server:
        ask(server, 20)
        check_counted(server, 20)
        before = server.workers()
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: not set(before) & set(server.workers()), 'the workers of before have ended')
        ask(server, 20)
        check_counted(server, 40)


def test_a_file_that_the_kernel_sends_is_counted(tmp_path):
    """And whoever is watched may still have it sent so."""
    data = os.urandom(3_000_000)
    with processes.api(settings(tmp_path)) as server:
        who = processes.identity('alpha')
        body = {'disk_format': 'raw', 'container_format': 'bare'}
        made = requests.post(f'{server.url}/v2/images', json=body, headers=who, timeout=60)
        url = f'{server.url}/v2/images/{made.json()["id"]}/file'
        octets = {**who, 'Content-Type': 'application/octet-stream'}
        assert requests.put(url, data=data, headers=octets, timeout=60).status_code == 204
        assert requests.get(url, headers=who, timeout=60).content == data
        route = '/v2/images/{image_id}/file'
        sent = ('glance_lite_sent_bytes_total', 'GET', route)
        until(lambda: metrics(server).get(sent), 'the download is counted')
        found = metrics(server)
        assert found[sent] == len(data)
        assert found['glance_lite_store_read_bytes_total', 'fast'] == len(data)
        assert found['glance_lite_store_written_bytes_total', 'fast'] == len(data)
        assert found['glance_lite_received_bytes_total', 'PUT', route] == len(data)


def test_a_real_prometheus(tmp_path):
    """It scrapes, and its own check finds nothing to complain of."""
    with processes.api(settings(tmp_path)) as server:
        ask(server, 25)
        text = requests.get(f'{server.url}/metrics', timeout=60).text
        promtool = prometheus.program('promtool')
        done = subprocess.run(
            [promtool, 'check', 'metrics'], input=text, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, '')
        address = server.url.removeprefix('http://')
        with prometheus.running(tmp_path / 'prometheus', address) as ask_prometheus:
            query = 'sum(glance_lite_requests_total{status="4xx"})'
            until(lambda: ask_prometheus(query) == [25.0], 'a scrape')
            assert ask_prometheus('up') == [1.0]
            assert ask_prometheus('sum(glance_lite_store_up)') == [2.0]
            quantile = 'histogram_quantile(0.9, glance_lite_request_duration_seconds_bucket)'
            assert all(0 < value < 600 for value in ask_prometheus(quantile))
