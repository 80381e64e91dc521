"""Web push encryption against the worked example of RFC 8291, appendix A."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from evpower.notifications import web_crypto

PLAIN = b"When I grow up, I want to be a watermelon"
RECEIVER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SENDER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A"
    "_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(web_crypto.decode(text), "big"), ec.SECP256R1())


def test_the_example_of_the_rfc() -> None:
    body = web_crypto.encrypt(
        PLAIN, RECEIVER_PUBLIC, AUTH, sender=private_key(SENDER_PRIVATE), salt=web_crypto.decode(SALT)
    )
    assert web_crypto.encode(body) == BODY


def test_the_browser_reads_the_example() -> None:
    plain = web_crypto.decrypt(web_crypto.decode(BODY), private_key(RECEIVER_PRIVATE), web_crypto.decode(AUTH))
    assert plain == PLAIN


def test_each_message_has_its_own_key_and_nobody_else_reads_it() -> None:
    one, two = (web_crypto.encrypt(PLAIN, RECEIVER_PUBLIC, AUTH) for _ in range(2))
    assert one[:16] != two[:16]
    assert one[21:86] != two[21:86]
    assert web_crypto.decrypt(two, private_key(RECEIVER_PRIVATE), web_crypto.decode(AUTH)) == PLAIN
    with pytest.raises(ValueError, match="this subscription"):
        web_crypto.decrypt(one, private_key(SENDER_PRIVATE), web_crypto.decode(AUTH))


def test_a_message_fits_into_what_every_service_takes() -> None:
    assert len(web_crypto.encrypt(b"x" * web_crypto.MAX_PLAIN_BYTES, RECEIVER_PUBLIC, AUTH)) == 4096
    with pytest.raises(ValueError, match="do not fit"):
        web_crypto.encrypt(b"x" * (web_crypto.MAX_PLAIN_BYTES + 1), RECEIVER_PUBLIC, AUTH)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (RECEIVER_PUBLIC, ""),
        (RECEIVER_PUBLIC, AUTH + "AA"),
        (RECEIVER_PUBLIC[:-4], AUTH),
        ("*" + RECEIVER_PUBLIC[1:], AUTH),
        ("ы" * 87, AUTH),
        (web_crypto.encode(b"\x04" + b"\x01" * 64), AUTH),  # no point of the curve
        (web_crypto.encode(b"\x00" * 65), AUTH),
    ],
)
def test_unusable_keys_are_named(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the library says, it is a ValueError
        web_crypto.read_keys(p256dh, auth)
