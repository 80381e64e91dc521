"""Types of the wire (mobile-api.md §1.3-1.6): numbers are JSON numbers, times end in ``Z``, absent members stay away.

In a response model a member is one of three kinds:

- ``amount: Som`` is required;
- ``amount: Omit[Som] = None`` is optional and never null: it is left out when there is nothing to say;
- ``amount: Som | None = None`` is nullable: always there, null when there is nothing to say.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
)
from pydantic_core import CoreSchema, PydanticCustomError

from evpower.clock import iso_z
from evpower.money import number
from functions.api.strict_json import is_clean

T = TypeVar("T")


class _LeftOut:
    """Describes a member that is absent instead of null: its JSON schema has no null."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema)
        kinds = [kind for kind in described.get("anyOf", []) if kind != {"type": "null"}]
        if len(kinds) != 1:
            return described
        return {**{name: value for name, value in described.items() if name != "anyOf"}, **kinds[0]}


def _is_none(value: Any) -> bool:
    return value is None


Omit = Annotated[T | None, _LeftOut(), Field(exclude_if=_is_none)]

_as_number = PlainSerializer(number, return_type=float)
Som = Annotated[Decimal, _as_number, Field(description="som, 2 decimals", examples=[500.0])]
Kwh = Annotated[Decimal, _as_number, Field(description="kWh, 3 decimals", examples=[12.345])]
Number = Annotated[Decimal, _as_number]
Moment = Annotated[
    datetime,
    PlainSerializer(iso_z, return_type=str),
    Field(description="UTC, RFC 3339 with Z", examples=["2026-01-15T06:00:00.000Z"]),
]


class ResponseModel(BaseModel):
    """Base of all answers. Built by our own code, so an unknown member is a defect."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(ResponseModel):
    """Answer with the ``success`` member that the app requires."""

    success: bool = True


class RequestModel(BaseModel):
    """Base of all bodies. Unknown members are ignored: older and newer apps may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _only_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        raise PydanticCustomError("number_type", "must be a JSON number")
    return value


# Strings and booleans are not numbers: pydantic would otherwise take "10" and true.
strict_number = BeforeValidator(_only_number, json_schema_input_type=float)
strict_integer = BeforeValidator(_only_number, json_schema_input_type=int)
AmountIn = Annotated[Decimal, strict_number]
"""Som as the client sent it; bounds are the service's rule, because each has an error code of its own (§8)."""
EnergyIn = Annotated[Decimal, strict_number]


def clean_text(value: str) -> str:
    """The text, if the database can hold it."""
    if not is_clean(value):
        raise PydanticCustomError("string_type", "must not hold control data")
    return value


IdIn = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(clean_text)]
"""An id as a client sends it: opaque, but bounded and storable (mobile-api.md §1.12)."""


class StaffRequest(RequestModel):
    """A body of the staff: an unknown member is refused.

    Use case: a misspelt ``meter_stop`` must not settle a charge at the charger's own figure, a misspelt ``expires_at``
    must not make a card without an end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(BaseModel):
    """The flat error envelope of every failure (mobile-api.md §0.1)."""

    model_config = ConfigDict(extra="allow")

    success: Annotated[bool, Field(examples=[False])]
    error_code: Annotated[str, Field(description="machine word", examples=["insufficient_balance"])]
    error: Annotated[str, Field(description="sentence in the language of Accept-Language")]
    message: Annotated[str, Field(description="the same sentence")]
    correlation_id: str
