# SPDX-License-Identifier: Apache-2.0
"""What projects use, counted in rows: on every engine, after every write, beside a Glance."""

from __future__ import annotations

import datetime
import random
import sys
import uuid

import pytest
import sqlalchemy as sa

from glance_lite.db import images as image_rows
from glance_lite.db import riders, tables, usage
from glance_lite.db.rows import utcnow
from glance_lite.errors import Conflict, GlanceLiteError, LimitExceeded, Unavailable
from glance_lite.model import (
    Ceiling,
    Changes,
    Digests,
    ImageLimits,
    Location,
    MemberLimit,
    NewLocation,
    Relocation,
    Reservation,
    Usage,
)
from tests.backends.fixtures import context, make_layer
from tests.sizes import full
from tests.unit.db.helpers import Source, create, execute, fill, rows, set_row, stored
from tests.unit.db.test_operations import at_once

PROJECTS = ('alpha', 'beta', None)
ADMIN = context('operators', admin=True)


def row_of(db, project='alpha'):
    (row,) = rows(db, 'gl_usage', project=project or '')
    return row


def kept(db, project='alpha'):
    """What the project's row says, without looking at images."""
    row = row_of(db, project)
    return Usage(*(row[name] for name in usage.COUNTERS))


def truth(db, project='alpha'):
    total = db.database.read(lambda connection: usage._total(connection, project))
    return Usage(*(total[name] for name in usage.COUNTERS))


def told(db, project='alpha'):
    return db.count_usage(context(project), project)


def is_believed(db, project):
    """Whether the row is taken for right, and need not be counted anew."""

    def look(connection):
        row = connection.execute(usage._ROW, {'of': project or ''}).one()
        return usage._window(connection, row, project) is not None

    return db.database.read(look)


def begin(db, image, size=5, limit=1000, **more):
    """A claim of an upload, known size or not, with room reserved."""
    rider = Reservation(image.owner, size, limit)
    source = Source(size=size, count=size or 0, riders=(rider,), **more)
    return db.claim_upload(ADMIN, image.id, source, 'fast'), source


def claim_import(db, image, url='http://a.example/b'):
    riding = (Reservation(image.owner, None, 10**6),)
    db.claim_import(ADMIN, image.id, NewLocation(url, riders=riding), 'web')


# --- after every write


