# SPDX-License-Identifier: Apache-2.0
"""Every layer of ours against the kit, and the kit against layers that are wrong."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types
import uuid

import pytest
from oslo_config import cfg

from glance_lite import plugins
from glance_lite.db import admin
from glance_lite.errors import Forbidden, Invalid
from glance_lite.imports.jobs import Progress, Step
from glance_lite.layer import Layer, Metric
from glance_lite.layers.auth import Auth
from glance_lite.layers.db import Database
from glance_lite.layers.encryption_keys import KEY, POLICY
from glance_lite.layers.location import Locations
from glance_lite.layers.notifier import Notifier
from glance_lite.layers.policy import Policy
from glance_lite.layers.property_protection import PropertyProtection
from glance_lite.layers.quota import Quota
from glance_lite.metadefs.operations import MetadefOperations
from glance_lite.model import Changes, Digests, Location, NewLocation, Relocation, Stored
from glance_lite.tasks import NewTask
from glance_lite.testing.faults import Faults
from glance_lite.testing.layers import DATA, LayerConformance, caller, make_parts, make_upload
from glance_lite.testing.metadefs import make_namespace
from tests import signing
from tests.backends import keystone, vendor
from tests.backends.fixtures import make_conf

ROOT = pathlib.Path(__file__).resolve().parents[2]


class TestAuth(LayerConformance):
    layer = Auth


class TestAuthWithKeys(LayerConformance):
    """Every image says that its key ends with it, and the key manager is away."""

    layer = Auth
    configuration = '[barbican]\nauth_endpoint = http://127.0.0.1:9\n'

    @pytest.fixture(autouse=True)
    def _encrypted(self, _linked):
        properties = {KEY: str(uuid.uuid4()), POLICY: 'on_image_deletion'}
        answer = self.inner.answer

        def answer_encrypted(name, ctx, *args):
            found = answer(name, ctx, *args)
            return found.replace(properties=properties) if name == 'peek' else found

        self.inner.answer = answer_encrypted


OPERATOR = ROOT / 'tests' / 'peers' / 'operator'


def with_files_of_an_operator(directory, text=''):
    """Parts with the policy files that Glance 33 is compared on."""
    shutil.copytree(OPERATOR, directory, dirs_exist_ok=True)
    return make_parts(directory, text)


class TestPropertyProtection(LayerConformance):
    layer = PropertyProtection

    @pytest.fixture(params=['roles', 'policies'])
    def parts(self, tmp_path, request):
        return with_files_of_an_operator(
            tmp_path,
            f'[DEFAULT]\nproperty_protection_file = protections-{request.param}.conf\n'
            f'property_protection_rule_format = {request.param}\n',
        )


class TestPropertyProtectionOfAll(LayerConformance):
    """Nobody but administrators sees the properties of the kit's images."""

    layer = PropertyProtection

    @pytest.fixture
    def parts(self, tmp_path):
        file = tmp_path / 'protections.conf'
        everyone = 'create = @\nread = @\nupdate = @\ndelete = @\n'
        file.write_text(f'[^os_]\n{everyone.replace("@", "admin")}[.*]\n{everyone}')
        return make_parts(tmp_path, f'[DEFAULT]\nproperty_protection_file = {file}\n')


class TestNotifier(LayerConformance):
    layer = Notifier
    configuration = '[oslo_messaging_notifications]\ndriver = test\ntransport_url = fake://\n'


class TestPolicy(LayerConformance):
    layer = Policy


class TestPolicyOfAnOperator(LayerConformance):
    layer = Policy

    @pytest.fixture
    def parts(self, tmp_path):
        return with_files_of_an_operator(tmp_path)


class TestQuota(LayerConformance):
    layer = Quota
    configuration = '[DEFAULT]\nuser_storage_quota = 1GB\n'


UNIFIED = """
[DEFAULT]
use_keystone_limits = true
image_size_cap = 1000000000
image_property_quota = 20
image_tag_quota = 20
image_member_quota = 20
image_location_quota = 20
"""


