"""What the answers to commands about keys and certificates mean for what is stored of the station."""

from collections.abc import Mapping
from typing import Any

from evpower.certificates import service as certificates
from evpower.commands.models import Command, CommandStatus
from evpower.db import Conn
from evpower.stations import key_rotation

_Answer = Mapping[str, Any] | None


async def configuration_changed(conn: Conn, command: Command, outcome: CommandStatus, answer: _Answer) -> None:
    """ChangeConfiguration: a new AuthorizationKey or SecurityProfile was taken over, or was not."""
    assert command.finished_at is not None
    await key_rotation.answered(conn, command, outcome, _status(answer), command.finished_at)


async def certificate_signed(conn: Conn, command: Command, outcome: CommandStatus, _answer: _Answer) -> None:
    """CertificateSigned."""
    assert command.finished_at is not None
    await certificates.signed_answered(conn, command, outcome, command.finished_at)


async def certificate_installed(conn: Conn, command: Command, outcome: CommandStatus, _answer: _Answer) -> None:
    """InstallCertificate."""
    assert command.finished_at is not None
    await certificates.install_answered(conn, command, outcome, command.finished_at)


async def certificate_deleted(conn: Conn, command: Command, outcome: CommandStatus, answer: _Answer) -> None:
    """DeleteCertificate."""
    await certificates.delete_answered(conn, command, outcome, _status(answer))


async def certificates_told(conn: Conn, command: Command, outcome: CommandStatus, answer: _Answer) -> None:
    """GetInstalledCertificateIds."""
    assert command.finished_at is not None
    told = list((answer or {}).get("certificateHashData") or [])
    await certificates.ids_answered(conn, command, outcome, told, command.finished_at)


def _status(answer: _Answer) -> str | None:
    return None if answer is None else answer.get("status")
