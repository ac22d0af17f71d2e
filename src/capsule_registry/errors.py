"""
Every error that the registry raises on purpose.

    CapsuleRegistryError
    ├─ NotFoundError (also LookupError)      the named object does not exist
    │  ├─ CapsuleNotFoundError(capsule_id), UplinkNotFoundError(uplink_id)
    │  ├─ LeaseNotFoundError(lease_id), NamespaceNotFoundError(namespace)
    │  └─ GenerationNotFoundError(capsule_id, reason)
    ├─ ConflictError                         fails until the state changes
    │  ├─ CapsuleAlreadyRegisteredError(capsule_id), UplinkAlreadyRegisteredError(uplink_id)
    │  ├─ NamespaceInUseError(namespace, capsule_count), StaleGenerationError(expected, actual)
    │  ├─ RuntimeVersionError(namespace, expected, actual), NewRightsError(names)
    │  ├─ RuntimeRefusedError(version, names, reason), AmbiguousCommandError(verb, names)
    │  ├─ SoleProviderError(capsule, interface, importers), UuidHeldError(uuid, lease_id)
    │  ├─ ArtifactChangedError(capsule_id, version, file, expected, actual)
    │  └─ RequestRepeatedError(request_id, namespace, revision), LeaseLostError(lease_id)
    ├─ InvalidInputError (also ValueError)   the value can never be right, whatever the state
    │  ├─ InvalidCapsuleIdError(capsule_id, reason), InvalidUuidError(text)
    │  ├─ InvalidDatabaseError(database, reason), InvalidUplinkSourceError(capsule_id, reason)
    │  └─ InvalidManifestError(path, rule, message), InvalidTextError(field, rule, message)
    ├─ RevisionError                         a position in history that cannot be served
    │  ├─ RevisionCompactedError(requested, compacted), FutureRevisionError(requested, head)
    │  └─ IncarnationChangedError(expected, actual)
    ├─ UsageError                            the calling program is wrong
    │  ├─ TransactionInProgressError(), TransactionDoomedError(cause)
    │  └─ ForkedTransactionError(), RegistryClosedError()
    ├─ RegistryUnavailableError(database, reason)   the only one worth retrying
    │  ├─ OutcomeUnknownError(database, reason)      the change may have been committed
    │  └─ DatabaseReplacedError(database, reason)    the file was replaced while it was open
    ├─ UnexpectedDatabaseError(database, code, reason)   a bug: not worth retrying
    ├─ DependencyCycleError(names, fallback), SchemaVersionError(found, required, command)
    └─ HistoryCorruptError(subject, reason), PermissionDeniedError(database, reason)

The arguments are attributes, and the message is built from them. Every error can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

#: How many of many things a message names.
_SHOWN: Final = 5


def _shown(fact: object) -> object:
    """Return *fact* as messages show it; of many names the first."""
    if not isinstance(fact, (list, tuple)):
        return "none" if fact is None else fact
    more = len(fact) - _SHOWN
    return ", ".join(map(str, fact[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


class CapsuleRegistryError(Exception):
    """The root of every error that the registry raises on purpose."""

    #: The names of the annotated attributes, in the order of the constructor's arguments.
    facts: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.facts = tuple(vars(cls).get("__annotations__", cls.facts))

    def __init__(self, *values: object) -> None:
        super().__init__(*values)
        for name, value in zip(self.facts, values, strict=True):
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.template.format(**{name: _shown(getattr(self, name)) for name in self.facts})


class NotFoundError(CapsuleRegistryError, LookupError):
    """The named object does not exist."""


class CapsuleNotFoundError(NotFoundError):
    """No capsule of that id is registered; a mere reservation counts as absent."""

    capsule_id: str
    template = "Not found: capsule {capsule_id}"


class UplinkNotFoundError(NotFoundError):
    """No uplink of that id is registered."""

    uplink_id: UUID
    template = "Not found: uplink {uplink_id}"


class LeaseNotFoundError(NotFoundError):
    """No live lease of that id exists."""

    lease_id: UUID
    template = "Not found: lease {lease_id}"


class NamespaceNotFoundError(NotFoundError):
    """The database has no namespace of that name."""

    namespace: str
    template = "Not found: namespace {namespace}"


class GenerationNotFoundError(NotFoundError):
    """There is no such generation of the capsule to go back to."""

    capsule_id: str
    reason: str
    template = "{capsule_id} cannot be rolled back: {reason}"


class ConflictError(CapsuleRegistryError):
    """The state forbids it; the same call fails until the state changes."""


class CapsuleAlreadyRegisteredError(ConflictError):
    """A capsule of that id is registered; nothing was changed."""

    capsule_id: str
    template = "Already registered: {capsule_id}"


class UplinkAlreadyRegisteredError(ConflictError):
    """An uplink of that id is registered; its first owner keeps it."""

    uplink_id: UUID
    template = "Uplink already registered: {uplink_id}"


class NamespaceInUseError(ConflictError):
    """Capsules are registered in the namespace; nothing was dropped."""

    namespace: str
    capsule_count: int
    template = "Namespace {namespace} has {capsule_count} registered capsules"


class RuntimeVersionError(ConflictError):
    """The capsules of the namespace are judged by another runtime's rules, or by their own."""

    namespace: str
    expected: str
    actual: str | None
    template = "Namespace {namespace} is of runtime {actual}, not {expected}: see `set-runtime`"


