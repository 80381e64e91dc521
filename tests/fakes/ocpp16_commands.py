"""Every command of OCPP 1.6 and the security whitepaper: a request, and what each answer means, written by hand."""

from typing import Any, NamedTuple

WHEN = "2026-06-01T10:00:00.000Z"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SCHEDULE = {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11000.1}]}
PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
    "chargingSchedule": SCHEDULE,
}
CERTIFICATE = {"hashAlgorithm": "SHA256", "issuerNameHash": "aa", "issuerKeyHash": "bb", "serialNumber": "01"}
FIRMWARE = {
    "location": "https://127.0.0.1:9/x",
    "retrieveDateTime": WHEN,
    "signingCertificate": PEM,
    "signature": "c2ln",
}


class Case(NamedTuple):
    """``accepted`` and ``rejected``: the words of the answer's ``status``. No words: ``answer`` is the only answer."""

    request: dict[str, Any]
    accepted: tuple[str, ...] = ("Accepted",)
    rejected: tuple[str, ...] = ("Rejected",)
    answer: dict[str, Any] = {}  # noqa: RUF012 - never changed
    repeatable: bool = False

    def good(self) -> dict[str, Any]:
        """An answer that means success."""
        return {"status": self.accepted[0], **self.answer} if self.accepted else self.answer


CASES: dict[str, Case] = {
    "RemoteStartTransaction": Case({"idTag": "TAG", "connectorId": 1}),
    "RemoteStopTransaction": Case({"transactionId": 7}, repeatable=True),
    "Reset": Case({"type": "Soft"}),
    "UnlockConnector": Case({"connectorId": 1}, ("Unlocked",), ("UnlockFailed", "NotSupported")),
    "ChangeAvailability": Case({"connectorId": 0, "type": "Inoperative"}, ("Accepted", "Scheduled")),
    "ChangeConfiguration": Case(
        {"key": "HeartbeatInterval", "value": "60"}, ("Accepted", "RebootRequired"), ("Rejected", "NotSupported")
    ),
    "GetConfiguration": Case({}, (), (), {"configurationKey": []}, repeatable=True),
    "ClearCache": Case({}),
    "DataTransfer": Case(
        {"vendorId": "v", "messageId": "m", "data": "x"}, rejected=("Rejected", "UnknownMessageId", "UnknownVendorId")
    ),
    "TriggerMessage": Case({"requestedMessage": "Heartbeat"}, rejected=("Rejected", "NotImplemented"), repeatable=True),
    "ExtendedTriggerMessage": Case(
        {"requestedMessage": "LogStatusNotification"}, rejected=("Rejected", "NotImplemented"), repeatable=True
    ),
    "ReserveNow": Case(
        {"connectorId": 1, "expiryDate": WHEN, "idTag": "TAG", "reservationId": 3},
        rejected=("Rejected", "Faulted", "Occupied", "Unavailable"),
    ),
    "CancelReservation": Case({"reservationId": 3}),
    "SendLocalList": Case(
        {
            "listVersion": 2,
            "updateType": "Full",
            "localAuthorizationList": [{"idTag": "TAG", "idTagInfo": {"status": "Accepted", "expiryDate": WHEN}}],
        },
        rejected=("Failed", "NotSupported", "VersionMismatch"),
    ),
    "GetLocalListVersion": Case({}, (), (), {"listVersion": 2}, repeatable=True),
    "UpdateFirmware": Case(
        {"location": "https://127.0.0.1:9/firmware.bin", "retrieveDate": WHEN, "retries": 3}, (), ()
    ),
    "SignedUpdateFirmware": Case(
        {"requestId": 5, "firmware": FIRMWARE},
        ("Accepted", "AcceptedCanceled"),
        ("Rejected", "InvalidCertificate", "RevokedCertificate"),
    ),
    "GetDiagnostics": Case({"location": "https://127.0.0.1:9/up", "startTime": WHEN}, (), (), {"fileName": "log.zip"}),
    "GetLog": Case(
        {"logType": "SecurityLog", "requestId": 6, "log": {"remoteLocation": "https://127.0.0.1:9/up"}},
        ("Accepted", "AcceptedCanceled"),
        answer={"filename": "log.zip"},
    ),
    "SetChargingProfile": Case(
        {"connectorId": 1, "csChargingProfiles": PROFILE}, rejected=("Rejected", "NotSupported")
    ),
    "ClearChargingProfile": Case({"id": 1}, rejected=("Unknown",)),
    "GetCompositeSchedule": Case(
        {"connectorId": 1, "duration": 3600},
        answer={"connectorId": 1, "scheduleStart": WHEN, "chargingSchedule": SCHEDULE},
        repeatable=True,
    ),
    "CertificateSigned": Case({"certificateChain": PEM}),
    "InstallCertificate": Case(
        {"certificateType": "CentralSystemRootCertificate", "certificate": PEM}, rejected=("Failed", "Rejected")
    ),
    "DeleteCertificate": Case({"certificateHashData": CERTIFICATE}, rejected=("Failed", "NotFound")),
    "GetInstalledCertificateIds": Case(
        {"certificateType": "ManufacturerRootCertificate"},
        ("Accepted", "NotFound"),
        (),
        {"certificateHashData": [CERTIFICATE]},
        repeatable=True,
    ),
}
