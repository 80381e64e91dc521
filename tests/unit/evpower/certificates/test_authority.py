"""Who signs: our own authority, and AWS Private CA as moto plays it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from moto import mock_aws

from evpower.certificates import x509 as reading
from evpower.certificates.authority import (
    AuthorityAway,
    AuthorityRefused,
    LocalAuthority,
    SigningOrder,
    authority_from,
    issued,
)
from evpower.certificates.aws_authority import AwsPrivateAuthority
from evpower.config import Settings
from tests.fakes.station_authority import TestAuthority, csr, pem

NOW = datetime.now(UTC)


def order(text: str | None = None, **columns: Any) -> SigningOrder:
    return SigningOrder("order-1", text or csr("SN-1"), "SN-1", "Operator", **columns)


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"environment": "test", **values})


async def test_a_certificate_for_a_client_and_nothing_else() -> None:
    root = TestAuthority.make()
    key = ec.generate_private_key(ec.SECP256R1())
    authority = authority_from(settings(**root.settings, certificate_days=90))
    assert authority is not None
    signed = await authority.sign(order(csr("SN-1", key=key)), NOW)
    (leaf,) = reading.certificates(signed.chain)
    leaf.verify_directly_issued_by(root.certificate)
    assert leaf.public_key() == key.public_key()
    assert leaf.subject.rfc4514_string() == "O=Operator,CN=SN-1"
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert signed.facts.serial_number == f"{leaf.serial_number:x}"
    assert abs(signed.facts.not_after - NOW - timedelta(days=90)) < timedelta(seconds=2)


async def test_the_chain_has_what_is_between_and_not_the_root() -> None:
    below = TestAuthority.make("Below", below=TestAuthority.make())
    authority = authority_from(settings(**below.settings))
    assert authority is not None
    signed = await authority.sign(order(), NOW)
    leaf, between = reading.certificates(signed.chain)
    leaf.verify_directly_issued_by(below.certificate)
    assert between == below.certificate


async def test_no_certificate_outlives_its_authority() -> None:
    root = TestAuthority.make(days=10)
    signed = await LocalAuthority(root.pem, root.settings["ca_key"], days=365).sign(order(), NOW)
    assert signed.facts.not_after == root.certificate.not_valid_after_utc


async def test_an_authority_that_cannot_sign() -> None:
    root, other = TestAuthority.make(), TestAuthority.make()
    for certificate, key in ((root.pem, other.settings["ca_key"]), ("", root.settings["ca_key"])):
        with pytest.raises(AuthorityRefused):
            await LocalAuthority(certificate, key, days=1).sign(order(), NOW)
    with pytest.raises(AuthorityRefused, match="not valid"):
        await LocalAuthority(root.pem, root.settings["ca_key"], days=1).sign(order(), NOW + timedelta(days=4000))


def test_a_chain_that_no_message_carries_is_refused() -> None:
    one = TestAuthority.make().pem
    assert issued(one).chain == one
    for text, why in ((one * 40, "longer"), ("nothing", "no certificate")):
        with pytest.raises(AuthorityRefused, match=why):
            issued(text)


def test_half_a_configuration_is_refused_at_the_start() -> None:
    root = TestAuthority.make()
    assert authority_from(settings()) is None
    for values in ({**root.settings, "ca_key": ""}, {"certificate_authority": "aws"}):
        with pytest.raises(ValueError, match="CERTIFICATE_AUTHORITY"):
            settings(**values)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("acm-pca", region_name="eu-central-1")


def private_ca(client: Any) -> str:
    configuration = {
        "KeyAlgorithm": "EC_prime256v1",
        "SigningAlgorithm": "SHA256WITHECDSA",
        "Subject": {"CommonName": "Private Root"},
    }
    made = client.create_certificate_authority(
        CertificateAuthorityConfiguration=configuration, CertificateAuthorityType="ROOT"
    )
    arn: str = made["CertificateAuthorityArn"]
    request = client.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"]
    root = client.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=request.encode(),
        SigningAlgorithm="SHA256WITHECDSA",
        TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
        Validity={"Type": "DAYS", "Value": 3650},
    )["CertificateArn"]
    own = client.get_certificate(CertificateAuthorityArn=arn, CertificateArn=root)["Certificate"]
    client.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=own.encode())
    return arn


async def test_aws_private_ca_signs_what_it_is_asked_to(aws: Any) -> None:
    arn = private_ca(aws)
    authority = AwsPrivateAuthority(settings(certificate_authority="aws", ca_arn=arn), aws)
    signed = await authority.sign(order(), NOW)
    (leaf,) = reading.certificates(signed.chain)
    assert leaf.subject.rfc4514_string() == "CN=SN-1"
    assert signed.facts.serial_number == f"{leaf.serial_number:x}"


class Slow:
    """AWS Private CA as far as it is asked: an order is ready at the ``ready_at``-th look."""

    def __init__(self, ready_at: int) -> None:
        self.looks, self.orders, self.ready_at = 0, 0, ready_at
        self.exceptions = type("E", (), {"RequestInProgressException": RuntimeError})

    def describe_certificate_authority(self, **_: Any) -> Any:
        return {"CertificateAuthority": {"CertificateAuthorityConfiguration": {"KeyAlgorithm": "RSA_2048"}}}

    def issue_certificate(self, **asked: Any) -> Any:
        self.orders += 1
        assert asked["IdempotencyToken"] == "order-1"
        assert asked["SigningAlgorithm"] == "SHA256WITHRSA"
        assert asked["TemplateArn"].endswith("EndEntityClientAuthCertificate/V1")
        return {"CertificateArn": "arn:aws:acm-pca:x"}

    def get_certificate(self, **_: Any) -> Any:
        self.looks += 1
        if self.looks < self.ready_at:
            raise RuntimeError
        root = TestAuthority.make()
        between = TestAuthority.make("Between", below=root)
        leaf = TestAuthority.make("Leaf", below=between)
        return {"Certificate": leaf.pem.strip(), "CertificateChain": pem(between.certificate) + root.pem}


async def test_an_order_that_takes_long_is_asked_for_later_and_not_placed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("evpower.certificates.aws_authority._POLL_S", 0.0)
    client = Slow(ready_at=8)
    authority = AwsPrivateAuthority(settings(certificate_authority="aws", ca_arn="arn:aws:acm-pca:ca"), client)
    with pytest.raises(AuthorityAway) as away:
        await authority.sign(order(), NOW)
    assert away.value.reference == "arn:aws:acm-pca:x"
    signed = await authority.sign(order(reference=away.value.reference), NOW)
    assert client.orders == 1
    assert [item.subject.rfc4514_string() for item in reading.certificates(signed.chain)] == ["CN=Leaf", "CN=Between"]


async def test_what_aws_refuses_and_what_it_may_do_tomorrow(aws: Any) -> None:
    another = private_ca(aws).rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    gone = AwsPrivateAuthority(settings(certificate_authority="aws", ca_arn=another), aws)
    with pytest.raises(AuthorityRefused, match="ResourceNotFound"):
        await gone.sign(order(), NOW)
    unreachable = settings(certificate_authority="aws", ca_arn=private_ca(aws))

    class Down:
        def describe_certificate_authority(self, **_: Any) -> Any:
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="https://acm-pca.example")

    with pytest.raises(AuthorityAway, match="EndpointConnectionError"):
        await AwsPrivateAuthority(unreachable, Down()).sign(order(), NOW)


async def test_revoked_at_aws(aws: Any) -> None:
    arn = private_ca(aws)
    authority = AwsPrivateAuthority(settings(certificate_authority="aws", ca_arn=arn), aws)
    signed = await authority.sign(order(), NOW)
    await authority.revoke(signed.facts.serial_number)
