"""A clip of eight small frames, and a matrix of their relevance."""

import pytest
from drawn import noise


@pytest.fixture
def pixels():
    return (noise(8, 24, 32, 3) * 255).byte()


@pytest.fixture
def matrix():
    return noise(8, 8, seed=1) ** 3
