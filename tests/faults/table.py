# SPDX-License-Identifier: Apache-2.0
"""The table of failures: what a client is told, and what is left.

``tests/faults/test_table.py`` makes each of them happen, on real servers, stores and databases.
The page for operators has the same rows; after a change of this file it is written by::

    python -m tests.faults.table
"""

from __future__ import annotations

import dataclasses
import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[2] / 'doc' / 'source' / 'admin' / 'failures.rst'

ALL = ('api', 'uwsgi', 'gunicorn')


@dataclasses.dataclass(frozen=True)
class Row:
    """One situation. Texts are those of the documentation."""

    name: str
    situation: str
    #: status of the answer; None where there is nobody to answer
    answer: int | None
    #: status of the image afterwards, as the database has it
    status: str
    #: what the owner is told: a regular expression; None: nothing
    reason: str | None = None
    #: what is left in the stores of the image: files
    files: int = 0
    #: kinds of operation rows that are left until the cause is gone
    noted: tuple[str, ...] = ()
    #: what comes of the next upload, or of the next delete, when the cause is gone
    next: int = 204
    #: servers it is tried under
    servers: tuple[str, ...] = ALL
    #: what else an operator should know
    remark: str = ''

    def cells(self) -> tuple[str, ...]:
        """The row of the documentation."""
        told = '; the owner is told why' if self.reason else ''
        left = []
        if self.files:
            left.append('the data' if self.status == 'active' else 'bytes, removed later')
        if self.noted:
            left.append('a row in ``gl_operations``, which is swept')
        return (
            f'{self.situation}. {self.remark}'.strip(),
            f'{self.answer}' if self.answer else 'none',
            f'``{self.status}``{told}',
            ' and '.join(left) or 'nothing',
            {204: 'works', 404: '404', 409: '409, it has its data'}[self.next],
        )


def of(*rows: Row) -> dict[str, Row]:
    return {row.name: row for row in rows}


CUT = r'broke off|were declared and'

#: While data is sent.
UPLOADS = of(
    Row('disk-full', 'The file system of the store is full', 413, 'queued', 'full'),
    Row(
        'file-limit',
        'The file would be larger than the process may write (``ulimit -f``)',
        413, 'queued', 'full',
    ),
    Row('read-only', 'The file system of the store is read-only', 410, 'queued', 'takes no data'),
    Row(
        'denied',
        'The directory of the store may not be written to',
        503, 'queued', 'cannot be written to',
    ),
    Row('vanished', 'The directory of the store has vanished', 503, 'queued', 'failed|gone'),
    Row(
        'vanishes',
        'The directory of the store vanishes while data is sent',
        503, 'queued', 'failed',
    ),
    Row(
        'too-large',
        'More data than ``image_size_cap``, in chunks, so that nobody knew before',
        413, 'queued', 'at most',
    ),
    Row('mismatch', 'The data is not of the ``disk_format``', 415, 'queued', 'qcow2'),
    Row(
        'deleted',
        'The image is deleted by somebody else meanwhile',
        410, 'deleted', next=404,
    ),
    Row(
        'second-upload',
        'A second client uploads to the same image meanwhile: the answer to the second',
        409, 'active', files=1, next=409,
        remark='The first one goes on and succeeds.',
    ),
    Row(
        'declared-more',
        'Fewer bytes than ``x-openstack-image-size`` declared, in chunks',
        400, 'queued', 'were declared and',
    ),
    Row(
        'declared-less',
        'More bytes than ``x-openstack-image-size`` declared, in chunks',
        400, 'queued', 'declared',
    ),
    Row(
        'beyond-length',
        'More bytes than ``Content-Length``',
        204, 'active', files=1, next=409,
        remark='What follows is not read, or taken for another request and refused.',
    ),
    Row(
        'stops-sending',
        'The client stops sending and stays',
        400, 'queued', CUT,
        servers=('api', 'uwsgi'),
        remark='It is given up after ``client_socket_timeout`` (uWSGI: ``socket-timeout``); '
        'gunicorn waits for as long as the connection lasts.',
    ),
    Row(
        'trickle',
        '100 clients send a byte now and then, and another one uploads beside them',
        204, 'active', files=1, next=409,
        servers=('api',),
        remark='Theirs succeed as well. Under uWSGI and gunicorn each of them takes a thread: a '
        'proxy that reads requests whole must stand in front.',
    ),
    Row(
        'cut',
        'The client goes away at the first, a middle or the last byte, sized or in chunks, with '
        'or without a farewell (FIN, RST)',
        None, 'queued', CUT,
    ),
)  # fmt: skip

#: While an image is deleted.
DELETES = of(
    Row(
        'delete-read-only',
        'An image is deleted and its store is read-only',
        204, 'deleted', files=1, noted=('delete',), next=404,
    ),
    Row(
        'delete-vanished',
        'An image is deleted and the directory of its store has vanished',
        204, 'deleted', files=1, noted=('delete',), next=404,
    ),
)  # fmt: skip

#: The database, while data is sent. Tried under glance-lite-api.
DATABASE = of(
    Row(
        'database-frozen',
        'The database does not answer for 30 seconds, and then goes on',
        204, 'active', files=1, next=409,
        servers=('api',),
        remark='The upload waits.',
    ),
    Row(
        'database-back',
        'The database is stopped for 30 seconds, and back before the last byte',
        204, 'active', files=1, next=409,
        servers=('api',),
    ),
    Row(
        'database-away',
        'The database is stopped, and still away at the last byte',
        503, 'queued', 'silent for too long',
        servers=('api',),
        remark='It is ``saving`` until the database is back and ``operation_expiry`` is over.',
    ),
)  # fmt: skip

HEAD = ('What happens', 'Answer', 'The image', 'What is left', 'The next upload, the cause gone')
BEGIN, END = '.. table of failures\n', '.. end of the table\n'


def lines() -> str:
    """The table of the documentation."""
    found = ['.. list-table::', '   :header-rows: 1', '   :widths: 40 10 20 20 10', '']
    rows = [row.cells() for part in (UPLOADS, DELETES, DATABASE) for row in part.values()]
    for row in (HEAD, *rows):
        for number, cell in enumerate(row):
            found.append(f'   {" " if number else "*"} - {cell}')
    return '\n'.join(found) + '\n'


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f'{before}{BEGIN}\n{lines()}\n{END}{after}'


if __name__ == '__main__':
    PAGE.write_text(page(PAGE.read_text()))
