"""What a refused token asks for."""

import base64

import pytest

from proxy.graph.auth import claims_of

WANTED = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
REALM = 'Bearer realm="", authorization_uri="https://login.example.com/common/oauth2/authorize"'


def test_the_claims_of_a_challenge_go_into_the_next_sign_in() -> None:
    """Lesson 14, continuous access evaluation: base64 with and without its padding."""
    encoded = base64.b64encode(WANTED.encode()).decode()
    for spelling in (encoded, encoded.rstrip("=")):
        challenge = f'{REALM}, error="insufficient_claims", claims="{spelling}"'
        assert claims_of(challenge) == WANTED


@pytest.mark.parametrize("claims", ["", ', claims=""', ', claims="%%%"', ', claims="/w=="'])
def test_a_challenge_without_claims_is_a_token_that_ran_out(claims: str) -> None:
    assert not claims_of(f'{REALM}, error="invalid_token"{claims}')
