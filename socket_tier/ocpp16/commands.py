"""Outbound commands of OCPP 1.6 as one table (section 5). A command with rules of its own gets a file beside this one.

Request and answer are checked against the schemas of the same names; deadlines come from the dispatcher.
"""

from collections.abc import Mapping

from socket_tier.dialect import CommandSpec
from socket_tier.ocpp16 import configuration

_ACCEPTED = CommandSpec()
COMMANDS: Mapping[str, CommandSpec] = {
    "RemoteStartTransaction": _ACCEPTED,
    "RemoteStopTransaction": _ACCEPTED,
    "Reset": _ACCEPTED,
    "TriggerMessage": _ACCEPTED,
    "UnlockConnector": CommandSpec(accepted=frozenset({"Unlocked"})),
    "ChangeConfiguration": CommandSpec(accepted=frozenset({"Accepted", "RebootRequired"})),
    "GetConfiguration": CommandSpec(accepted=frozenset(), on_answer=configuration.store),
}