class Walk:
    """Does at random what layers may do with images; some of it is refused."""

    def __init__(self, db, seed):
        self.db = db
        self.random = random.Random(seed)
        self.images = []
        self.uploads = []
        self.imports = []
        self.deletes = []
        self.done = {}

    def step(self):
        names = [name for name in dir(self) if name.startswith('do_')]
        name = self.random.choice(names)
        if self.random.random() < 0.4:  # what has not succeeded so often
            fewest = min(self.done.get(one, 0) for one in names)
            name = self.random.choice([one for one in names if self.done.get(one, 0) == fewest])
        try:
            getattr(self, name)()
            self.done[name] = self.done.get(name, 0) + 1
        except IndexError:
            self.provide()  # there is nothing it could be done to
        except GlanceLiteError:
            self.done['refused'] = self.done.get('refused', 0) + 1

    def provide(self):
        """Something for each to be done to."""
        images = [create(self.db) for _ in range(4)]
        self.images += [image.id for image in images]
        self.uploads.append(begin(self.db, images[0], None, 10**6))
        claim_import(self.db, images[1])
        self.do_take_import()
        twice = fill(self.db, images[2])
        copy = Relocation((twice.locations[0].id,), (Location(0, 'rbd://copy', {}),))
        self.db.relocate(ADMIN, twice.id, Changes(), copy)
        fill(self.db, images[3])
        self.deletes.append(self.db.claim_delete(ADMIN, images[3].id))

    def pick(self, of=None):
        return self.random.choice(self.images if of is None else of)

    def take(self, of):
        found = self.pick(of)
        of.remove(found)
        return found

    def show(self, *statuses):
        """An image in one of these statuses if there is any, else any."""
        found = [row['id'] for row in rows(self.db, 'images') if row['status'] in statuses]
        return self.db.get_image(context('operators', admin=True), self.pick(found or None))

    def do_create(self):
        fields = {
            'owner': self.random.choice(PROJECTS),
            'id': str(uuid.UUID(int=self.random.getrandbits(128))),
        }
        if self.random.random() < 0.2:
            fields['disk_format'] = None
        properties = {'os_glance_importing_to_stores': self.random.choice(['', 'cheap'])}
        made = create(self.db, fields['owner'] or 'alpha', properties=properties, **fields)
        self.images.append(made.id)

    do_create_more = do_create

    def do_update(self):
        changes = self.random.choice(
            [
                Changes(fields={'name': 'new'}),
                Changes(add_tags=frozenset('t')),
                Changes(properties={'os_glance_importing_to_stores': 'fast'}),
                Changes(properties={'os_glance_importing_to_stores': ''}),
                Changes(remove=frozenset({'os_glance_importing_to_stores'})),
                Changes(fields={'name': 'x'}, expect=frozenset({'killed'})),
            ]
        )
        self.db.update_image(ADMIN, self.pick(), changes)

    def do_give_away(self):
        owner = self.random.choice(PROJECTS)
        self.db.update_image(ADMIN, self.pick(), Changes(fields={'owner': owner}))

    def do_deactivate(self):
        self.db.set_active(ADMIN, self.pick(), self.random.random() < 0.5)

    def do_claim(self):
        size = self.random.choice([None, 0, 7, 100])
        self.uploads.append(
            begin(self.db, self.show('queued'), size, self.random.choice([150, 10**6]))
        )

    do_claim_more = do_claim

    def do_extend(self):
        claim, source = self.pick(self.uploads)
        if source.size is None:
            source.count += 30
            self.db.extend_upload(ADMIN, claim, source)

    def do_commit(self):
        claim, source = self.take(self.uploads)
        self.db.confirm_upload(ADMIN, claim, source)
        self.db.commit_upload(ADMIN, claim, source, stored(source.count))

    do_commit_more = do_commit

    def do_abort(self):
        claim, source = self.take(self.uploads)
        left = self.db.abort_upload(ADMIN, claim, source, 'no')
        if left:
            self.db.end_operation(ADMIN, left)

    def do_sweep(self):
        claim, _ = self.pick(self.uploads)
        left = self.db.take_over(ADMIN, claim)
        if left:
            self.db.end_operation(ADMIN, left)

    def do_relocate(self):
        image = self.show('active', 'queued')
        there = [found.id for found in image.locations]
        gone = frozenset(there[: self.random.randrange(len(there) + 1)])
        new = [Location(0, f'rbd://{n}', {}) for n in range(self.random.randrange(3))]
        fields = {}
        if image.status == 'queued' and new:
            fields = {'status': 'active', 'size': 11}
        changes = Changes(fields=fields)
        plan = Relocation(tuple(there), tuple(new), drop=gone)
        if self.random.random() < 0.5:
            plan = Relocation(tuple(there), tuple(new), remove=gone)
        limit = self.random.choice([50, 10**6])
        claim = self.db.relocate(
            ADMIN, image.id, changes.riding(Reservation(image.owner, None, limit)), plan
        )
        if claim.serial:
            self.db.commit_delete(ADMIN, claim)

    do_relocate_more = do_relocate_and_more = do_relocate

    def do_take_off(self):
        copied = [row['image_id'] for row in rows(self.db, 'image_locations') if not row['deleted']]
        twice = [one for one in self.images if copied.count(one) > 1]
        image = self.db.get_image(context(admin=True), self.pick(twice))
        claim = self.db.claim_location(ADMIN, image.id, self.pick(image.locations).id)
        self.deletes.append(claim)

    def do_delete(self):
        claim = self.db.claim_delete(ADMIN, self.pick())
        if claim.serial:
            self.deletes.append(claim)

    def do_delete_later(self):
        self.db.defer_delete(ADMIN, self.pick())

    def do_scrub(self):
        claim = self.db.take_deferred(ADMIN, 0)
        if claim and claim.serial:
            self.deletes.append(claim)

    def do_bring_back(self):
        self.db.abort_delete(ADMIN, self.take(self.deletes))

    def do_remove(self):
        self.db.commit_delete(ADMIN, self.take(self.deletes))

    def do_register(self):
        claim_import(self.db, self.show('queued'))

    def do_take_import(self):
        taken = self.db.take_import(ADMIN)
        if taken:
            self.imports.append(taken)

    def do_place(self):
        number = self.imports.index(self.pick(self.imports))
        active = self.random.random() < 0.5
        self.imports[number] = self.db.place_import(
            ADMIN, self.imports[number], 13, active, 'sha512'
        )

    do_register_more, do_take_import_more, do_place_more = do_register, do_take_import, do_place

    def do_commit_import(self):
        self.db.commit_import(ADMIN, self.take(self.imports), Digests('c' * 32))

    def do_abort_import(self):
        self.db.abort_import(ADMIN, self.take(self.imports), 'no')


