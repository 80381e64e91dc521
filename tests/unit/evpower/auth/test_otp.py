"""Codes and their hashes."""

from evpower.auth import otp
from evpower.config import Settings


def test_codes_are_six_digits_and_differ() -> None:
    codes = {otp.new_code() for _ in range(200)}
    assert len(codes) > 150
    assert all(len(code) == 6 and code.isdigit() for code in codes)


def test_a_hash_depends_on_code_phone_and_key() -> None:
    pepper = otp.pepper_of(Settings.model_validate({"environment": "test"}))
    other = otp.pepper_of(Settings.model_validate({"environment": "test", "otp_pepper": "another"}))
    base = otp.hash_code(pepper, "+996700000001", "123456")
    assert len(base) == 32
    assert b"123456" not in base
    assert otp.same(base, otp.hash_code(pepper, "+996700000001", "123456"))
    for changed in (
        otp.hash_code(pepper, "+996700000001", "123457"),
        otp.hash_code(pepper, "+996700000002", "123456"),
        otp.hash_code(other, "+996700000001", "123456"),
    ):
        assert not otp.same(base, changed)
