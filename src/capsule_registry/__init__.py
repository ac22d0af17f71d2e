"""
A capsule registry with the guarantees of etcd, kept as ordinary rows in a SQL database.

Names are loaded when they are first used, so that a program which needs only some of them, such as
the command's `--help`, does not wait for SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from capsule_registry._version import __version__

if TYPE_CHECKING:
    from capsule_registry.descriptors import (
        UplinkCapabilities,
        UplinkDescriptor,
        UplinkSource,
    )
    from capsule_registry.dialects import (
        sqlite_module,
    )
    from capsule_registry.errors import (
        CapsuleAlreadyRegisteredError,
        CapsuleNotFoundError,
        CapsuleRegistryError,
        ConflictError,
        DependencyCycleError,
        FutureRevisionError,
        HistoryCorruptError,
        IncarnationChangedError,
        InvalidCapsuleIdError,
        InvalidDatabaseError,
        InvalidInputError,
        InvalidManifestError,
        InvalidNamespaceError,
        InvalidTextError,
        InvalidUplinkSourceError,
        InvalidUuidError,
        LeaseLostError,
        LeaseNotFoundError,
        NamespaceNotFoundError,
        NotFoundError,
        PermissionDeniedError,
        RegistryClosedError,
        RegistryUnavailableError,
        RevisionCompactedError,
        RevisionError,
        SchemaVersionError,
        StaleGenerationError,
        TransactionDoomedError,
        TransactionInProgressError,
        UplinkAlreadyRegisteredError,
        UplinkNotFoundError,
        UsageError,
        UuidHeldError,
    )
    from capsule_registry.identifiers import (
        CapsuleId,
        UplinkId,
    )
    from capsule_registry.manifest.boot_order import (
        boot_order,
    )
    from capsule_registry.manifest.discovery import (
        discover,
    )
    from capsule_registry.manifest.manifest import (
        CapsuleManifest,
    )
    from capsule_registry.manifest.parts import (
        CapabilitiesDef,
        CommandDef,
        ComponentDef,
        ContextFileDef,
        CronDef,
        DependenciesDef,
        EnvDef,
        InterceptorDef,
        LlmProviderDef,
        McpServerDef,
        PackageDef,
        SkillDef,
        ToolDef,
        TopicDef,
        TopicDirection,
        UplinkDef,
        UplinkProfile,
    )
    from capsule_registry.matching import (
        capability_matches,
        normalize_platform,
        topic_matches,
    )
    from capsule_registry.records import (
        Capsule,
        CapsuleState,
        RegisteredCapsule,
        RegisteredUplink,
        RegisteredUuid,
        Tool,
    )
    from capsule_registry.registry import (
        CapsuleRegistry,
    )
    from capsule_registry.transaction import (
        Transaction,
    )
    from capsule_registry.addresses import (
        default_file,
    )
    from capsule_registry.administration import (
        Finding,
        RegistryAdmin,
        SchemaStatus,
    )

__all__ = [
    "CapabilitiesDef",
    "Capsule",
    "CapsuleAlreadyRegisteredError",
    "CapsuleId",
    "CapsuleManifest",
    "CapsuleNotFoundError",
    "CapsuleRegistry",
    "CapsuleRegistryError",
    "CapsuleState",
    "CommandDef",
    "ComponentDef",
    "ConflictError",
    "ContextFileDef",
    "CronDef",
    "DependenciesDef",
    "DependencyCycleError",
    "EnvDef",
    "Finding",
    "FutureRevisionError",
    "HistoryCorruptError",
    "IncarnationChangedError",
    "InterceptorDef",
    "InvalidCapsuleIdError",
    "InvalidDatabaseError",
    "InvalidInputError",
    "InvalidManifestError",
    "InvalidNamespaceError",
    "InvalidTextError",
    "InvalidUplinkSourceError",
    "InvalidUuidError",
    "LeaseLostError",
    "LeaseNotFoundError",
    "LlmProviderDef",
    "McpServerDef",
    "NamespaceNotFoundError",
    "NotFoundError",
    "PackageDef",
    "PermissionDeniedError",
    "RegisteredCapsule",
    "RegisteredUplink",
    "RegisteredUuid",
    "RegistryAdmin",
    "RegistryClosedError",
    "RegistryUnavailableError",
    "RevisionCompactedError",
    "RevisionError",
    "SchemaStatus",
    "SchemaVersionError",
    "SkillDef",
    "StaleGenerationError",
    "Tool",
    "ToolDef",
    "TopicDef",
    "TopicDirection",
    "Transaction",
    "TransactionDoomedError",
    "TransactionInProgressError",
    "UplinkAlreadyRegisteredError",
    "UplinkCapabilities",
    "UplinkDef",
    "UplinkDescriptor",
    "UplinkId",
    "UplinkNotFoundError",
    "UplinkProfile",
    "UplinkSource",
    "UsageError",
    "UuidHeldError",
    "__version__",
    "boot_order",
    "capability_matches",
    "default_file",
    "discover",
    "normalize_platform",
    "sqlite_module",
    "topic_matches",
]

_NAMES_BY_MODULE = {
    "descriptors": (
        "UplinkCapabilities",
        "UplinkDescriptor",
        "UplinkSource",
    ),
    "dialects": ("sqlite_module",),
    "errors": (
        "CapsuleAlreadyRegisteredError",
        "CapsuleNotFoundError",
        "CapsuleRegistryError",
        "ConflictError",
        "DependencyCycleError",
        "FutureRevisionError",
        "HistoryCorruptError",
        "IncarnationChangedError",
        "InvalidCapsuleIdError",
        "InvalidDatabaseError",
        "InvalidInputError",
        "InvalidManifestError",
        "InvalidNamespaceError",
        "InvalidTextError",
        "InvalidUplinkSourceError",
        "InvalidUuidError",
        "LeaseLostError",
        "LeaseNotFoundError",
        "NamespaceNotFoundError",
        "NotFoundError",
        "PermissionDeniedError",
        "RegistryClosedError",
        "RegistryUnavailableError",
        "RevisionCompactedError",
        "RevisionError",
        "SchemaVersionError",
        "StaleGenerationError",
        "TransactionDoomedError",
        "TransactionInProgressError",
        "UplinkAlreadyRegisteredError",
        "UplinkNotFoundError",
        "UsageError",
        "UuidHeldError",
    ),
    "identifiers": (
        "CapsuleId",
        "UplinkId",
    ),
    "manifest.boot_order": ("boot_order",),
    "manifest.discovery": ("discover",),
    "manifest.manifest": ("CapsuleManifest",),
    "manifest.parts": (
        "CapabilitiesDef",
        "CommandDef",
        "ComponentDef",
        "ContextFileDef",
        "CronDef",
        "DependenciesDef",
        "EnvDef",
        "InterceptorDef",
        "LlmProviderDef",
        "McpServerDef",
        "PackageDef",
        "SkillDef",
        "ToolDef",
        "TopicDef",
        "TopicDirection",
        "UplinkDef",
        "UplinkProfile",
    ),
    "matching": (
        "capability_matches",
        "normalize_platform",
        "topic_matches",
    ),
    "records": (
        "Capsule",
        "CapsuleState",
        "RegisteredCapsule",
        "RegisteredUplink",
        "RegisteredUuid",
        "Tool",
    ),
    "registry": ("CapsuleRegistry",),
    "transaction": ("Transaction",),
    "addresses": ("default_file",),
    "administration": (
        "Finding",
        "RegistryAdmin",
        "SchemaStatus",
    ),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


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
