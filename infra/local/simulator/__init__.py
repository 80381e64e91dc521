"""A simulated OCPP 1.6J charge point: `ChargePoint`; `python -m infra.local.simulator --help` for the command."""

from infra.local.simulator.battery import Vehicle
from infra.local.simulator.charge_point import ChargePoint, Command
from infra.local.simulator.faults import Faults, clock_ahead, clock_of_1970
from infra.local.simulator.link import LinkSettings
from infra.local.simulator.outbox import Acknowledged
from infra.local.simulator.outlet import Outlet, Transaction
from infra.local.simulator.rpc import AnswerLostError, CallError
from infra.local.simulator.schema import ProtocolViolationError

__all__ = [
    "Acknowledged",
    "AnswerLostError",
    "CallError",
    "ChargePoint",
    "Command",
    "Faults",
    "LinkSettings",
    "Outlet",
    "ProtocolViolationError",
    "Transaction",
    "Vehicle",
    "clock_ahead",
    "clock_of_1970",
]