def test_counters_are_right_after_every_write(counting, caplog):
    """And known to be: nothing of ours is taken for a Glance's."""
    walk = Walk(counting, seed=4711)
    for project in PROJECTS:
        walk.images.append(create(counting, 'alpha', owner=project).id)
    first = {project: row_of(counting, project)['counted_at'] for project in PROJECTS}
    names = {name for name in dir(walk) if name.startswith('do_')}
    wanted = {name for name in names if not name.endswith('_more')}
    # Identifiers of images are not seeded, so that the walk is a different one each time; it goes
    # on until it has done everything.
    for number in range(10 * full(250, 3000)):
        if number >= full(250, 3000) and wanted <= walk.done.keys() and walk.done['refused'] > 10:
            break
        walk.step()
        promised = rows(counting, 'gl_reservations')
        for project in PROJECTS:
            assert kept(counting, project) == truth(counting, project), (number, walk.done)
            row = row_of(counting, project)
            mine = [one['amount'] for one in promised if one['project'] == (project or '')]
            assert row['reserved_size'] == sum(mine), (number, walk.done)
            if row['counted_at'] == first[project]:
                assert is_believed(counting, project), (number, walk.done)
    # A refusal counts, but what it has counted is as it was.
    assert 'recounted' not in caplog.text
    assert wanted <= walk.done.keys() and walk.done['refused'] > 10


def test_nothing_is_written_where_nobody_has_a_limit(db):
    fill(db, create(db))
    assert rows(db, 'gl_usage') == []


def test_counting_begins_when_a_limit_is_set(db, database_url):
    for _ in range(3):
        fill(db, create(db), 7)
    limited = make_layer(database_url, storage='1GB')
    try:
        create(limited)
        assert kept(limited) == Usage(21, 4)
        # It is switched off for a while, and others go on.
        fill(db, create(db), 9)
        create(limited)
        assert kept(limited) == Usage(30, 6) == told(limited)
    finally:
        limited.stop()


def test_what_counting_costs(db, counting):
    """Statements more than where nobody has a limit."""

    def sent(layer):
        found = []

        def on_execute(connection, cursor, statement, parameters, context, executemany):
            found.append(statement)

        image = create(layer)
        riding = (Reservation('alpha', 5, 10**9),) if layer is counting else ()
        source = Source(riders=riding)
        counts = []

        def count(function, *arguments):
            found.clear()
            result = function(*arguments)
            counts.append(len(found))
            return result

        sa.event.listen(layer.database.engine, 'before_cursor_execute', on_execute)
        try:
            count(layer.update_image, ADMIN, image.id, Changes(fields={'name': 'new'}))
            claim = count(layer.claim_upload, ADMIN, image.id, source, 'fast')
            count(layer.confirm_upload, ADMIN, claim, source)
            count(layer.commit_upload, ADMIN, claim, source, stored())
            count(layer.claim_delete, ADMIN, image.id)
        finally:
            sa.event.remove(layer.database.engine, 'before_cursor_execute', on_execute)
        return counts

    sent(counting), sent(db)  # what is done once is done
    more = [a - b for a, b in zip(sent(counting), sent(db), strict=True)]
    # The row, what has changed lately, the image after, the row; and what is reserved.
    # MariaDB does not see that an image was touched twice within a second.
    assert more[0] in (3, 4) and more[1:] == [4 + 2, 0, 5 + 2, 4]


# --- beside a Glance