class RuntimeRefusedError(ConflictError):
    """Registered manifests are refused by the runtime's rules, the first for *reason*."""

    version: str | None
    names: Sequence[str]
    reason: str
    template = "Runtime {version} refuses {names}: {reason}; replace or unregister them first"


class SoleProviderError(ConflictError):
    """Others import an interface that nobody else exports; nothing was changed."""

    capsule: str
    interface: str
    importers: Sequence[str]
    template = "Only {capsule} exports {interface}, imported by {importers}; it can be forced"


class AmbiguousCommandError(ConflictError):
    """Several commands have that name; `names` has the ids of their capsules."""

    verb: str
    names: Sequence[str]
    template = "Command {verb} is that of {names}: set all but one to another state than ready"


class NewRightsError(ConflictError):
    """A sync would have given capsules rights that they had not; nothing was changed."""

    names: Sequence[str]
    template = "New rights for {names}: look at them with --dry-run, then sync without refusing"


class ArtifactChangedError(ConflictError):
    """The manifest has the version of the registered one, and another hash of a file."""

    capsule_id: str
    version: str
    file: str
    expected: str | None
    actual: str | None
    template = "{capsule_id} {version} has other bytes: {file} is {actual}, and was {expected}"


class StaleGenerationError(ConflictError):
    """The capsule is at another generation than the caller expected."""

    expected: int
    actual: int | None
    template = "Stale generation: expected {expected}, found {actual}"


class RequestRepeatedError(ConflictError):
    """What was asked under that id has been done already, as *revision*; nothing was changed."""

    request_id: UUID
    namespace: str
    revision: int
    template = "Request {request_id} has been done: as revision {revision} of {namespace}"


class LeaseLostError(ConflictError):
    """The lease has expired or was closed; nothing can be written through it any more."""

    lease_id: UUID
    template = "Lease lost: {lease_id}"


class UuidHeldError(ConflictError):
    """A live lease holds the UUID, so only that lease can point it elsewhere."""

    uuid: UUID
    lease_id: UUID
    template = "UUID {uuid} is held by lease {lease_id}"


class InvalidInputError(CapsuleRegistryError, ValueError):
    """The value can never be right, whatever the state."""


class InvalidCapsuleIdError(InvalidInputError):
    """The text is not a capsule id: `[a-z0-9-]+`, at most 128 characters where it is stored."""

    capsule_id: str
    reason: str
    template = "{reason}"


class InvalidDatabaseError(InvalidInputError):
    """The address cannot be used, or what it names is no database that can hold a registry."""

    database: str
    reason: str
    template = "Invalid database {database}: {reason}"