class TestUnifiedQuota(LayerConformance):
    """With all of it configured, the limits of a real Keystone included."""

    layer = Quota

    @pytest.fixture
    def parts(self, tmp_path):
        region = keystone.cloud().region()
        names = ('image_size_total', 'image_stage_total')
        region.register(**dict.fromkeys(names, 1000), image_count_total=50, image_count_uploading=9)
        file = tmp_path / 'oslo_limit.conf'
        file.write_text(region.oslo_limit(region.serves('http://image.example/')))
        # oslo.limit reads no other one.
        cfg.CONF(['--config-file', str(file)], project='glance', default_config_files=[])
        try:
            yield make_parts(tmp_path, UNIFIED + file.read_text())
        finally:
            cfg.CONF.reset()


#: Operations that want data to be there.
READING = (
    'download', 'delete_image', 'delete_from_store', 'import_next', 'copy_data', 'verify_data',
    'remove_copy',
)  # fmt: skip


class TestLocation(LayerConformance):
    """The recorder plays the database; bytes go to a real store and come from it."""

    layer = Locations

    def arguments(self, name, image_id):
        if name in READING:
            driver = self.given.gateway.stores['ram'].driver
            driver.add(image_id, io.BytesIO(DATA), len(DATA))
        return super().arguments(name, image_id)


class TestLocationSigned(TestLocation):
    """Every image that takes data is signed, and the signature is good."""

    @pytest.fixture
    def parts(self, tmp_path):
        key = signing.key('ECC_SECP384R1')
        (tmp_path / 'mine.pem').write_bytes(signing.selfsigned(key).pem)
        text = f'certificate_manager = directory\ncertificates_directory = {tmp_path}\n'
        return make_parts(tmp_path, f'[image_signatures]\n{text}')

    @pytest.fixture(autouse=True)
    def _signed(self, _linked):
        kind = 'ECC_SECP384R1'
        signed = signing.properties(signing.key(kind), kind, 'SHA-256', 'mine', DATA)
        answer = self.inner.answer

        def answer_signed(name, ctx, *args):
            found = answer(name, ctx, *args)
            if name == 'claim_upload':
                found = dataclasses.replace(found, image=found.image.replace(properties=signed))
            return found

        self.inner.answer = answer_signed

    def test_data_that_was_not_signed_is_refused(self):
        ctx, image_id = self.callers()[0], str(uuid.uuid4())
        self.chain.outer.upload(ctx, image_id, make_upload(), 'ram')
        with pytest.raises(Invalid, match='not a signature of this data'):
            self.chain.outer.upload(ctx, image_id, make_upload(DATA[1:]), 'ram')
        assert self.inner.names()[-2:] == ['abort_upload', 'end_operation']


class TestLocationWithEverything(TestLocation):
    """Deletes are put off, stores are told who reads, and the strategy is another one."""

    configuration = """
[DEFAULT]
enabled_backends = ram:acl,spare:memory
delayed_delete = true
location_strategy = store_type
metadata_encryption_key = 0123456789abcdef
[store_type_location_strategy]
store_type_preference = acl, file
"""

    @pytest.fixture
    def parts(self, tmp_path, monkeypatch):
        path = {'acl': 'tests.unit.layers.acl_store:AclStore'}
        vendor.install(monkeypatch, tmp_path / 'site', plugins.STORES, path)
        return make_parts(tmp_path, self.configuration)


OWNER = caller('alpha', 'admin', 'member', 'reader')


