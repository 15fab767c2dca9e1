"""A control page of other bytes, as damage or an older version leaves it, stops nobody."""

import pytest

from runicorn.queue.control_page import TIERS, ControlPage


@pytest.mark.parametrize("filled_with", [b"\xff", b"\x7f", b"\x80", b"\x01"])
def test_the_account_of_a_damaged_page_is_mended_by_a_look(tmp_path, filled_with):
    """Whatever stands in it, the writer counts on, and what its look has found is what is said to be used."""
    path = tmp_path / "control"
    ControlPage.create(str(path))
    path.write_bytes(path.read_bytes()[:8] + filled_with * (path.stat().st_size - 8))
    page = ControlPage.open(str(path))
    page.begin_generation()
    page.beat()
    page.report(5, 7)
    page.put_message("trouble")
    assert (page.stored_records, page.last_step, page.message) == (5, 7, "trouble")
    for tier in range(TIERS):
        page.add_made(tier, 3, 4096)
        page.add_dropped(tier, 4096)
        assert page.used_bytes(tier) >= 0
        page.correct_used(tier, page.made_bytes(tier), 8192)
        page.add_made(tier, 3, 4096)
        assert page.used_bytes(tier) == 8192 + 4096
    page.close()
