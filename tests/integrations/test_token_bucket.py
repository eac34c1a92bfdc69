import pytest
from worldjockey.integrations.token_bucket import TokenBucket


def test_a_burst_and_then_the_rate():
    bucket = TokenBucket(rate=100, burst=10)
    assert sum(bucket.spend(1.0) for _ in range(50)) == 10
    assert sum(bucket.spend(1.0 + i / 1000) for i in range(1000)) == pytest.approx(100, abs=2)


def test_what_is_borrowed_is_paid_for_later():
    bucket = TokenBucket(rate=10, burst=5)
    assert [bucket.borrow(1.0) for _ in range(5)] == [0.0] * 5
    assert [bucket.borrow(1.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert bucket.borrow(2.0) == 0.0
