"""The authorizer's keys are made once, at a real API server."""

from __future__ import annotations

import base64

import pytest

from crowetrade_operator.authorizer.keys import ISSUER_KEY, ISSUER_SEED, USER_KEY, USER_SEED, pair
from crowetrade_operator.authorizer.make_keys import SECRET, ensure
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.secrets import SECRETS
from crowetrade_operator.errors import ClusterError

pytestmark = pytest.mark.integration


async def stored(cluster: Cluster, namespace: str) -> dict[str, str]:
    data = (await cluster.get(SECRETS, namespace, SECRET))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


async def test_they_are_made_once_and_belong_together(cluster: Cluster, namespace: str) -> None:
    assert await ensure(cluster, namespace) is True
    first = await stored(cluster, namespace)
    for seed, public in ((USER_SEED, USER_KEY), (ISSUER_SEED, ISSUER_KEY)):
        assert pair(first[seed]).public_key.decode() == first[public]
    assert await ensure(cluster, namespace) is False
    assert await stored(cluster, namespace) == first


async def test_a_secret_that_lacks_one_is_not_taken_for_made(cluster: Cluster, namespace: str) -> None:
    half = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {USER_SEED: "SU"}}
    await cluster.create(SECRETS, namespace, half)
    with pytest.raises(ClusterError, match=f"it lacks {ISSUER_KEY}, {ISSUER_SEED}, {USER_KEY}; delete it"):
        await ensure(cluster, namespace)
