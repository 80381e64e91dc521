"""OBANK's XML (payments.md §3): requests out, results in. Pure.

What its papers leave open is an argument (:class:`Dialect`), never a guess.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from evpower.clock import BISHKEK
from evpower.money import som

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CURRENCY_NUMBER = "417"  # KGS in ISO 4217
MAX_TOKEN_DAYS = 14
_MAX_ANSWER_BYTES = 256 * 1024
_MAX_INPUTS = 100
_MAX_SUM_DIGITS = 18
_TEXT_CHARS = 500
# An error text may repeat the card: no run of digits that could be one survives.
_CARD_LIKE = re.compile(r"\d(?:[ -]?\d){11,}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is disputed: units of ``sum`` in one som, and which values of ``state`` mean what."""

    units_per_som: int
    success_states: frozenset[str]
    failure_states: frozenset[str]
    unknown_states: frozenset[str]


class Verdict(StrEnum):
    """What a result says; only ``final="1"`` together with a known state ends a payment."""

    SUCCESS = "success"
    FAILURE = "failure"
    NO_SUCH_PAYMENT = "no_such_payment"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Result:
    """One ``<result>``. ``inputs`` has the names of ``<data>`` in lower case without punctuation."""

    payment_id: str
    trans_id: str
    state: str
    code: str
    final: bool
    units: str
    text: str
    inputs: Mapping[str, str]

    def verdict(self, dialect: Dialect) -> Verdict:
        """What it means under ``dialect``."""
        if self.state in dialect.unknown_states:
            return Verdict.NO_SUCH_PAYMENT
        if self.final and self.state in dialect.success_states:
            return Verdict.SUCCESS
        if self.final and self.state in dialect.failure_states:
            return Verdict.FAILURE
        return Verdict.PENDING


def payment_request(
    point: str, service: str, payment_id: str, units: int, at: datetime, attributes: Mapping[str, str]
) -> bytes:
    """``<payment>``; the card or its token is among ``attributes``. ``account`` stays empty: it would hold the card."""
    from xml.etree import ElementTree as ET

    root = ET.Element("request", point=point)
    payment = ET.SubElement(
        root,
        "payment",
        id=payment_id,
        sum=str(units),
        check="0",
        service=service,
        date=at.astimezone(BISHKEK).strftime("%Y-%m-%dT%H:%M:%S%z"),
        account="",
    )
    _attributes(payment, attributes)
    return _document(root)


def token_request(point: str, service: str, days: int) -> bytes:
    """``<advanced function="stored-cards">``: a page on which the payer stores a card."""
    from xml.etree import ElementTree as ET

    root = ET.Element("request", point=point)
    advanced = ET.SubElement(root, "advanced", service=service, function="stored-cards")
    _attributes(advanced, {"days": str(days)})
    return _document(root)


def status_request(point: str, payment_id: str) -> bytes:
    """``<status>`` of one payment by our own id."""
    from xml.etree import ElementTree as ET

    root = ET.Element("request", point=point)
    ET.SubElement(root, "status", id=payment_id)
    return _document(root)


def _attributes(parent: "Element", attributes: Mapping[str, str]) -> None:
    from xml.etree import ElementTree as ET

    for name, value in attributes.items():
        if value:
            ET.SubElement(parent, "attribute", name=name, value=value)


def _document(root: "Element") -> bytes:
    from xml.etree import ElementTree as ET

    encoded: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return encoded


def read_result(body: bytes, payment_id: str | None = None) -> Result:
    """The result in an answer; with ``payment_id`` it has to be that payment's.

    Raises:
        ValueError: not XML within bounds, no result or several, or another payment's.
    """
    if len(body) > _MAX_ANSWER_BYTES:
        raise ValueError("answer too large")
    root = _parse(body)
    found = [root] if root.tag == "result" else root.findall(".//result")
    if len(found) != 1:
        raise ValueError(f"{len(found)} results in the answer")
    element = found[0]
    named = element.get("id", "").strip()
    if payment_id is not None and named != payment_id:
        raise ValueError("the result is another payment's")
    state = element.get("state", "").strip()
    if not state and payment_id is not None:
        raise ValueError("result without a state")
    trans = element.get("trans", "").strip()
    return Result(
        payment_id=named,
        trans_id="" if trans == "0" else trans[:128],
        state=state[:16],
        code=harmless(element.get("code", "").strip()),
        final=element.get("final", "").strip() == "1",
        units=element.get("sum", "").strip(),
        text=harmless(element.get("text", "") or element.get("message", "") or (element.text or "").strip()),
        inputs=_inputs(element),
    )


def _parse(body: bytes) -> "Element":
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(body, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise ValueError("answer is not XML") from error


def _inputs(element: "Element") -> dict[str, str]:
    found: dict[str, str] = {}
    for item in element.findall("./data/input")[:_MAX_INPUTS]:
        name = re.sub(r"[^a-z0-9]", "", item.get("key", "").lower())
        found.setdefault(name, item.get("value", ""))
    return found


def harmless(text: str) -> str:
    """Text of the bank that may be kept and shown: bounded, nothing in it that could be a card number."""
    return _CARD_LIKE.sub("****", text)[:_TEXT_CHARS]


def to_units(amount: Decimal, units_per_som: int) -> int:
    """Whole units of an amount in som (two places fit into either unit).

    Raises:
        ValueError: fractions of a unit.
    """
    scaled = amount * units_per_som
    if scaled != int(scaled):
        raise ValueError(f"fractions of a unit in {amount}")
    return int(scaled)


def from_units(units: str, units_per_som: int) -> Decimal:
    """Som of a ``sum`` as the bank sends it; zero when it names none.

    Raises:
        ValueError: not a whole number, or fractions of a tyiyn.
    """
    if not units:
        return Decimal("0.00")
    if not (units.isascii() and units.isdigit() and len(units) <= _MAX_SUM_DIGITS):
        raise ValueError("sum is not a number of units")
    amount = Decimal(units) / units_per_som
    if som(amount) != amount:
        raise ValueError("sum has fractions of a tyiyn")
    return som(amount)