class InvalidManifestError(InvalidInputError):
    """The manifest breaks a rule: `rule` names it, for programs; `path` is the file, if any."""

    path: object
    rule: str
    message: str

    def __str__(self) -> str:
        place = "" if self.path is None else f" at {self.path}"
        return f"Failed to parse manifest{place}: {self.message} [{self.rule}]"


class InvalidTextError(InvalidInputError):
    """The text breaks a rule (`rule`): its grammar, or what every database can store."""

    field: str
    rule: str
    message: str
    template = "Invalid {field}: {message} [{rule}]"


class InvalidUplinkSourceError(InvalidInputError):
    """The id cannot be the source of an uplink; the grammar is stricter than a capsule id's."""

    capsule_id: str
    reason: str
    template = "Failed to create source: invalid capsule id: {reason}"


class InvalidUuidError(InvalidInputError):
    """The text is not a UUID."""

    text: str
    template = "Invalid UUID: {text!r}"


class RevisionError(CapsuleRegistryError):
    """A position in history that cannot be served."""


class RevisionCompactedError(RevisionError):
    """The history up to *compacted* was pruned: take a snapshot, then watch from there."""

    requested: int
    compacted: int
    template = "Revision {requested} is gone: history is pruned through {compacted}"


class FutureRevisionError(RevisionError):
    """The revision lies beyond the head."""

    requested: int
    head: int
    template = "Revision {requested} does not exist yet: the head is {head}"


class IncarnationChangedError(RevisionError):
    """The database was restored, or failed over and lost commits: earlier reads are void."""

    expected: UUID | str
    actual: UUID | str
    template = "The history is another than before: {actual} instead of {expected}"


class UsageError(CapsuleRegistryError):
    """The calling program is wrong; the same call always fails."""


class TransactionInProgressError(UsageError):
    """The registry was used on a thread that is inside its own open transaction."""

    template = "A transaction of this registry is open on this thread: use the transaction itself"


class TransactionDoomedError(UsageError):
    """An error inside the transaction was swallowed; nothing of the transaction was written."""

    cause: str
    template = "Nothing was written: an error inside the transaction dooms it ({cause})"


class ForkedTransactionError(UsageError):
    """The child of a fork tried to end a transaction that belongs to its parent."""

    template = "The transaction was begun before the fork: it is the parent's to end"


class RegistryClosedError(UsageError):
    """The registry, or the transaction, was used after it was closed."""

    template = "The registry, or the transaction, is closed"


class DependencyCycleError(CapsuleRegistryError):
    """Capsules require each other in a cycle; *fallback* has the indexes in the order to use."""

    names: Sequence[str]
    fallback: Sequence[int]

    def __str__(self) -> str:
        return f"dependency cycle detected (involved nodes): {', '.join(self.names)}"


class SchemaVersionError(CapsuleRegistryError):
    """This library cannot run on the database's schema; nothing was changed."""

    found: str | None
    required: str
    command: str

    def __str__(self) -> str:
        found = "has no schema" if self.found is None else f"has schema version {self.found}"
        return f"The database {found}, this library needs {self.required}: {self.command}"


class RegistryUnavailableError(CapsuleRegistryError):
    """The database cannot be reached or did not answer in time; nothing was changed."""

    database: str
    reason: str
    template = "Unavailable: {database}: {reason}"


class OutcomeUnknownError(RegistryUnavailableError):
    """A COMMIT was not answered, and its outcome was not known by the deadline."""


class DatabaseReplacedError(RegistryUnavailableError):
    """The database file was deleted, moved or replaced while it was open; open it anew."""


class UnexpectedDatabaseError(CapsuleRegistryError):
    """The database refused a statement for a reason that the registry does not know: a bug."""

    database: str
    code: str | None
    reason: str
    template = "Unexpected: {database}: {reason} [{code}]"


class HistoryCorruptError(CapsuleRegistryError):
    """The stored data is not what the registry wrote."""

    subject: str
    reason: str
    template = "Corrupt: {subject}: {reason}"


class PermissionDeniedError(CapsuleRegistryError):
    """The database, or the way it was opened, does not permit the operation."""

    database: str
    reason: str
    template = "Not permitted: {database}: {reason}"
