"""AWS Private CA as the chargers' authority (acm-pca IssueCertificate, GetCertificate, RevokeCertificate)."""

import asyncio
from datetime import datetime
from typing import Any

from evpower.certificates.authority import AuthorityAway, AuthorityRefused, SigningOrder, issued
from evpower.certificates.models import Issued
from evpower.config import Settings
from evpower.outside.aws import aws_client

_POLLS = 5
_POLL_S = 1.0
# Answers that will be the same tomorrow; everything else is asked for again.
_FINAL = frozenset(
    {"InvalidArgsException", "InvalidArnException", "MalformedCSRException", "ResourceNotFoundException",
     "ValidationException"}
)  # fmt: skip
_ALGORITHMS = {
    "RSA_2048": "SHA256WITHRSA",
    "RSA_3072": "SHA256WITHRSA",
    "RSA_4096": "SHA256WITHRSA",
    "EC_prime256v1": "SHA256WITHECDSA",
    "EC_secp384r1": "SHA384WITHECDSA",
    "EC_secp521r1": "SHA512WITHECDSA",
}


class AwsPrivateAuthority:
    """An authority in the account. Calls block, so they run in threads."""

    def __init__(self, settings: Settings, client: Any = None) -> None:
        self._settings = settings
        self._client = client
        self._algorithm: str | None = None

    async def sign(self, order: SigningOrder, now: datetime) -> Issued:
        """Order it (once: the reference of an order is kept), then wait a few seconds for it."""
        reference = order.reference or await self._call(self._order, order)
        for _ in range(_POLLS):
            answer = await self._call(self._fetch, str(reference))
            if answer is not None:
                return issued(answer)
            await asyncio.sleep(_POLL_S)
        raise AuthorityAway("the certificate is not ready yet", str(reference))

    async def revoke(self, serial_number: str) -> None:
        """Put it on the authority's revocation list; one that is there already is fine."""
        await self._call(self._revoke, serial_number)

    async def _call(self, work: Any, argument: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        reference = argument if isinstance(argument, str) and argument.startswith("arn:") else None
        try:
            return await asyncio.to_thread(work, argument)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _FINAL:
                raise AuthorityRefused(f"AWS Private CA: {code}") from error
            raise AuthorityAway(f"AWS Private CA: {code}", reference) from error
        except BotoCoreError as error:
            raise AuthorityAway(f"AWS Private CA: {type(error).__name__}", reference) from error

    def _ready(self) -> Any:
        if self._client is None:
            self._client = aws_client(
                "acm-pca", region=self._settings.aws_region, endpoint_url=self._settings.aws_endpoint_url
            )
        return self._client

    def _order(self, order: SigningOrder) -> str:
        client, arn = self._ready(), self._settings.ca_arn
        if self._algorithm is None:
            found = client.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]
            self._algorithm = _ALGORITHMS.get(found["CertificateAuthorityConfiguration"]["KeyAlgorithm"])
        if self._algorithm is None:
            raise AuthorityRefused("the key of the private authority is of an unknown kind")
        partition = arn.split(":")[1]
        answer = client.issue_certificate(
            CertificateAuthorityArn=arn,
            Csr=order.csr.encode(),
            SigningAlgorithm=self._algorithm,
            TemplateArn=f"arn:{partition}:acm-pca:::template/EndEntityClientAuthCertificate/V1",
            Validity={"Type": "DAYS", "Value": self._settings.certificate_days},
            IdempotencyToken=order.id[:36],
        )
        return str(answer["CertificateArn"])

    def _fetch(self, reference: str) -> str | None:
        """The chain without its root; None while it is being made."""
        client = self._ready()
        try:
            answer = client.get_certificate(CertificateAuthorityArn=self._settings.ca_arn, CertificateArn=reference)
        except client.exceptions.RequestInProgressException:
            return None
        return (
            "\n".join([str(answer["Certificate"]).strip(), *_between(str(answer.get("CertificateChain") or ""))]) + "\n"
        )

    def _revoke(self, serial_number: str) -> None:
        client = self._ready()
        padded = serial_number.zfill(len(serial_number) + len(serial_number) % 2)
        try:
            client.revoke_certificate(
                CertificateAuthorityArn=self._settings.ca_arn,
                CertificateSerial=":".join(padded[i : i + 2] for i in range(0, len(padded), 2)),
                RevocationReason="CESSATION_OF_OPERATION",
            )
        except client.exceptions.RequestAlreadyProcessedException:
            return


def _between(chain: str) -> list[str]:
    """The authorities between leaf and root: chargers have the root."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from evpower.certificates.x509 import certificates

    found = [item for item in certificates(chain) if item.subject != item.issuer]
    return [item.public_bytes(Encoding.PEM).decode().strip() for item in found]
