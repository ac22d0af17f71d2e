"""Which registered capsules a listing shows: conditions, and a page of what meets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING, Final

from capsule_registry.errors import InvalidTextError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.models.new_capsule import to_state
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capsule_registry.models.records import CapsuleState


@dataclass(frozen=True, slots=True)
class CapsulePage:
    """Validated arguments of a listing."""

    #: The values that columns must have, by name.
    conditions: Mapping[str, str] = field(default_factory=dict)
    after: CapsuleId | None = None
    most: int | None = None

    @classmethod
    def of(
        cls,
        state: CapsuleState | str | None,
        form: ManifestForm | str | None,
        after: str | None,
        limit: int | None,
    ) -> CapsulePage:
        """
        Validate the arguments of a listing.

        Raises:
            InvalidTextError: *state* is no state, or *form* no form.
            ValueError: *limit* is less than one.
        """
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError("limit must be at least 1")
        conditions = {}
        if form is not None:
            conditions["form"] = _to_form(form).value
        if state is not None:
            conditions["state"] = to_state(state).value
        most = None if limit is None else index(limit)
        return cls(conditions, None if after is None else CapsuleId(after), most)


#: All of them, on one page.
EVERY_CAPSULE: Final = CapsulePage()


def _to_form(value: object) -> ManifestForm:
    try:
        return ManifestForm(plain_text(value) or "")
    except ValueError as error:
        raise InvalidTextError("form", "unknown", f"{value!r} is no form") from error
