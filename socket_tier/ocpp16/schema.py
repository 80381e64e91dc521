"""The message schemas of OCPP 1.6, compiled once for all that check with them, and what its handlers can do without."""

from socket_tier.schemas import Leniency, SchemaSet

_NOTHING: frozenset[str] = frozenset()

SCHEMAS = SchemaSet(
    "v16",
    leniency={
        # A charger that is not let in cannot even be asked what is wrong with it.
        "BootNotification": Leniency(_NOTHING),
        # Transaction messages are saved member by member: what cannot be read in one is replaced by what is known.
        "MeterValues": Leniency(_NOTHING),
        "StartTransaction": Leniency(_NOTHING),
        "StopTransaction": Leniency(_NOTHING),
        "SecurityEventNotification": Leniency(frozenset({"type"})),
        # A word of another version, e.g. "Occupied" of OCPP 1.5 and 2.0.1, is judged where statuses are stored.
        "StatusNotification": Leniency(frozenset({"connectorId", "status"}), frozenset({"status"})),
    },
)
