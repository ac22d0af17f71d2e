"""Arguments are taken by value: what a subclass of theirs says of itself does not count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from capsule_registry import (
    CapsuleId,
    CapsuleManifest,
    CapsuleRegistry,
    CapsuleState,
    DecisionReason,
    InvalidTextError,
    InvalidUuidError,
    RegistryAdmin,
    StaleGenerationError,
    UplinkId,
)
from support.factories import make_manifest, make_text, make_uplink
from support.two_faced import of_another_text, of_two_faced_number, two_faced

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA, BETA, OTHER = (UUID(int=number << 64 | 5) for number in (0xA, 0xB, 0xC))
FACES = [two_faced, of_two_faced_number, of_another_text]
THEN = datetime(2029, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _registered(registry: CapsuleRegistry) -> None:
    """Two capsules, of which only alpha is granted anything, each with a UUID and an uplink."""
    alpha = make_manifest(
        "alpha",
        capabilities={"kv": ["key"], "net": ["good.com"]},
        tools=[{"name": "hammer", "description": "", "input_schema": {}}],
        dependencies={"provides": ["topic:a.b"]},
        interceptors=[{"event": "x.y", "action": "run"}],
    )
    registry.register(alpha, uuids=[ALPHA])
    registry.register(make_manifest("beta"), uuids=[BETA])
    registry.register_uplink("alpha", make_uplink(id=UplinkId(int=1), platform="telegram"))
    registry.register_uplink("beta", make_uplink(id=UplinkId(int=2)))
    registry.set_state("beta", "failed", "broken")


def assert_owners(registry: CapsuleRegistry, **others: UUID) -> None:
    """Assert that each UUID still belongs to its capsule, and that alpha's alone is allowed."""
    for _ in ("read", "remembered"):
        for owner, uuid in {"alpha": ALPHA, "beta": BETA, **others}.items():
            assert (owner, owner == "alpha") == (
                registry.find_by_uuid(uuid),
                registry.is_allowed(uuid, "kv", "key"),
            )


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_uuid_of_two_faces_is_the_one_that_it_holds(
    registry: CapsuleRegistry, face: Callable[[UUID, UUID], UUID], is_warm: bool
) -> None:
    """Whatever it is written or compares as; and what is kept for others stays right."""
    if is_warm:
        assert_owners(registry)
    for owner, held, shown in (("beta", BETA, ALPHA), ("alpha", ALPHA, BETA)):
        asked = face(held, shown)
        for reader in (registry, registry.at(revision=registry.history.revision)):
            assert owner == reader.find_by_uuid(asked)
            assert (owner == "alpha") == reader.is_allowed(asked, "kv", "key")
            assert owner == reader.check(asked, "kv", "key").capsule_id
        with registry.snapshot() as snapshot:
            assert owner == snapshot.find_by_uuid(asked)
        with registry.transaction() as transaction:
            assert owner == transaction.find_by_uuid(asked)
        assert_owners(registry)


