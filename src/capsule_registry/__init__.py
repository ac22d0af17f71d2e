"""
A capsule registry with the guarantees of etcd, kept as ordinary rows in a SQL database.

Names are loaded when they are first used, so that a program which needs only some of them, such as
the command's `--help`, does not wait for SQLAlchemy. `__init__.pyi` says the same to type checkers.
"""

from __future__ import annotations

from importlib import import_module

from capsule_registry._version import __version__

_NAMES_BY_MODULE = {
    "aio.history": "AsyncHistory AsyncWatch",
    "aio.leases": "AsyncLeases AsyncOpenLease",
    "aio.registry": "AsyncActing AsyncCapsuleRegistry AsyncPast AsyncReplica",
    "aio.transaction": "AsyncSnapshot AsyncTransaction",
    "aio.verbs": "AsyncRoutes",
    "api.acting": "Acting",
    "api.differences": "Difference",
    "api.history": "History",
    "api.leases": "Leases OpenLease",
    "api.point_in_time": "Past Snapshot View",
    "api.reads": "RegistryReader",
    "api.registry": "CapsuleRegistry",
    "api.replica": "Replica",
    "api.routes": "Routes",
    "api.transaction": "Transaction",
    "database.address": "default_file",
    "database.dialects.dialect": "Finding",
    "database.dialects.sqlite_library": "sqlite_module",
    "entities.sync": "SyncAction SyncPlan SyncStep",
    "errors": """
        AmbiguousCommandError ArtifactChangedError CapsuleAlreadyRegisteredError
        CapsuleNotFoundError CapsuleRegistryError ConflictError DatabaseReplacedError
        DependencyCycleError ForkedTransactionError FutureRevisionError GenerationNotFoundError
        HistoryCorruptError IncarnationChangedError InvalidCapsuleIdError
        InvalidDatabaseError InvalidInputError InvalidManifestError InvalidTextError
        InvalidUplinkSourceError InvalidUuidError LeaseLostError LeaseNotFoundError
        NamespaceInUseError NamespaceNotFoundError NewRightsError NotFoundError
        OutcomeUnknownError
        PermissionDeniedError RegistryClosedError RegistryUnavailableError
        RequestRepeatedError RevisionCompactedError RevisionError
        RuntimeRefusedError RuntimeVersionError
        SchemaVersionError SoleProviderError StaleGenerationError TransactionDoomedError
        TransactionInProgressError UnexpectedDatabaseError
        UplinkAlreadyRegisteredError UplinkNotFoundError UsageError UuidHeldError
    """,
    "history.replay": "Discrepancy",
    "history.revisions": "Event Revision",
    "history.verification": "Verification",
    "history.watch": "Watch",
    "identifiers": "CapsuleId UplinkId",
    "manifest.boot_order": "boot_order",
    "manifest.comparison": "Part",
    "manifest.discovery": "discover",
    "manifest.forms": "ManifestForm",
    "manifest.interfaces": "ExportDef ImportDef",
    "manifest.manifest": "CapsuleManifest",
    "manifest.matching": "capability_matches normalize_platform topic_matches",
    "manifest.matchings": "Matching",
    "manifest.parts": """
        CapabilitiesDef CommandDef CommandKind ComponentDef ContextFileDef CronDef
        DependenciesDef DescribedToolDef EnvDef InterceptorDef LlmProviderDef McpServerDef
        OptionsDef PackageDef SkillDef ToolDef TopicDef TopicDirection UplinkDef UplinkProfile
    """,
    "manifest.topic_entries": "PublishDef SubscribeDef",
    "manifest.tools": "ToolCatalogue",
    "models.comparison": "Comparison ManifestEntry",
    "models.declarations": "Artifact Call CallMode Command Export Route",
    "models.records": """
        Anchor BootOrder Capsule CapsuleState CapsuleSummary Dependency Grant Interceptor Lease
        Provision ReadyStatus RegisteredCapsule RegisteredUplink RegisteredUuid
        SharedInterface Tool
    """,
    "models.rights_change": "ChangedRight RightsChange",
    "models.uplink": "UplinkCapabilities UplinkDescriptor UplinkSource",
    "operations.admin": "RegistryAdmin SchemaStatus",
    "operations.namespaces": "NamespaceStatus",
    "permissions.checks": "Decision Why",
    "permissions.judgement": "DecisionReason",
    "schema.ownership": "owns_table",
    "service.metrics": "RegistryCollector",
}
_MODULE_BY_NAME = {
    name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()
}
__all__ = sorted(["__version__", *_MODULE_BY_NAME])  # noqa: PLE0605 - a list, in the end


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    try:
        module = _MODULE_BY_NAME[name]
    except KeyError:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message) from None
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