class TestDatabase(LayerConformance):
    """It ends every operation, on a real SQLite file; so each case needs rows of its own."""

    key: str | None = None

    @pytest.fixture
    def layer(self, tmp_path):
        conf = make_conf(f'sqlite:///{tmp_path}/glance.sqlite', key=self.key)
        admin.sync(conf)
        return Database(types.SimpleNamespace(conf=conf))

    def arguments(self, name, image_id):
        if name == 'create_image':
            return (Changes(fields={'id': image_id}),)
        if hasattr(MetadefOperations, name):
            if name != 'create_namespace':
                self.subject.create_namespace(OWNER, make_namespace(image_id))
            return super().arguments(name, image_id)
        self.image(image_id)
        if name in ('get_member', 'update_member', 'remove_member'):
            self.subject.add_member(OWNER, image_id, 'beta')
        prepare = getattr(self, f'for_{name}', None)
        return prepare(image_id) if prepare else super().arguments(name, image_id)

    def image(self, image_id):
        fields = {'id': image_id, 'disk_format': 'raw', 'container_format': 'bare'}
        self.subject.create_image(OWNER, Changes(fields=fields))

    def claim(self, image_id):
        source = make_upload()
        return self.subject.claim_upload(OWNER, image_id, source, 'ram'), source

    def fill(self, image_id):
        claim, source = self.claim(image_id)
        stored = Stored(f'memory://ram/{image_id}', 'ram', 5, 'c' * 32, 'sha512', 'a' * 128)
        self.subject.commit_upload(OWNER, claim, source, stored)

    def for_set_active(self, image_id):
        self.fill(image_id)
        return image_id, False

    def for_confirm_upload(self, image_id):
        return self.claim(image_id)

    def for_commit_upload(self, image_id):
        stored = Stored(f'memory://ram/{image_id}', 'ram', 5, 'c' * 32, 'sha512', 'a' * 128)
        return *self.claim(image_id), stored

    def for_abort_upload(self, image_id):
        return *self.claim(image_id), 'broken off'

    def for_take_over(self, image_id):
        return (self.claim(image_id)[0],)

    for_end_operation = for_take_over

    def for_commit_stage(self, image_id):
        source = make_upload()
        claim = self.subject.claim_stage(OWNER, image_id, source, 'os_glance_staging_store')
        return claim, source, Stored(f'file:///staging/{image_id}', None, 5)

    def for_claim_job(self, image_id):
        self.fill(image_id)
        return super().arguments('claim_job', image_id)

    def for_take_job(self, image_id):
        return (self.subject.claim_job(OWNER, *self.for_claim_job(image_id)),)

    def job(self, image_id):
        return self.subject.take_job(OWNER, *self.for_take_job(image_id))

    def for_tell_job(self, image_id):
        return self.job(image_id), Progress(50, 'fetch')

    def for_finish_step(self, image_id):
        return self.job(image_id), Step('fetch', 'a file', 5)

    def for_claim_part(self, image_id):
        return self.job(image_id), 'spare'

    def for_commit_part(self, image_id):
        job = self.job(image_id)
        stored = Stored(f'memory://spare/{image_id}', 'spare', 5, None, 'sha512', 'a' * 128)
        return job, self.subject.claim_part(OWNER, job, 'spare'), stored

    def for_fail_part(self, image_id):
        return self.job(image_id), 'spare', 'full'

    def for_commit_job(self, image_id):
        return (self.job(image_id),)

    def for_abort_job(self, image_id):
        return self.job(image_id), 'full'

    def for_relocate(self, image_id):
        self.fill(image_id)
        (there,) = self.subject.get_image(OWNER, image_id).locations
        new = Location(0, f'memory://ram/other-{image_id}', {'store': 'ram'})
        return image_id, Changes(), Relocation((there.id,), (new,), remove=frozenset({there.id}))

    def for_take_import(self, image_id):
        new = NewLocation(f'memory://ram/{image_id}', {'store': 'ram'})
        # Each of a project of its own: of one project two are under way at a time.
        somebody = caller(image_id, 'admin', 'member', 'reader')
        self.subject.claim_import(somebody, image_id, new, 'ram')
        return ()

    def imported(self, image_id):
        self.for_take_import(image_id)
        claim = self.subject.take_import(OWNER)
        while claim.image_id != image_id:  # those of other cases wait as well
            claim = self.subject.take_import(OWNER)
        return claim

    def for_place_import(self, image_id):
        return self.imported(image_id), 5, True, 'sha512'

    def for_is_held(self, image_id):
        return (self.imported(image_id),)

    def for_commit_import(self, image_id):
        claim = self.subject.place_import(OWNER, self.imported(image_id), 5, False, 'sha512')
        return claim, Digests('c' * 32, 'sha512', 'a' * 128)

    def for_abort_import(self, image_id):
        claim = self.subject.place_import(OWNER, self.imported(image_id), 5, False, 'sha512')
        return claim, 'broken off'

    def for_commit_delete(self, image_id):
        self.fill(image_id)
        return (self.subject.claim_delete(OWNER, image_id),)

    for_abort_delete = for_commit_delete

    def for_take_deferred(self, image_id):
        self.fill(image_id)
        self.subject.defer_delete(OWNER, image_id)
        return (0.0,)

    def for_get_task(self, image_id):
        return (self.subject.create_task(OWNER, NewTask('import', {})).id,)