def glance_adds(db, image, size=100):
    """As a Glance makes an image active, stamped within the same second as our last write."""
    (row,) = rows(db, 'images', id=image.id)
    stamp = row['updated_at'].replace(microsecond=0)
    set_row(db, image.id, status='active', size=size, updated_at=stamp)
    new = {'image_id': image.id, 'value': 'file:///of/glance', 'status': 'active'}
    times = {'created_at': stamp, 'updated_at': stamp, 'deleted': False, 'meta_data': '{}'}
    execute(db, sa.insert(tables.image_locations).values(**new, **times))


def test_a_glance_that_adds_is_noticed_at_once(counting, caplog):
    image, other = create(counting), create(counting)
    glance_adds(counting, image)
    assert kept(counting) == Usage(0, 2)
    assert told(counting) == Usage(100, 2)
    with pytest.raises(LimitExceeded, match='has 10 of 110 bytes left; the image needs 11'):
        begin(counting, other, 11, limit=110)
    begin(counting, other, 10, limit=110)
    assert kept(counting) == Usage(100, 2, 1)
    assert 'Usage of project alpha recounted: size 0 -> 100' in caplog.text


@pytest.mark.parametrize('what', ['creates', 'deletes', 'copies', 'stages'])
def test_a_glance_that_does_something_else_is_noticed(counting, what):
    image, other = fill(counting, create(counting), 30), create(counting)
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if what == 'creates':
        (row,) = rows(counting, 'images', id=other.id)
        new = {**row, 'id': 'of-a-glance', 'created_at': now, 'updated_at': now}
        execute(counting, sa.insert(tables.images).values(**new))
        wanted = Usage(30, 3)
    elif what == 'deletes':
        set_row(counting, image.id, status='deleted', deleted=True, updated_at=now)
        wanted = Usage(0, 1)
    elif what == 'copies':
        values = {'name': 'os_glance_importing_to_stores', 'value': 'cheap', 'image_id': image.id}
        times = {'created_at': now, 'updated_at': now, 'deleted': False}
        execute(counting, sa.insert(tables.image_properties).values(**values, **times))
        set_row(counting, image.id, updated_at=now)
        wanted = Usage(30, 2, 1, 30)
    else:
        set_row(counting, other.id, status='uploading', size=40, updated_at=now)
        wanted = Usage(30, 2, 1, 40)
    assert truth(counting) == wanted and kept(counting) != wanted
    assert told(counting) == wanted
    counting.update_image(context(), create(counting).id, Changes(fields={'name': 'x'}))
    assert kept(counting) == truth(counting)


def test_what_a_glance_gave_away_refuses_nobody(counting):
    """It leaves no trace at the project that had it."""
    image, other = fill(counting, create(counting), 100), create(counting)
    age_stamp(counting, image)
    set_row(counting, image.id, owner='beta')
    assert kept(counting) == Usage(100, 2)
    begin(counting, other, 100, limit=100)
    assert kept(counting) == Usage(0, 1, 1)


def age_stamp(db, image):
    """It was changed long ago, and is known to be as it is."""
    set_row(db, image.id, updated_at=datetime.datetime(2020, 1, 1))
    db.database.write(lambda connection: usage.recount(connection, image.owner))


def test_counters_are_not_believed_for_ever(counting):
    image = fill(counting, create(counting), 100)
    age_stamp(counting, image)
    set_row(counting, image.id, owner='beta')
    assert told(counting) == Usage(100, 1)
    an_hour_ago = row_of(counting)['counted_at'] - usage.BELIEVED
    execute(counting, sa.update(tables.usage).values(counted_at=an_hour_ago))
    assert told(counting) == Usage()
    create(counting)
    assert kept(counting) == Usage(0, 1)