#: Verbs that file a UUID.
FILING: dict[str, Callable[[CapsuleRegistry, UUID], object]] = {
    "register": lambda registry, uuid: registry.register(make_manifest("gamma"), uuids=[uuid]),
    "replace": lambda registry, uuid: registry.replace(
        make_manifest("gamma"), uuids=[uuid], keep_uuids=True
    ),
    "register_uuid": lambda registry, uuid: registry.register_uuid(uuid, "gamma"),
    "lease": lambda registry, uuid: registry.leases.open("a", renew=False).register_uuid(
        uuid, "gamma"
    ),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("verb", FILING)
def test_a_uuid_is_filed_and_removed_by_value(
    registry: CapsuleRegistry, face: Callable[[UUID, UUID], UUID], verb: str
) -> None:
    """The one that it holds is filed and removed, and the one that it shows stays where it is."""
    if verb == "replace":
        registry.register(make_manifest("gamma"))

    FILING[verb](registry, face(OTHER, ALPHA))

    assert_owners(registry, gamma=OTHER)
    assert {ALPHA, BETA, OTHER} == {filed.uuid for filed in registry.uuids()}
    assert registry.unregister_uuid(face(OTHER, ALPHA))
    assert None is registry.find_by_uuid(OTHER)
    assert_owners(registry)
    assert registry.history.verify().ok


@pytest.mark.parametrize("face", FACES)
def test_ids_of_uplinks_and_leases_are_taken_by_value(
    registry: CapsuleRegistry, face: Callable[[UUID, UUID], UUID]
) -> None:
    """So are an incarnation, and what generates the ids of declared uplinks."""
    kept, lost = (registry.leases.open("a", renew=False) for _ in range(2))
    lost_id = face(lost.id, kept.id)
    registry.register_uuid(OTHER, "gamma", lease=lost_id)
    assert lost.id == registry.leases.renew(lost_id).id
    registry.leases.close(lost_id)
    held, shown = UUID(int=2), UUID(int=1)

    assert [kept.id] == [lease.id for lease in registry.leases.list()]
    assert None is registry.find_by_uuid(OTHER)
    assert 2 == getattr(registry.get_uplink(face(held, shown)), "id").int  # noqa: B009 - or None
    assert registry.unregister_uplink(face(held, shown))
    registry.register_uplink("beta", make_uplink(id=face(UUID(int=3), shown)))
    assert {1, 3} == {uplink.id.int for uplink in registry.all_uplink_descriptors()}
    incarnation = registry.history.anchor().incarnation
    registry.history.watch(incarnation=face(incarnation, shown))


class NoNumber(UUID):
    """A subclass, to be made without a number."""


class Claimed:
    """An object that claims to be a UUID."""

    __class__ = property(lambda _: UUID)


def with_number(kind: type[UUID], number: object) -> UUID:
    """Return a UUID that holds *number*."""
    made = UUID.__new__(kind)
    object.__setattr__(made, "int", number)
    return made


@pytest.mark.parametrize(
    "uuid",
    [
        UUID.__new__(NoNumber),
        Claimed(),
        with_number(NoNumber, "5"),
        with_number(NoNumber, 5.0),
        with_number(NoNumber, -1),
        with_number(NoNumber, 1 << 128),
        with_number(UUID, 1 << 128),
        with_number(UUID, -1),
        with_number(UUID, str(ALPHA)),
        two_faced("x", str(ALPHA)),
    ],
    ids=range(10),
)
def test_what_holds_no_uuid_is_none(registry: CapsuleRegistry, uuid: Any) -> None:
    """It is refused like any other text that is none, and is allowed nothing."""
    for verb in (
        registry.find_by_uuid,
        registry.unregister_uuid,
        registry.get_uplink,
        registry.leases.close,
    ):
        with pytest.raises(InvalidUuidError):
            verb(uuid)
    assert False is registry.is_allowed(uuid, "kv", "key")
    assert DecisionReason.UNKNOWN_UUID == registry.check(uuid, "kv", "key").why
    assert_owners(registry)


#: What is asked with a text: the text, one that gives another answer, and the question.
QUESTIONS: dict[str, tuple[str, str, Callable[[CapsuleRegistry, str], object]]] = {
    "get": ("beta", "alpha", lambda reg, text: reg.get(text)),
    "in": ("gamma", "alpha", lambda reg, text: text in reg),
    "list": ("failed", "ready", lambda reg, text: reg.list(state=text)),
    "list after": ("beta", "alpha", lambda reg, text: reg.list(after=text)),
    "tools": ("beta", "alpha", lambda reg, text: reg.tools(text)),
    "find_tool": ("saw", "hammer", lambda reg, text: reg.find_tool(text)),
    "uuids": ("beta", "alpha", lambda reg, text: reg.uuids(text)),
    "find_by_uuid": (str(BETA), str(ALPHA), lambda reg, text: reg.find_by_uuid(text)),
    "platform": ("irc", "telegram", lambda reg, text: reg.find_uplink_by_platform(text)),
    "find_uplinks": ("irc", "telegram", lambda reg, text: reg.find_uplinks(platform=text)),
    "profile": ("bridge", "chat", lambda reg, text: reg.find_uplinks(profile=text)),
    "of capsule": ("beta", "alpha", lambda reg, text: reg.find_uplinks(capsule_id=text)),
    "capability": ("net", "kv", lambda reg, text: reg.check(ALPHA, text, "key")),
    "value": ("other", "key", lambda reg, text: reg.is_allowed(ALPHA, "kv", text)),
    "grants": ("net", "kv", lambda reg, text: reg.grants(capability=text)),
    "grants of": ("other", "key", lambda reg, text: reg.grants(capability="kv", value=text)),
    "interceptors": ("x.z", "x.y", lambda reg, text: reg.interceptors(text)),
    "providers": ("topic:a.c", "topic:a.b", lambda reg, text: reg.providers(text)),
    "wait_ready": (
        "beta",
        "alpha",
        lambda reg, text: [*reg.wait_ready([text], timedelta()).values()],
    ),
    "action": ("x", "uuid.registered", lambda reg, text: reg.history.list(action=text)),
    "actor": ("nobody", "tester", lambda reg, text: reg.history.list(actor=text)),
    "of history": ("gamma", "alpha", lambda reg, text: reg.history.list(capsule_id=text)),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_text_of_two_faces_is_the_one_that_it_holds(
    registry: CapsuleRegistry, question: str
) -> None:
    """Its own comparison, hash and methods are not asked; answers kept for others stay right."""
    held, shown, ask = QUESTIONS[question]
    for one, other in ((held, shown), (shown, held)):
        expected = ask(registry, one)
        assert expected != ask(registry, other)  # The control.
        assert expected == ask(registry, two_faced(one, other))
        assert expected == ask(registry, one)
    assert_owners(registry)


def test_the_first_text_that_asks_is_taken_by_value_too(registry: CapsuleRegistry) -> None:
    """Nothing wrong is kept if nobody asked before."""
    asked = registry.get(two_faced("beta", "alpha"))

    assert asked == registry.get("beta")
    assert "alpha" == getattr(registry.get("alpha"), "id")  # noqa: B009 - or None


def test_an_id_is_the_text_that_was_checked() -> None:
    """A text that shows another one when it is copied makes no invalid id."""
    assert ["good", CapsuleId] == [made := CapsuleId(two_faced("good", "Not an id")), type(made)]


def test_texts_are_recorded_by_value(url: str, registry: CapsuleRegistry) -> None:
    """Actor, reason, state, name, namespace: what is recorded is what was checked."""
    with registry.transaction(
        actor=two_faced("me", "you"), reason=two_faced("why", "how")
    ) as transaction:
        transaction.set_state(
            two_faced("alpha", "beta"), two_faced("failed", "ready"), two_faced("a", "b")
        )
    revision = registry.history.list()[-1]
    alpha = registry.get("alpha")
    lease = registry.leases.open(two_faced("worker", "x" * 300), renew=False)
    with RegistryAdmin.open(url) as admin:
        admin.create_namespace(two_faced("elsewhere", "Nowhere"), actor=two_faced("me", "you"))
    with CapsuleRegistry.open(
        url, namespace=two_faced("elsewhere", "default"), actor=two_faced("she", "he")
    ) as elsewhere:
        elsewhere.register(make_manifest("gamma"))
        actors = [found.actor for found in elsewhere.history.list()]

    assert ("me", "why") == (revision.actor, revision.reason)
    assert alpha is not None
    assert (CapsuleState.FAILED, "a") == (alpha.state, alpha.state_reason)
    assert ["worker"] == [found.name for found in registry.leases.list()]
    assert lease.id
    assert "gamma" not in registry
    assert ["me", "she"] == actors
    for held in ("a\0", "\ud800"):
        with pytest.raises(InvalidTextError):
            registry.set_state("alpha", "ready", two_faced(held, "fine"))


def test_an_uplink_is_filed_by_value(registry: CapsuleRegistry) -> None:
    """Also one whose texts and time were never validated."""
    plain = make_uplink(
        id=UplinkId(int=7), name="n", platform="p", metadata={"k": "v"}, registered_at=THEN
    )
    shown = {"name": "x", "platform": "x", "registered_at": THEN - timedelta(days=900)}
    faces = {name: two_faced(getattr(plain, name), face) for name, face in shown.items()}
    faces["metadata"] = {two_faced("k", "x"): two_faced("v", "x")}
    registry.register_uplink("alpha", plain.model_copy(update=faces))
    registry.register_uplink("alpha", plain.model_copy(update={"id": UplinkId(int=8)}))

    assert plain == registry.get_uplink(plain.id)
    assert THEN == getattr(registry.get_uplink(UUID(int=8)), "registered_at")  # noqa: B009 - or None
    assert registry.history.verify().ok


def test_times_are_taken_by_value(registry: CapsuleRegistry, clock: Any) -> None:
    """A time of two faces, and a duration; what was kept for equal times stays right."""
    early, late = clock.now - timedelta(days=400), clock.now + timedelta(days=1)
    head, first = registry.history.revision, registry.at(time=early).revision
    local = late.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert head == registry.at(time=two_faced(late, early)).revision
    assert first < head
    assert first == registry.at(time=two_faced(early, late)).revision
    assert head == registry.at(time=two_faced(local, early)).revision
    assert [] == registry.history.list(since=two_faced(late, early))
    assert first == len(registry.history.list(until=two_faced(early, late)))
    assert head - first == len(registry.history.list(since=two_faced(early, late)))
    assert head == len(registry.history.list(until=two_faced(late, early)))
    lease = registry.leases.open("a", two_faced(timedelta(seconds=9), timedelta(9)), renew=False)
    assert [timedelta(seconds=9)] == [found.ttl for found in registry.leases.list()]
    assert lease.id
    clock.now = two_faced(late, early)
    assert late == registry.set_state("alpha", "failed").registered_at + timedelta(days=1)
    assert late == registry.history.list(after=head)[-1].committed_at


class Disguised(CapsuleManifest):
    """A manifest that shows another text, and claims to be stored as another one."""

    @property
    def text(self) -> str:
        return make_text("beta")

    @property
    def digest(self) -> str:
        return "0" * 64

    def as_stored(self, values: object) -> CapsuleManifest:
        return make_manifest("beta", capabilities={"kv": ["*"]})


def test_a_manifest_is_registered_by_value(registry: CapsuleRegistry) -> None:
    """That of a subclass, and that of a text of two faces."""
    texts = {name: make_text(name, "# exact\n") for name in ("gamma", "delta")}
    registry.register(Disguised.parse(texts["gamma"]))
    registry.register(CapsuleManifest.parse(two_faced(texts["delta"], make_text("beta"))))

    for name, text in texts.items():
        record = registry.get(name)
        assert record is not None
        plain = CapsuleManifest.parse(text)
        assert (plain, text, plain.digest) == (
            record.manifest,
            record.manifest_text,
            record.manifest_digest,
        )
    assert 2 == len(registry.grants())
    assert registry.history.verify().ok


def test_integers_are_taken_by_value(registry: CapsuleRegistry) -> None:
    """Revisions, limits and generations; what is no integer is refused."""
    head = registry.history.revision
    three, one = two_faced(3, 1), two_faced(1, 3)

    assert 3 == registry.at(revision=three).revision
    assert 1 == len(registry.list(limit=one))
    assert [2] == [found.revision for found in registry.history.list(after=one, limit=one)]
    assert 3 == registry.history.watch(after=three).revision
    assert f'"revision":{head}' in next(registry.history.export(after=two_faced(head - 1, 1)))
    generation = registry.register(make_manifest("gamma")).generation
    with pytest.raises(StaleGenerationError):
        registry.replace(make_manifest("gamma"), expected_generation=two_faced(1, generation))
    for asked in (1.5, "1"):
        with pytest.raises(TypeError):
            registry.at(revision=asked)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            registry.history.watch(after=asked)  # type: ignore[arg-type]
