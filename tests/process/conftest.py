import pytest
from support import trainers


@pytest.fixture(autouse=True)
def no_trainer_left():
    """Ends what a failed test has left running."""
    yield
    while trainers.STARTED:
        trainers.STARTED.pop().close()