def calls_of(function):
    """Python calls in this thread."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == 'call'

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize('engine_name', ['sqlite', 'postgresql'], indirect=True)
def test_a_write_costs_the_same_however_many_images_have_changed(counting):
    for _ in range(3):
        create(counting)
    few = min(calls_of(lambda: create(counting)) for _ in range(3))
    for _ in range(100):
        create(counting)
    assert min(calls_of(lambda: create(counting)) for _ in range(3)) <= few * 1.05


def test_a_glance_that_writes_in_the_middle_of_a_write_of_ours_is_found(counting, monkeypatch):
    """What it has written must not pass for what we have."""
    image = create(counting)
    look = usage._look

    def and_then(connection, *args, **kwargs):
        found = look(connection, *args, **kwargs)
        if not done:
            done.append(True)
            times = dict.fromkeys(('created_at', 'updated_at'), utcnow())
            row = {'id': str(uuid.uuid4()), 'owner': 'alpha', 'deleted': False, **times}
            connection.execute(sa.insert(tables.images), {**image_rows.DEFAULTS, **row})
        return found

    done = []
    monkeypatch.setattr(usage, '_look', and_then)
    create(counting)
    assert kept(counting).images == 2 and truth(counting).images == 3
    assert not is_believed(counting, image.owner)
    create(counting)
    assert kept(counting) == truth(counting) == Usage(0, 4)


def test_a_version_that_reserves_without_counting(counting):
    """The one before this: its reservations are rows, and it raises `changes`."""
    create(counting)
    execute(counting, sa.update(tables.usage).values(changes=tables.usage.c.changes + 1))
    old = sa.text("INSERT INTO gl_reservations (serial, project, amount) VALUES (99, 'alpha', 60)")
    execute(counting, old)
    image = create(counting)
    with pytest.raises(LimitExceeded, match='has 40 of 100 bytes left'):
        begin(counting, image, 41, limit=100)
    begin(counting, image, 40, limit=100)
    assert row_of(counting)['reserved_size'] == 100


# --- reservations


@pytest.mark.parametrize('size', [6, None])
def test_room_goes_from_reserved_to_used(counting, size):
    claim, source = begin(counting, create(counting), size, limit=10)
    assert row_of(counting)['reserved_size'] == (6 if size else 10)
    source.count = 6
    counting.confirm_upload(ADMIN, claim, source)
    counting.commit_upload(ADMIN, claim, source, stored(6))
    row = row_of(counting)
    assert (row['size'], row['reserved_size']) == (6, 0)
    begin(counting, create(counting), 4, limit=10)


def test_an_unknown_size_is_reserved_in_steps(counting, monkeypatch):
    monkeypatch.setattr(riders, 'STEP', 10)
    claim, source = begin(counting, create(counting), None, limit=25)
    assert claim.room == 10
    known, _ = begin(counting, create(counting), 3, limit=25)
    for count, room in ((11, 20), (20, 20), (21, 22), (22, 22)):
        source.count = count
        assert counting.extend_upload(ADMIN, claim, source) == room
        assert row_of(counting)['reserved_size'] == room + 3
    source.count = 23
    with pytest.raises(LimitExceeded, match='has 22 of 25 bytes left; the image needs 23'):
        counting.extend_upload(ADMIN, claim, source)
    with pytest.raises(LimitExceeded):
        counting.confirm_upload(ADMIN, claim, source)
    counting.abort_upload(ADMIN, known, Source(), 'no')
    assert counting.extend_upload(ADMIN, claim, source) == 25


def test_where_nothing_is_left_an_upload_of_unknown_size_begins_with_nothing(counting):
    begin(counting, create(counting), 10, limit=10)
    claim, source = begin(counting, create(counting), None, limit=10)
    assert claim.room == 0
    counting.confirm_upload(ADMIN, claim, source)  # empty, and so it fits
    source.count = 1
    with pytest.raises(LimitExceeded):
        counting.extend_upload(ADMIN, claim, source)


def test_an_upload_that_was_swept_gets_no_more_room(counting):
    claim, source = begin(counting, create(counting), None, limit=10)
    counting.take_over(ADMIN, claim)
    assert row_of(counting)['reserved_size'] == 0
    source.count = 20
    with pytest.raises(GlanceLiteError, match='given up'):
        counting.extend_upload(ADMIN, claim, source)


def test_staged_bytes_have_a_limit_of_their_own(counting):
    rider = Reservation('alpha', 8, 10, 'staged')
    for fits in (True, False):
        source = Source(size=8, riders=(rider, Reservation('alpha', 8, 100)))
        if fits:
            first = counting.claim_upload(ADMIN, create(counting).id, source, 'fast')
            continue
        with pytest.raises(LimitExceeded, match='2 of 10 bytes'):
            counting.claim_upload(ADMIN, create(counting).id, source, 'fast')
    row = row_of(counting)
    assert (row['reserved_staged'], row['reserved_size']) == (8, 8)
    counting.abort_upload(ADMIN, first, source, 'no')
    row = row_of(counting)
    assert (row['reserved_staged'], row['reserved_size']) == (0, 0)


@pytest.mark.parametrize('limits', ['counted', 'not counted'])
def test_of_many_at_once_as_many_get_in_as_fit(limits, counting, db):
    """Sizes that fill the limit in one way only: to the byte."""
    layer = counting if limits == 'counted' else db
    sizes = [3, 5, 7, 11, 13, 17, 19, 23] * full(2, 25)
    images = [create(layer) for _ in sizes]
    limit = sum(sizes) // 2 + 1

    def upload(number):
        size = sizes[number]
        claim, source = patiently(lambda: begin(layer, images[number], size, limit))
        patiently(lambda: layer.confirm_upload(ADMIN, claim, source))
        return patiently(lambda: layer.commit_upload(ADMIN, claim, source, stored(size))).size

    results = at_once(len(sizes), upload)
    errors = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(error, LimitExceeded) for error in errors), errors
    used = sum(result for result in results if not isinstance(result, Exception))
    assert used == truth(layer).size <= limit
    for size, result in zip(sizes, results, strict=True):
        # What is used only grows here, so who still fits now fitted then.
        assert isinstance(result, int) or used + size > limit
    if limits == 'counted':
        assert kept(layer).size == used and row_of(layer)['reserved_size'] == 0


def patiently(function):
    """SQLite has one writer at a time, and tells the last of very many to come again."""
    while True:
        try:
            return function()
        except Unavailable:
            continue


# --- how many


def test_as_many_images_as_the_limit(counting):
    ceiling = Ceiling('alpha', 'images', 5)
    change = Changes(fields={'name': 'x'}, riders=(ceiling,))
    results = at_once(8, lambda number: counting.create_image(context(), change))
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(refused) == 3
    assert all('5 images at most; this would make 6' in str(error) for error in refused)
    assert kept(counting) == Usage(0, 5)
    counting.claim_delete(ADMIN, rows(counting, 'images')[0]['id'])
    counting.create_image(context(), change)


def test_as_many_uploads_as_the_limit(counting):
    def claim(number):
        source = Source(riders=(Ceiling('alpha', 'uploading', 2),))
        return counting.claim_upload(ADMIN, images[number].id, source, 'fast')

    images = [create(counting) for _ in range(5)]
    results = at_once(5, claim)
    assert sum(isinstance(result, LimitExceeded) for result in results) == 3
    assert kept(counting).uploading == 2
    new = NewLocation('http://a.example/', riders=(Ceiling('alpha', 'uploading', 2),))
    with pytest.raises(LimitExceeded, match='uploaded or imported'):
        counting.claim_import(ADMIN, create(counting).id, new, 'web')
    claimed = next(result for result in results if not isinstance(result, Exception))
    counting.commit_upload(ADMIN, claimed, Source(), stored())
    counting.claim_import(ADMIN, create(counting).id, new, 'web')


def test_as_many_members_as_the_limit(db):
    image = create(db)

    def add(number):
        ctx = context()
        with ctx.riding(MemberLimit(3)):
            return db.add_member(ctx, image.id, f'm{number}')

    results = at_once(8, add)
    assert sum(isinstance(result, LimitExceeded) for result in results) == 5
    assert len(db.list_members(context(), image.id)) == 3


@pytest.mark.parametrize('what', ['tags', 'properties'])
def test_as_many_of_each_as_the_limit(what, db):
    image = create(db)
    riding = (ImageLimits(3, 3),)

    def add(number):
        if what == 'tags':
            changes = Changes(add_tags=frozenset({f't{number}'}), riders=riding)
        else:
            changes = Changes(properties={f'p{number}': 'x'}, riders=riding)
        return db.update_image(context(), image.id, changes)

    results = at_once(8, add)
    assert sum(isinstance(result, LimitExceeded) for result in results) == 5
    assert len(getattr(db.get_image(context(), image.id), what)) == 3


def test_a_conflict_counts_nothing(counting):
    image = create(counting)
    with pytest.raises(Conflict):
        counting.update_image(ADMIN, image.id, Changes(require=frozenset('a')))
    assert kept(counting) == Usage(0, 1)
