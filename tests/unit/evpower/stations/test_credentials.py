"""AuthorizationKey: made, hashed, checked."""

import pytest

from evpower.stations.credentials import hash_authorization_key, new_authorization_key, verify_authorization_key


def test_a_new_key_fits_the_whitepaper_and_is_not_repeated() -> None:
    keys = {new_authorization_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(len(bytes.fromhex(key)) == 20 for key in keys)


def test_only_the_key_itself_matches() -> None:
    key = new_authorization_key()
    stored = hash_authorization_key(key)
    assert key not in stored
    assert verify_authorization_key(stored, key)
    assert not verify_authorization_key(stored, new_authorization_key())
    assert not verify_authorization_key(stored, key[:-1])
    assert not verify_authorization_key(stored, "")


def test_the_same_key_hashes_differently_each_time() -> None:
    key = new_authorization_key()
    assert hash_authorization_key(key) != hash_authorization_key(key)


def test_hexadecimal_keys_in_any_letter_case_other_keys_exactly() -> None:
    key = new_authorization_key()
    assert verify_authorization_key(hash_authorization_key(key.upper()), key)
    assert verify_authorization_key(hash_authorization_key(key), key.upper())
    plain = hash_authorization_key("Not-Hexadecimal-Key")
    assert verify_authorization_key(plain, "Not-Hexadecimal-Key")
    assert not verify_authorization_key(plain, "not-hexadecimal-key")


@pytest.mark.parametrize("stored", [None, "", "blake2b", "blake2b$zz$00", "md5$00$00", "blake2b$" + "00" * 40 + "$00"])
def test_a_broken_or_missing_hash_never_matches(stored: str | None) -> None:
    assert not verify_authorization_key(stored, "")
    assert not verify_authorization_key(stored, "a" * 40)


def test_another_scheme_with_a_fitting_digest_does_not_match() -> None:
    key = new_authorization_key()
    _, salt, digest = hash_authorization_key(key).split("$")
    assert not verify_authorization_key(f"plain${salt}${digest}", key)


@pytest.mark.parametrize("key", ["", "short", "x" * 15, "x" * 41])
def test_keys_of_a_wrong_length_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="16 to 40"):
        hash_authorization_key(key)


def test_odd_characters_do_not_break_the_check() -> None:
    stored = hash_authorization_key(new_authorization_key())
    assert not verify_authorization_key(stored, "\ud800\0ключ")
