# SPDX-License-Identifier: Apache-2.0
"""Random sequences of operations by several identities, each answer compared with the model.

After every step: the status is the model's, never 5xx; the body is as its schema says; and there
is nothing in it of an image that the caller does not see.
"""

from __future__ import annotations

import urllib.parse
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests import sizes
from tests.api.harness import Answer
from tests.sequences import model
from tests.sequences.model import EVERYBODY, PROJECTS, VISIBILITIES, Image, Who, sees
from tests.sequences.service import Service, check_image

UNKNOWN = '99999999-2222-4333-8444-555555555555'
RUN = settings(
    max_examples=sizes.full(80, 500),
    stateful_step_count=sizes.full(40, 100),
    # The same sequences on every day; others each time in a full run.
    derandomize=not sizes.FULL,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

#: What a tag in a path may not have, or it is another path or a query.
NO_PATH = frozenset('/?\n')
#: Text that any database can keep, with what is special somewhere.
TEXTS = st.text(
    st.one_of(
        st.sampled_from('%_\'"\\&<>,;:=+?#/ \n'),
        st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=('Cs',)),
    ),
    max_size=8,
)
#: Whoever owns the image that is picked, so that enough is allowed to happen.
OWNER = Who('owner')
people = st.sampled_from(EVERYBODY)
askers = st.sampled_from((OWNER,) * len(EVERYBODY) + EVERYBODY)
owners = st.sampled_from(PROJECTS)
visibilities = st.sampled_from(VISIBILITIES)
names = st.sampled_from(('color', 'shape', 'hw:x~y'))
#: which image; the last one is none
NONE = 12
which = st.integers(0, NONE)


