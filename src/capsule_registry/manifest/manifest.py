"""The manifest as a whole: read from a file, or built in code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, PrivateAttr, ValidationError

from capsule_registry.canonical_json import canonical_json
from capsule_registry.errors import InvalidManifestError
from capsule_registry.manifest import rules
from capsule_registry.manifest.first_error import first_error
from capsule_registry.manifest.forms import ManifestForm, form_of
from capsule_registry.manifest.interfaces import (
    ExportDef,
    Exports,
    ImportDef,
    Imports,
    by_interface,
)
from capsule_registry.manifest.part import ManifestPart, is_empty
from capsule_registry.manifest.parts import (
    AnyToolDef,
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
    TopicDef,
    UplinkDef,
)
from capsule_registry.manifest.readings import ORIGINAL, Reading, reading_of, to_runtime_version
from capsule_registry.manifest.toml_document import parse_document, read_text
from capsule_registry.manifest.topic_entries import Published, Subscribed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

T = TypeVar("T")

#: The language that a manifest is written in.
Format = Literal["toml", "json"]
Source = tuple[Format, str]


class CapsuleManifest(ManifestPart):
    """
    A capsule's description: its identity, tools, uplinks, the capabilities it asks for.

    Frozen. Two manifests are equal if their values are, whatever text they were read from.
    JSON has the TOML file's names, absent options as null, and unknown keys in their places.
    """

    package: PackageDef
    components: tuple[ComponentDef, ...] = Field(default=(), alias="component")
    dependencies: DependenciesDef = DependenciesDef()
    capabilities: CapabilitiesDef = CapabilitiesDef()
    env: dict[str, EnvDef] = Field(default_factory=dict)
    context_files: tuple[ContextFileDef, ...] = Field(default=(), alias="context_file")
    commands: tuple[CommandDef, ...] = Field(default=(), alias="command")
    mcp_servers: tuple[McpServerDef, ...] = Field(default=(), alias="mcp_server")
    skills: tuple[SkillDef, ...] = Field(default=(), alias="skill")
    uplinks: tuple[UplinkDef, ...] = Field(default=(), alias="uplink")
    llm_providers: tuple[LlmProviderDef, ...] = Field(default=(), alias="llm_provider")
    interceptors: tuple[InterceptorDef, ...] = Field(default=(), alias="interceptor")
    cron_jobs: tuple[CronDef, ...] = Field(default=(), alias="cron")
    tools: tuple[AnyToolDef, ...] = Field(default=(), alias="tool")
    topics: tuple[TopicDef, ...] = Field(default=(), alias="topic")
    publish: dict[str, Published] = Field(default_factory=dict, exclude_if=is_empty)
    subscribe: dict[str, Subscribed] = Field(default_factory=dict, exclude_if=is_empty)
    imports: Imports = Field(default_factory=dict, exclude_if=is_empty)
    exports: Exports = Field(default_factory=dict, exclude_if=is_empty)

    read_if: ClassVar[Mapping[str, str]] = {
        "dependencies": "dependencies",
        "skills": "skills",
        "llm_providers": "dependencies",
        "interceptors": "interceptors",
        "cron_jobs": "dependencies",
        "tools": "tools",
        "topics": "topics",
        "publish": "topic_tables",
        "subscribe": "topic_tables",
        "imports": "imports",
        "exports": "imports",
    }

    _form: ManifestForm | None = PrivateAttr(default=None)
    _rules: str | None = PrivateAttr(default=None)
    _source: Source | None = PrivateAttr(default=None)
    #: The values as canonical JSON when parsed: `env` and unknown keys are mutable.
    _parsed: str | None = PrivateAttr(default=None)
    #: What was derived of it, by the function that did: what is stored changes no more.
    _derived: dict[Callable[..., Any], Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        path: str | PathLike[str] | None = None,
        runtime_version: str | None = None,
    ) -> Self:
        """
        Parse *text* (TOML); the manifest keeps the text.

        Args:
            text: At most 256 KiB in UTF-8; a byte order mark is allowed.
            path: Named in errors; nothing is read from it.
            runtime_version: Read it as that runtime does, and enforce `astrid-version` against it;
                if `None`, read it in its own form, and check the syntax of `astrid-version` only.

        Raises:
            InvalidManifestError: The first error, in the original's order; `rule` names it.
            InvalidTextError: *runtime_version* is no version.
        """
        plain, runtime_version = str.__str__(text), to_runtime_version(runtime_version)
        document = parse_document(plain, path)
        form = form_of(document.values, is_toml_1_1=document.is_toml_1_1)
        if not reading_of(form, runtime_version).kinds:
            document.require_toml_1_0()
        try:
            read_by = runtime_version or form.value
            manifest = cls._bind(document.values, form, read_by, ("toml", plain))
        except ValidationError as error:
            raise InvalidManifestError(path, *first_error(error, document.values)) from error
        manifest.require_valid(path=path, runtime_version=runtime_version)
        manifest._parsed = canonical_json(manifest.to_json())  # noqa: SLF001 - of its own class
        return manifest

    @classmethod
    def _bind(cls, values: object, form: ManifestForm, rules: str, source: Source) -> Self:
        reading = reading_of(form, rules)
        manifest = cls.model_validate(values, by_alias=True, by_name=False, context=reading)
        manifest._form, manifest._rules = form, rules  # noqa: SLF001 - of its own class
        manifest._source = source  # noqa: SLF001
        return manifest

    @classmethod
    def restore(
        cls,
        values: object,
        *,
        format: Format,  # noqa: A002 - its name
        text: str,
        form: ManifestForm = ManifestForm.LEGACY,
        rules: str = ORIGINAL,
    ) -> Self:
        """
        Return the manifest that was stored as the JSON *values*, with its source *text*.

        Raises:
            pydantic.ValidationError: The values are not a manifest of that *form*.
            SemverError: There are no such *rules*.
        """
        return cls._bind(values, form, rules, (format, text))

    def as_stored(self, values: object) -> CapsuleManifest:
        """
        Return the manifest as it will be read back once its *values* are stored as JSON.

        That is this same object if nothing has changed since it was parsed, and it is of no
        subclass. A changed manifest drops its text, which no longer matches.

        Raises:
            InvalidManifestError: It breaks a rule.
            pydantic.ValidationError: The values are not a manifest, as in an unchecked copy.
        """
        plain = canonical_json(values)
        if (is_unchanged := plain == self._parsed) and type(self) is CapsuleManifest:
            return self
        own_text = self._source if is_unchanged or self._parsed is None else None
        read = json.loads(plain)
        form = self._private["_form"] or form_of(read)
        rules, source = self._private["_rules"] or form.value, own_text or ("json", plain)
        stored = CapsuleManifest._bind(read, form, rules, source)
        stored.require_valid(runtime_version=stored.runtime_version)
        return stored

    def judged_by(self, runtime_version: str | None) -> CapsuleManifest:
        """
        Return the manifest as that runtime reads it; if `None`, as it is read in its own form.

        Raises:
            InvalidManifestError: It is refused.
        """
        return self if self.runtime_version == runtime_version else self.read_anew(runtime_version)

    def read_anew(self, runtime_version: str | None) -> CapsuleManifest:
        """
        Return the manifest of the same text, whose form is found again; see `judged_by`.

        Raises:
            InvalidManifestError: It is refused.
        """
        if self.format == "toml":
            return CapsuleManifest.parse(self.text, runtime_version=runtime_version)
        values = json.loads(self.text)
        form = form_of(values)
        try:
            rules = runtime_version or form.value
            found = CapsuleManifest._bind(values, form, rules, ("json", self.text))
        except ValidationError as error:
            raise InvalidManifestError(None, *first_error(error, values)) from error
        found.require_valid(runtime_version=runtime_version)
        return found

    @classmethod
    def read_back(
        cls,
        text: str,
        *,
        format: Format,  # noqa: A002 - its name
        form: ManifestForm = ManifestForm.LEGACY,
        rules: str = ORIGINAL,
    ) -> Self:
        """
        Return the manifest of a stored *text*, without checking what its loader checks again.

        Raises:
            InvalidManifestError, TypeError, ValueError: The text is not that of a manifest.
        """
        if not isinstance(text, str):
            raise TypeError("the text of a manifest is no text")
        values = parse_document(text, None).values if format == "toml" else json.loads(text)
        return cls.restore(values, format=format, text=text, form=form, rules=rules)

    @classmethod
    def load(cls, path: str | PathLike[str], *, runtime_version: str | None = None) -> Self:
        """
        Read the file at *path* and `parse` it; byte order mark and line ends are kept.

        Raises:
            InvalidManifestError: Rule `io` if the file cannot be read, else as `parse`.
        """
        return cls.parse(read_text(path), path=path, runtime_version=runtime_version)

    def require_valid(
        self, *, path: str | PathLike[str] | None = None, runtime_version: str | None = None
    ) -> None:
        """
        Check the rules that types cannot express, also for a manifest built in code.

        Raises:
            InvalidManifestError: The first broken rule.
        """
        for rule, message in chain(
            rules.of_package(self.package, runtime_version),
            self._legacy_violations() if self.reading.dependencies else self._violations(),
        ):
            raise InvalidManifestError(path, rule, message)

    def _legacy_violations(self) -> Iterator[tuple[str, str]]:
        """Yield the violations of the rules of 0.2.0 to 0.4.0."""
        yield from rules.of_publish_patterns(self.capabilities.ipc_publish)
        yield from rules.of_interceptors(self.interceptors)
        yield from rules.of_dependencies(self.dependencies, is_uplink=self.capabilities.uplink)
        yield from rules.of_topics(self.topics)

    def _violations(self) -> Iterator[tuple[str, str]]:
        """Yield the violations of the rules since 0.5.0."""
        if self.reading.table_rights:
            yield from rules.of_topic_keys("publish", self.publish)
            yield from rules.of_topic_keys("subscribe", self.subscribe)
        yield from rules.of_interfaces("imports", self.imports)
        yield from rules.of_interfaces("exports", self.exports)
        yield from rules.of_commands(self.commands)
        is_uplink = self.merged_capabilities.uplink
        yield from rules.of_uplink(is_uplink=is_uplink, has_imports=any(self.imports.values()))

    def derived(self, derive: Callable[[CapsuleManifest], T]) -> T:
        """Return `derive(self)`, which is derived once; it must not be changed."""
        known = self._private["_derived"]
        if derive not in known:
            known[derive] = derive(self)
        return known[derive]  # type: ignore[no-any-return]  # what it has returned

    @property
    def _private(self) -> dict[str, Any]:
        """The private attributes, of which a registration makes a hundred reads of 4 µs else."""
        return self.__pydantic_private__ or {}

    @property
    def reading(self) -> Reading:
        """What is read of it, and how it is compared."""
        return reading_of(self.form, self.rules)

    @property
    def rules(self) -> str:
        """
        By which rules it is read and judged: those of its form, by name, or of a runtime's version.

        `original` are those of what was registered before rules were told apart.
        """
        return self._private["_rules"] or self.form.value

    @property
    def runtime_version(self) -> str | None:
        """The runtime that it is read for, or `None` if it is read in its own form."""
        return None if self.rules in (ORIGINAL, self.form.value) else self.rules

    @property
    def form(self) -> ManifestForm:
        """How it is written: by the marks in what was parsed, or in what it was built of."""
        return self._private["_form"] or form_of(self.to_json())

    @property
    def merged_capabilities(self) -> CapabilitiesDef:
        """
        The capabilities of the root with those of components that hold for the whole capsule.

        Lists are appended in file order, duplicates kept; the last component that states
        `bind_workers` replaces it.
        """
        merged = self.reading.merged
        values: dict[str, Any] = {}
        for component in self.components:
            if component.capabilities is None:
                continue
            for name in merged:
                before = values.get(name, getattr(self.capabilities, name))
                found = getattr(component.capabilities, name)
                if isinstance(found, tuple):
                    values[name] = (*before, *found)
                elif name == "bind_workers":
                    values[name] = before if found is None else found
                else:
                    values[name] = before or found
        return self.capabilities.model_copy(update=values) if values else self.capabilities

    @property
    def effective_provides(self) -> tuple[str, ...]:
        """
        What the capsule offers to others, in order, duplicates kept.

        `dependencies.provides` if it is not empty, else derived from what the manifest
        publishes, its tools, model providers and uplink names.
        """
        return self.dependencies.provides or (
            *(f"topic:{topic}" for topic in self.capabilities.ipc_publish),
            *(f"tool:{tool.name}" for tool in self.tools),
            *(f"llm:{provider.id}" for provider in self.llm_providers),
            *(f"uplink:{uplink.name}" for uplink in self.uplinks),
        )

    @property
    def all_imports(self) -> list[tuple[str, ImportDef]]:
        """The imports, each with its interface as `ns:name`, sorted by that."""
        return by_interface(self.imports)

    @property
    def all_exports(self) -> list[tuple[str, ExportDef]]:
        """The exports, each with its interface as `ns:name`, sorted by that."""
        return by_interface(self.exports)

    @property
    def format(self) -> Format:
        """The language of `text`: TOML as it was read, JSON for a manifest built in code."""
        return self._source[0] if self._source else "json"

    @property
    def text(self) -> str:
        """The exact text that was parsed, or canonical JSON for a manifest built in code."""
        return self._source[1] if self._source else canonical_json(self.to_json())

    @property
    def digest(self) -> str:
        """The SHA-256 of `text` in UTF-8, as 64 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values, under the names of the TOML file."""
        return self.model_dump(mode="json", by_alias=True, warnings="none")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as Pydantic does; a changed copy drops the text, which no longer matches."""
        copy = super().model_copy(update=update, deep=deep)
        if update:
            copy._source = copy._parsed = copy._form = None  # noqa: SLF001 - of its own class
            copy._rules, copy._derived = None, {}  # noqa: SLF001
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CapsuleManifest):
            return NotImplemented
        return self.__dict__ == other.__dict__ and self.model_extra == other.model_extra

    __hash__ = None  # type: ignore[assignment]  # `env` and unknown keys are mutable
