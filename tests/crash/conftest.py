"""One zygote and one laboratory for all tests of a process."""

from collections.abc import Iterator

import pytest

from tests.crash.harness import Laboratory, Zygote


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Zygote() as zygote:
        yield Laboratory(tmp_path_factory.mktemp("worlds"), zygote)