class TestDatabaseWithAKey(TestDatabase):
    """Urls of locations are encrypted."""

    key = '0123456789abcdef'


class TestFaults(LayerConformance):
    """Between others, with a fault that changes nothing."""

    layer = Faults
    configuration = '[faults]\nfault = before upload every delay 0\n'


# --- the kit itself: for each case, a layer that must fail it


class Wrong(Layer):
    name = 'wrong'


class CallsTwice(Wrong):
    def delete_image(self, ctx, image_id):
        self.next.delete_image(ctx, image_id)
        self.next.delete_image(ctx, image_id)


class TriesAgain(Wrong):
    def delete_image(self, ctx, image_id):
        try:
            self.next.delete_image(ctx, image_id)
        except Exception:
            self.next.delete_image(ctx, image_id)


class RefusesAfterwards(Wrong):
    def delete_image(self, ctx, image_id):
        self.next.delete_image(ctx, image_id)
        if not ctx.is_admin:
            raise Forbidden('too late')


class ReadsAfterwards(Wrong):
    def delete_image(self, ctx, image_id):
        self.next.delete_image(ctx, image_id)
        self.next.peek(ctx, image_id)


class KeepsTheCaller(Wrong):
    def delete_image(self, ctx, image_id):
        self.ctx = ctx
        self.next.peek(ctx, image_id)
        self.next.delete_image(self.ctx, image_id)


class Counts(Wrong):
    def __init__(self, parts):
        self.seen = []

    def get_image(self, ctx, image_id):
        self.seen.append(image_id)
        return self.next.get_image(ctx, image_id)


class GivesSomethingElse(Wrong):
    def get_image(self, ctx, image_id):
        return vars(self.next.get_image(ctx, image_id))


class HasADefault(Wrong):
    def set_active(self, ctx, image_id, active=True):
        return self.next.set_active(ctx, image_id, active)


class DoesNothing(Wrong):
    pass


class HasASlip(Wrong):
    def update_images(self, ctx, image_id, changes):
        raise Forbidden('nobody ever calls this')


class RaisesSomethingElse(Wrong):
    def get_image(self, ctx, image_id):
        return {}[image_id]


class OpensOnce(Wrong):
    opened = False

    def start(self):
        assert not self.opened
        self.opened = True

    def get_image(self, ctx, image_id):
        return self.next.get_image(ctx, image_id)


class CountsBadly(Wrong):
    def get_image(self, ctx, image_id):
        return self.next.get_image(ctx, image_id)

    def metrics(self):
        yield Metric('acme_things', 'Things.', 1, {'number': 7})


class CountsTwice(Wrong):
    def get_image(self, ctx, image_id):
        return self.next.get_image(ctx, image_id)

    def metrics(self):
        return [Metric('acme_things', 'Things.', 1)] * 2


