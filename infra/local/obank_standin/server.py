"""The bank's side: one address, XML in and out, a client certificate wanted."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

from aiohttp import web
from defusedxml.ElementTree import fromstring

_PATH = "/external/extended-cert"


@dataclass(slots=True)
class BankPayment:
    """One payment as the bank knows it; ``units`` is what its ``sum`` counts."""

    payment_id: str
    units: int
    attributes: dict[str, str]
    trans: str
    state: str = "0"
    final: bool = False


@dataclass(slots=True)
class Behaviour:
    """How the stand-in answers."""

    approve_at_once: bool = False
    refuse: str = ""  # text of a final refusal; the payment is not made
    hang: frozenset[str] = frozenset()  # payment, status, advanced: executed, but never answered
    answer: bytes | None = None  # this body, whatever is asked
    http_status: int = 200
    three_d_secure: bool = True
    show_sum: bool = True


@dataclass(slots=True)
class ObankStandin:
    """In-process server; ``async with`` binds a free loopback port."""

    certificate: Path
    key: Path
    client_authority: Path
    point: str = "test-point"
    behaviour: Behaviour = field(default_factory=Behaviour)
    payments: dict[str, BankPayment] = field(default_factory=dict)
    questions: list[bytes] = field(default_factory=list)
    _port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        """Value for OBANK_API_URL."""
        return f"https://127.0.0.1:{self._port}{_PATH}"

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.client_authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.key)
        app = web.Application(client_max_size=64 * 1024)
        app.router.add_post(_PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def end(self, payment_id: str, state: str = "60") -> None:
        """The payer's bank decides: 60 paid, 80 refused."""
        payment = self.payments[payment_id]
        payment.state, payment.final = state, True

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.questions.append(body)
        if request.content_type != "application/xml":
            return web.Response(status=415)
        root = fromstring(body, forbid_dtd=True)
        if root.get("point") != self.point or len(root) != 1:
            return web.Response(status=403)
        question = root[0]
        result = self._result(question)
        if question.tag in self.behaviour.hang:
            await asyncio.sleep(3600)
        if self.behaviour.answer is not None:
            return web.Response(body=self.behaviour.answer, content_type="application/xml")
        response = ET.Element("response")
        response.append(result)
        return web.Response(
            status=self.behaviour.http_status, body=ET.tostring(response), content_type="application/xml"
        )

    def _result(self, question: ET.Element) -> ET.Element:
        payment_id = question.get("id", "")
        match question.tag:
            case "payment":
                return self._pay(question, payment_id)
            case "status":
                payment = self.payments.get(payment_id)
                if payment is None:
                    return ET.Element("result", id=payment_id, state="-2", code="4", final="0")
                return self._of(payment)
            case "advanced" if question.get("function") == "stored-cards":
                if self.behaviour.refuse:
                    return ET.Element("result", state="80", code="7", final="1", text=self.behaviour.refuse)
                return _with_inputs(
                    ET.Element("result", state="60", code="0", final="1"), {"form": "https://bank.example/store/1"}
                )
        return ET.Element("result", state="80", code="1", final="1")

    def _pay(self, question: ET.Element, payment_id: str) -> ET.Element:
        if self.behaviour.refuse:
            return ET.Element(
                "result", id=payment_id, trans="0", state="80", code="51", final="1", text=self.behaviour.refuse
            )
        attributes = {item.get("name", ""): item.get("value", "") for item in question.findall("attribute")}
        trans = str(7_000_000 + len(self.payments))
        payment = BankPayment(payment_id, int(question.get("sum", "0")), attributes, trans)
        self.payments.setdefault(payment_id, payment)
        if self.behaviour.approve_at_once:
            self.end(payment_id)
        result = self._of(payment)
        if self.behaviour.three_d_secure and not payment.final:
            _with_inputs(
                result,
                {
                    "ACS_URL": "https://acs.example/3ds",
                    "MD": "md-1",
                    "PaReq": "pareq-1",
                    "term-url": "https://bank.example/term",
                },
            )
        return result

    def _of(self, payment: BankPayment) -> ET.Element:
        shown = {
            "id": payment.payment_id,
            "trans": payment.trans,
            "state": payment.state,
            "code": "0",
            "final": "1" if payment.final else "0",
        }
        if self.behaviour.show_sum:
            shown["sum"] = str(payment.units)
        return ET.Element("result", shown)


def _with_inputs(result: ET.Element, inputs: Mapping[str, str]) -> ET.Element:
    data = ET.SubElement(result, "data")
    for key, value in inputs.items():
        ET.SubElement(data, "input", key=key, value=value)
    return result
