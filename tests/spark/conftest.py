from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.spark_cluster import Cluster, spark_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two workers."""
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found