class Sequences(RuleBasedStateMachine):
    """What the API is asked, and what has come of it."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service
        self.images: list[Image] = []
        service.seeds.clear()

    # --- asking

    def ask(self, who: Who, method: str, path: str, body: Any = None) -> Answer:
        before = [one for one in self.images if sees(who, one)]
        answer = self.service.send(who, method, path, body)
        self.service.check_form(method, path, answer)
        sent = f'{urllib.parse.unquote(path)} {body}'
        self.service.check_secrets(sent, answer, before)
        return answer

    def pick(self, who: Who, number: int) -> tuple[Who, str, Image | None]:
        """(caller, path, image) of an image that there is or was, or of none."""
        image = None if number == NONE else self.images[number % len(self.images)]
        if who is OWNER:
            who = Who(image.owner) if image and image.owner else EVERYBODY[0]
        return who, f'/v2/images/{image.id if image else UNKNOWN}', image

    def everything(self, who: Who, path: str) -> list[dict[str, Any]]:
        """All pages of a list, two images each."""
        found: list[dict[str, Any]] = []
        next_page: str | None = path
        for _ in range(50):
            if next_page is None:
                return found
            answer = self.ask(who, 'GET', next_page)
            assert answer.status == 200, answer
            assert len(answer.json['images']) <= 2
            found += answer.json['images']
            next_page = answer.json.get('next')
        raise AssertionError('a list without an end')

    # --- images

    @initialize()
    def begin(self) -> None:
        """One of each kind, shared with somebody who has accepted and somebody who has not."""
        for owner, visibility in zip(('alpha', 'beta', 'gamma'), VISIBILITIES[:3], strict=True):
            self.create(Who(owner), owner, visibility, False, 'x', 'y')
        self.add_member(Who('beta'), 1, 'alpha')
        self.add_member(Who('beta'), 1, 'gamma')
        self.set_member(Who('alpha'), 1, 'alpha', 'accepted')
        self.upload(Who('beta'), 1, b'')

    @rule(who=people, owner=owners, visibility=visibilities, hidden=st.booleans(), text=TEXTS,
          tag=TEXTS)  # fmt: skip
    def create(
        self, who: Who, owner: str, visibility: str, hidden: bool, text: str, tag: str
    ) -> None:
        if len(self.images) > 4:
            return
        mark = f'mark{len(self.images)}x'
        body = {
            'id': str(uuid.uuid5(uuid.NAMESPACE_URL, mark)), 'owner': owner, 'name': mark + text,
            'visibility': visibility, 'os_hidden': hidden, 'tags': [mark + tag],
            'color': mark + text, 'disk_format': 'raw', 'container_format': 'bare',
        }  # fmt: skip
        answer = self.service.send(who, 'POST', '/v2/images', body)
        self.service.check_form('POST', '/v2/images', answer)
        assert answer.status == model.create(who, visibility, owner, False), answer
        if answer.status == 201:
            made = Image(answer.json['id'], mark, owner, visibility, hidden=hidden)
            made.name, made.properties, made.tags = (
                mark + text,
                {'color': mark + text},
                {mark + tag},
            )
            check_image(who, answer.json, made)
            self.images.append(made)

    @rule(who=askers, number=which)
    def create_with_a_taken_id(self, who: Who, number: int) -> None:
        who, _, image = self.pick(who, number)
        if image is not None:
            body = {'id': image.id, 'visibility': 'private'}
            answer = self.ask(who, 'POST', '/v2/images', body)
            assert answer.status == model.create(who, 'private', who.project, True), answer

    @rule(who=askers, number=which)
    def show(self, who: Who, number: int) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'GET', path)
        assert answer.status == (200 if sees(who, image) else 404), answer
        if answer.status == 200:
            assert image is not None
            check_image(who, answer.json, image)

    @rule(
        who=askers,
        number=which,
        text=TEXTS,
        fields=st.dictionaries(
            st.sampled_from(('name', 'visibility', 'protected', 'os_hidden', 'owner')),
            st.none(),
            max_size=2,
        ),
        visibility=visibilities,
        flag=st.booleans(),
        owner=st.sampled_from((*PROJECTS, None)),
        new=st.sets(names, max_size=2),
        gone=st.sets(names, max_size=1),
    )
    def update(self, who: Who, number: int, text: str, fields: dict[str, Any], visibility: str,
               flag: bool, owner: str | None, new: set[str], gone: set[str]) -> None:  # fmt: skip
        who, path, image = self.pick(who, number)
        value = (image.mark if image else '') + text
        values = {'name': value, 'visibility': visibility, 'protected': flag, 'os_hidden': flag,
                  'owner': owner}  # fmt: skip
        fields = {name: values[name] for name in fields}
        gone = gone - new
        steps: list[dict[str, Any]] = [
            {'op': 'replace', 'path': f'/{name}', 'value': said} for name, said in fields.items()
        ]
        steps += [{'op': 'add', 'path': _pointer(name), 'value': value} for name in sorted(new)]
        steps += [{'op': 'remove', 'path': _pointer(name)} for name in sorted(gone)]
        answer = self.ask(who, 'PATCH', path, steps)
        assert answer.status == model.update(who, image, fields, new, gone), answer
        if answer.status == 200:
            assert image is not None
            for name, said in fields.items():
                setattr(image, 'hidden' if name == 'os_hidden' else name, said)
            image.properties |= dict.fromkeys(new, value)
            for name in gone:
                del image.properties[name]
            check_image(who, answer.json, image)

    @rule(who=askers, number=which, sure=st.booleans())
    def delete(self, who: Who, number: int, sure: bool) -> None:
        if not sure:
            return  # else there would soon be nothing left
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'DELETE', path)
        assert answer.status == model.delete(who, image), answer
        if answer.status == 204:
            assert image is not None
            image.deleted, image.data = True, None

    @rule(who=askers, number=which, active=st.booleans())
    def set_active(self, who: Who, number: int, active: bool) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'POST', f'{path}/actions/{"re" if active else "de"}activate')
        assert answer.status == model.set_active(who, image), answer
        if answer.status == 204:
            assert image is not None
            image.status = 'active' if active else 'deactivated'

    # --- tags

    @rule(who=askers, number=which, tag=TEXTS)
    def add_tag(self, who: Who, number: int, tag: str) -> None:
        who, path, image = self.pick(who, number)
        tag = (image.mark if image else 'x') + ''.join(one for one in tag if one not in NO_PATH)
        answer = self.ask(who, 'PUT', f'{path}/tags/{tag}')
        expected = 403 if who.project is None else model.update(who, image, {}, set(), set())
        assert answer.status == (204 if expected == 200 else expected), answer
        if answer.status == 204:
            assert image is not None
            image.tags.add(tag)

    @rule(who=askers, number=which, number_of_tag=st.integers(0, 3))
    def remove_tag(self, who: Who, number: int, number_of_tag: int) -> None:
        who, path, image = self.pick(who, number)
        known = [tag for tag in sorted(image.tags if image else ()) if not NO_PATH & set(tag)]
        tag = known[number_of_tag] if number_of_tag < len(known) else 'nothing'
        answer = self.ask(who, 'DELETE', f'{path}/tags/{tag}')
        assert answer.status == model.remove_tag(who, image, tag), answer
        if answer.status == 204:
            assert image is not None
            image.tags.remove(tag)

    # --- data

    @rule(who=askers, number=which, data=st.binary(max_size=20))
    def upload(self, who: Who, number: int, data: bytes) -> None:
        who, path, image = self.pick(who, number)
        data = (image.mark.encode() if image else b'') + data
        answer = self.ask(who, 'PUT', path + '/file', data)
        assert answer.status == model.upload(who, image), answer
        if answer.status == 204:
            assert image is not None
            image.data, image.status = data, 'active'

    @rule(who=askers, number=which, method=st.sampled_from(('GET', 'HEAD')),
          query=st.sampled_from(('', '?prefer=fast', '?prefer=cheap')))  # fmt: skip
    def download(self, who: Who, number: int, method: str, query: str) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, method, f'{path}/file{query}')
        assert answer.status == model.download(who, image), answer
        if answer.status == 200 and method == 'GET':
            assert image is not None
            assert answer.body == image.data

    @rule(who=askers, number=which)
    def delete_from_its_store(self, who: Who, number: int) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'DELETE', path.replace('images', 'stores/fast'))
        assert answer.status == model.delete_from_store(who, image), answer

    # --- members

    @rule(who=askers, number=which)
    def list_members(self, who: Who, number: int) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'GET', path + '/members')
        assert answer.status == model.list_members(who, image), answer
        if answer.status == 200:
            assert image is not None
            found = {one['member_id']: one['status'] for one in answer.json['members']}
            seen = model.members_of(who, image)
            assert found == {name: image.members[name] for name in seen}

    @rule(who=askers, number=which, member=owners)
    def get_member(self, who: Who, number: int, member: str) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'GET', f'{path}/members/{member}')
        assert answer.status == model.get_member(who, image, member), answer
        if answer.status == 200:
            assert image is not None
            assert answer.json['status'] == image.members[member]

    @rule(who=askers, number=which, member=owners)
    def add_member(self, who: Who, number: int, member: str) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'POST', path + '/members', {'member': member})
        assert answer.status == model.add_member(who, image, member), answer
        if answer.status == 200:
            assert image is not None
            assert answer.json['status'] == 'pending'
            image.members[member] = 'pending'

    @rule(who=askers, number=which, member=owners,
          status=st.sampled_from(('accepted', 'rejected', 'pending')))  # fmt: skip
    def set_member(self, who: Who, number: int, member: str, status: str) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'PUT', f'{path}/members/{member}', {'status': status})
        assert answer.status == model.set_member(who, image, member), answer
        if answer.status == 200:
            assert image is not None
            image.members[member] = status

    @rule(who=askers, number=which, member=owners)
    def remove_member(self, who: Who, number: int, member: str) -> None:
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'DELETE', f'{path}/members/{member}')
        assert answer.status == model.remove_member(who, image, member), answer
        if answer.status == 204:
            assert image is not None
            del image.members[member]

    # --- lists

    @rule(
        who=people,
        visibility=st.sampled_from((None, 'all', *VISIBILITIES)),
        status=st.sampled_from((None, 'accepted', 'pending', 'rejected', 'all')),
        hidden=st.booleans(),
        sort=st.sampled_from(('', '&sort=name:asc', '&sort=size:desc,name', '&sort=status:asc')),
    )
    def list_images(
        self, who: Who, visibility: str | None, status: str | None, hidden: bool, sort: str
    ) -> None:
        path = f'/v2/images?limit=2&os_hidden={str(hidden).lower()}{sort}'
        path += f'&visibility={visibility}' if visibility else ''
        path += f'&member_status={status}' if status else ''
        if not who.reads:
            assert self.ask(who, 'GET', path).status == 403
            return
        found = self.everything(who, path)
        expected = model.listed(who, self.images, visibility, status or 'accepted', hidden)
        assert sorted(one['id'] for one in found) == sorted(expected)
        by_id = {image.id: image for image in self.images}
        for one in found:
            check_image(who, one, by_id[one['id']])

    @rule(who=askers, number=which, of=st.sampled_from(('name', 'color', 'tag', 'id', 'owner')))
    def search(self, who: Who, number: int, of: str) -> None:
        """By what one image has: nobody finds what he does not see."""
        who, _, image = self.pick(who, number)
        if image is None or not who.reads:
            return
        wanted = {
            'name': image.name, 'color': image.properties.get('color'), 'id': image.id,
            'tag': min(image.tags, default=None), 'owner': image.owner,
        }[of]  # fmt: skip
        if wanted is None:
            return
        query = urllib.parse.urlencode({of: f'in:"{_quoted(wanted)}"' if of == 'name' else wanted})
        found = self.everything(who, f'/v2/images?limit=2&visibility=all&{query}')
        ids = model.listed(who, self.images, 'all', 'accepted', False)
        having = {
            'name': lambda one: one.name == wanted,
            'color': lambda one: one.properties.get('color') == wanted,
            'id': lambda one: one.id == wanted,
            'tag': lambda one: wanted in one.tags,
            'owner': lambda one: one.owner == wanted,
        }[of]
        expected = {one.id for one in self.images if one.id in ids and having(one)}
        assert {one['id'] for one in found} == expected

    @rule(who=askers, number=which)
    def list_after(self, who: Who, number: int) -> None:
        """A marker that may not be seen is one that does not exist."""
        who, path, image = self.pick(who, number)
        answer = self.ask(who, 'GET', f'/v2/images?marker={path.rpartition("/")[2]}')
        expected = 403 if not who.reads else 200 if sees(who, image) else 400
        assert answer.status == expected, answer

    # --- at the end

    def teardown(self) -> None:
        """Everybody looks at everything, and the stores hold what images have and no more."""
        for who in EVERYBODY:
            for number in range(len(self.images)):
                self.show(who, number)
            for hidden in (False, True):
                self.list_images(who, 'all', 'all', hidden, '')
        kept = {f'fast/{one.id}' for one in self.images if one.data is not None}
        assert self.service.stored() == kept


def _pointer(name: str) -> str:
    return '/' + name.replace('~', '~0').replace('/', '~1')


def _quoted(text: str) -> str:
    return text.replace('\\', '\\\\').replace('"', '\\"')


@pytest.fixture(scope='module')
def service(tmp_path_factory):
    found = Service(tmp_path_factory.mktemp('sequences'))
    yield found
    found.close()


def test_random_sequences(service):
    run_state_machine_as_test(lambda: Sequences(service), settings=RUN)
    assert service.count > sizes.full(500, 50_000)
