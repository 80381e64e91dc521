"""Outbound commands of OCPP 1.6 as one table (section 5, security whitepaper). A command with rules of its own gets a
file beside this one.

Request and answer are checked against the schemas of the same names; the time for an answer is a multiple of
``OCPP_CALL_TIMEOUT_S``. Which commands may be written a second time is a rule of the outbox
(``evpower.commands.models.REPEATABLE_ACTIONS``), because its sweep needs it without a connection.
"""

from collections.abc import Mapping

from evpower.jobs import service as jobs
from evpower.local_list import outcomes as local_list
from evpower.reservations import service as reservations
from evpower.smart_charging import service as smart_charging
from socket_tier.dialect import CommandSpec
from socket_tier.ocpp16 import configuration, credentials

_ACCEPTED = CommandSpec()
# No status word, or one that is itself what was asked for: any answer is a success.
_ANY = CommandSpec(accepted=frozenset())
# A job that takes the place of one that runs: the charger has stopped that one and begins this.
_JOB = CommandSpec(accepted=frozenset({"Accepted", "AcceptedCanceled"}), on_outcome=jobs.command_ended)
# The answer has no status; it may name the file.
_CORE_JOB = CommandSpec(accepted=frozenset(), on_outcome=jobs.command_ended)
# Checked and written to slow flash before the answer.
_SLOW = CommandSpec(patience=2.0)

COMMANDS: Mapping[str, CommandSpec] = {
    # Core
    "RemoteStartTransaction": _ACCEPTED,
    "RemoteStopTransaction": _ACCEPTED,
    "Reset": _ACCEPTED,
    "UnlockConnector": CommandSpec(accepted=frozenset({"Unlocked"})),
    # Scheduled: a transaction runs, the change follows its end.
    "ChangeAvailability": CommandSpec(accepted=frozenset({"Accepted", "Scheduled"})),
    "ChangeConfiguration": CommandSpec(
        accepted=frozenset({"Accepted", "RebootRequired"}), on_outcome=configuration.changed
    ),
    "GetConfiguration": CommandSpec(accepted=frozenset(), on_outcome=configuration.told),
    "ClearCache": _ACCEPTED,
    "DataTransfer": _ACCEPTED,
    # Remote trigger
    "TriggerMessage": _ACCEPTED,
    "ExtendedTriggerMessage": _ACCEPTED,
    # Reservation
    "ReserveNow": CommandSpec(on_outcome=reservations.reserve_outcome),
    "CancelReservation": CommandSpec(on_outcome=reservations.cancel_outcome),
    # Local authorization list
    "SendLocalList": CommandSpec(patience=2.0, on_outcome=local_list.sent),
    "GetLocalListVersion": CommandSpec(accepted=frozenset(), on_outcome=local_list.version_told),
    # Firmware and logs
    "UpdateFirmware": _CORE_JOB,
    "SignedUpdateFirmware": _JOB,
    "GetDiagnostics": _CORE_JOB,
    "GetLog": _JOB,
    # Smart charging
    "SetChargingProfile": CommandSpec(on_outcome=smart_charging.set_outcome),
    "ClearChargingProfile": CommandSpec(on_outcome=smart_charging.clear_outcome),
    "GetCompositeSchedule": _ACCEPTED,
    # Certificates
    "CertificateSigned": CommandSpec(patience=2.0, on_outcome=credentials.certificate_signed),
    "InstallCertificate": CommandSpec(patience=2.0, on_outcome=credentials.certificate_installed),
    "DeleteCertificate": CommandSpec(on_outcome=credentials.certificate_deleted),
    # NotFound: there are none, which is what was asked
    "GetInstalledCertificateIds": CommandSpec(accepted=frozenset(), on_outcome=credentials.certificates_told),
}