class Right(Layer):
    """Decides on the image, changes what goes down and what comes up."""

    def update_image(self, ctx, image_id, changes):
        if self.next.peek(ctx, image_id).protected or ctx.read_only:
            raise Forbidden('not this one')
        fields = {**changes.fields, 'min_disk': 1}
        image = self.next.update_image(ctx, image_id, dataclasses.replace(changes, fields=fields))
        return image.replace(tags=())

    def metrics(self):
        yield Metric('acme_refusals_total', 'Changes that were refused.', 0, {'why': 'protected'})
        yield Metric('acme_refusals_total', 'Changes that were refused.', 0, {'why': 'anonymous'})


WRONG = [kind.__name__ for kind in (*Wrong.__subclasses__(), Right)]


@pytest.mark.parametrize(
    ('wrong', 'case'),
    [
        (CallsTwice, 'test_a_write_goes_on_once_at_most'),
        (TriesAgain, 'test_a_write_that_fails_is_not_tried_again'),
        (RefusesAfterwards, 'test_who_refuses_changes_nothing'),
        (ReadsAfterwards, 'test_a_read_that_fails_stops_the_write'),
        (KeepsTheCaller, 'test_nothing_of_a_request_stays_on_the_layer'),
        (KeepsTheCaller, 'test_several_threads_do_not_meet'),
        (Counts, 'test_nothing_of_a_request_stays_on_the_layer'),
        (GivesSomethingElse, 'test_results_are_of_the_operations_kind'),
        (HasADefault, 'test_signatures_are_the_operations_own'),
        (DoesNothing, 'test_it_acts_on_something'),
        (HasASlip, 'test_no_name_is_nearly_that_of_an_operation'),
        (RaisesSomethingElse, 'test_results_are_of_the_operations_kind'),
        (OpensOnce, 'test_it_may_be_started_again'),
        (CountsBadly, 'test_metrics_are_well_formed'),
        (CountsTwice, 'test_metrics_are_well_formed'),
    ],
)
def test_the_kit_finds_a_layer_that_is_wrong(failed, wrong, case):
    assert case in failed[wrong.__name__]


def test_the_kit_passes_a_layer_that_is_right(failed):
    assert failed['Right'] == set()


@pytest.mark.parametrize(
    'said',
    [
        'GivesSomethingElse: get_image gave a dict, and not Image',
        'HasADefault: it has set_active(ctx, image_id, active=True), and not set_active(ctx, ',
        'HasASlip: update_images is no operation; is update_image meant?',
        'RaisesSomethingElse: get_image raised KeyError: ',
        'CountsBadly: number of acme_things is 7, and no text',
        'CountsTwice: acme_things is there twice: {}',
        "CallsTwice: delete_image called {'delete_image'} of the next layer more than once",
        'DoesNothing: a layer that overrides nothing does nothing',
    ],
)
def test_the_kit_says_what_is_wrong(told, said):
    """To somebody who has never seen it."""
    layer, _, words = said.partition(': ')
    assert words in told[layer], told[layer]


@pytest.fixture(scope='module')
def told(done):
    """Name of a layer of this module -> all that is said of it."""
    parts = re.split(r'^_+ Test(\w+)\.\w+ _+$', done.stdout, flags=re.M)[1:]
    found = {}
    for layer, text in zip(parts[::2], parts[1::2], strict=True):
        found[layer] = found.get(layer, '') + text
    return found


@pytest.fixture(scope='module')
def failed(done):
    """Name of a layer of this module -> names of the cases it fails."""
    found = re.findall(r'^FAILED \S+::Test(\w+)::(\w+)', done.stdout, re.M)
    return {name: {case for layer, case in found if layer == name} for name in WRONG}


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """A run of the kit on all that are wrong, and the one that is right."""
    file = tmp_path_factory.mktemp('kit') / 'test_wrong.py'
    file.write_text(
        'from glance_lite.testing.layers import LayerConformance\n'
        f'from {__name__} import {", ".join(WRONG)}\n'
        + ''.join(f'class Test{name}(LayerConformance): layer = {name}\n' for name in WRONG)
    )
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-rf', '-p', 'no:cacheprovider', file],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done
