import pytest
import zoo


@pytest.fixture(autouse=True)
def no_trainer_left():
    """Ends what a failed test has left running."""
    yield
    while zoo.STARTED:
        zoo.STARTED.pop().close()
