"""What of a batch the files have already, decided by their lines alone, wherever it stopped."""

import os
from collections import Counter

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from runicorn.writer import reconcile
from runicorn.writer.reconcile import SegmentText, Step

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))


def examples(most: int = 80):
    """So many examples, the same each time; another ``CHAOS_SEED`` gives others."""
    return lambda test: seed(SEED)(settings(max_examples=most, deadline=None, database=None)(test))


def steps_of(producer: int, kinds: list[bool]) -> list[Step]:
    """Records of one producer: an event where it is true, else a line of text."""
    return [
        Step("events.jsonl", b"event %d %d\n" % (producer, n), b"")
        if event
        else Step("e", b"", b"t %d %d\n" % (producer, n))
        for n, event in enumerate(kinds)
    ]


def missing_text(segments: list[SegmentText], there: list[bytes]) -> bytes:
    """What a file does not have of the text of segments."""
    return reconcile.missing_text(segments, there, Counter(there))


@examples()
@given(
    producers=st.lists(st.lists(st.booleans(), max_size=12), min_size=1, max_size=4),
    events_begun=st.booleans(),
    data=st.data(),
)
def test_text_is_stored_once_wherever_a_writer_stopped(producers, events_begun, data):
    """A part of each producer is stored, and perhaps the text of a batch behind it: the rest is missing."""
    everything = [steps_of(number, kinds) for number, kinds in enumerate(producers)]
    whole = [data.draw(st.integers(0, len(steps))) for steps in everything]
    batch = [data.draw(st.integers(start, len(steps))) for start, steps in zip(whole, everything, strict=True)]
    logs = b"old\n"
    events = Counter[bytes]()
    for steps, stop in zip(everything, whole, strict=True):
        logs += b"".join(step.text for step in steps[:stop])
        events.update(step.events.rstrip() for step in steps[:stop] if step.events)
    texts_of_batch = [
        step.text for steps, start, stop in zip(everything, whole, batch, strict=True) for step in steps[start:stop]
    ]
    logs += b"".join(texts_of_batch[: None if events_begun else data.draw(st.integers(0, len(texts_of_batch)))])
    texts = [reconcile.text_of(steps, {"events.jsonl": events}) for steps in everything]
    missing = missing_text(texts, logs.split(b"\n")[:-1])
    stored = Counter((logs + missing).split(b"\n")[1:-1])
    assert stored == Counter(step.text.rstrip() for steps in everything for step in steps if step.text)


@examples()
@given(segments=st.lists(st.tuples(st.lists(st.booleans(), max_size=6), st.booleans()), max_size=5))
def test_a_stored_segment_says_nothing_of_the_text_of_another_one(segments):
    """Files that have changed their names are read in another order: text before stored events may be missing."""
    everything = [steps_of(number, kinds) for number, (kinds, _) in enumerate(segments)]
    stored = [step for steps, (_, is_stored) in zip(everything, segments, strict=True) if is_stored for step in steps]
    events = Counter(step.events.rstrip() for step in stored if step.events)
    logs = b"".join(step.text for step in stored)
    texts = [reconcile.text_of(steps, {"events.jsonl": events}) for steps in everything]
    missing = missing_text(texts, logs.split(b"\n")[:-1])
    found = Counter((logs + missing).split(b"\n")[:-1])
    assert found == Counter(step.text.rstrip() for steps in everything for step in steps if step.text)


@examples()
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4), data=st.data())
def test_lines_that_are_alike_in_several_segments_are_stored_once(lengths, data):
    """Segments were stored one after the other, up to some line: what is behind it is missing, in its order."""
    lines = st.sampled_from([b"a", b"b", b"c"])
    segments = [[data.draw(lines) for _ in range(length)] for length in lengths]
    everything = [line for segment in segments for line in segment]
    stop = data.draw(st.integers(0, len(everything)))
    missing = missing_text([SegmentText(segment) for segment in segments], everything[:stop])
    assert Counter(missing.split(b"\n")[:-1]) == Counter(everything[stop:])


def test_a_line_that_is_stored_for_certain_is_not_taken_for_a_later_one_that_is_alike():
    """Of two lines that are alike, one before a stored event and one behind it, the file has one: one is missing."""
    steps = [Step("e", b"", b"x\n"), Step("e", b"event\n", b""), Step("e", b"", b"x\n")]
    text = reconcile.text_of(steps, {"e": Counter([b"event"])})
    assert text == SegmentText([b"x", b"x"], 1)
    assert missing_text([text], [b"x"]) == b"x\n"
    assert missing_text([text], [b"x", b"x"]) == b""


def test_a_printed_line_that_damage_has_changed_does_not_make_those_behind_it_missing():
    """Of a line that was stored a part is damaged: what is behind it in the file is not stored again.

    Without a plan the line itself may hold what is not in the file: it is stored.
    """
    printed = [b"[2026-01-01 00:00:00] " + text for text in (b"a", b"c", b"d", b"e")]
    there = [printed[0], b"[2026-01-01 00:00:00] bb", printed[1], printed[2]]
    lines = [printed[0], b"[2026-01-01 00:00:00] b", *printed[1:]]
    assert missing_text([SegmentText(lines)], there) == lines[1] + b"\n" + printed[-1] + b"\n"
    assert reconcile.text_behind(b"".join(line + b"\n" for line in lines), there) == printed[-1] + b"\n"


def test_an_event_whose_value_is_lost_by_damage_is_the_one_that_was_stored_with_it():
    """A value from a device that was stored is not stored again without the value; one of another call is."""
    stored = b'{"ts":1.5,"type":"metrics","data":{"x":0.5,"global_step":7,"time":1.5}}'
    again = b'{"ts":1.5,"type":"metrics","data":{"x":null,"global_step":7,"time":1.5},"lost":["x"]}'
    later = b'{"ts":2.5,"type":"metrics","data":{"x":null,"global_step":8,"time":2.5},"lost":["x"]}'
    wanted = again + b"\n" + later + b"\n"
    assert reconcile.without(wanted, reconcile.Wanted(wanted).count_in([stored])) == later + b"\n"


@pytest.mark.parametrize("written", [b"", b',"producer":"h-7"', b',"producer":"h \\"7\\"","rank":2'])
def test_an_event_of_unknown_origin_is_found_whoever_was_said_to_have_logged_it(written):
    """What is left of a line without its producer and rank is compared; a line of another call is another one."""
    wanted = b'{"ts":1.5,"type":"metrics","data":{"a":1,"time":1.5},"producer":"h-9"}'
    stored = b'{"ts":1.5,"type":"metrics","data":{"a":1,"time":1.5}' + written + b"}"
    others = [stored.replace(b'"a":1', b'"a":2'), stored[:-1]]
    of_unknown = reconcile.Wanted(wanted + b"\n", wanted + b"\n")
    assert of_unknown.count_in([stored, *others]) == {wanted: 1}
    assert not reconcile.Wanted(wanted + b"\n").count_in([stored, *others])


@examples()
@given(lines=st.lists(st.sampled_from([b"a", b"b", b"c", b"dd"]), max_size=12), data=st.data())
def test_lines_that_are_there_are_left_out_as_often_as_they_are_there(lines, data):
    """Lines that are alike count by number, and the rest stays in its order."""
    stop = data.draw(st.integers(0, len(lines)))
    blob = b"".join(line + b"\n" for line in lines)
    rest = reconcile.without(blob, Counter(lines[:stop]))
    assert Counter(rest.split(b"\n")[:-1]) + Counter(lines[:stop]) == Counter(lines)


@examples()
@given(
    lines=st.lists(st.binary(min_size=1, max_size=6).filter(lambda line: b"\n" not in line), min_size=1), cut=st.data()
)
def test_a_line_that_was_stored_half_becomes_whole(lines, cut):
    """A last line without its end is completed by the record that it is of, or else closed."""
    line = cut.draw(st.sampled_from(lines))
    torn = line[: cut.draw(st.integers(0, len(line)))]
    missing = b"".join(each + b"\n" for each in lines)
    after = torn + reconcile.rest_of_torn(torn, missing)
    assert Counter(after.split(b"\n")[:-1]) == Counter(lines)
    assert reconcile.rest_of_torn(b"\xff\xff", b"x\n") == b"\nx\n"


def test_a_line_whose_end_is_stored_before_its_beginning_is_read_is_not_missing():
    """What a segment out of its turn ends in may be the beginning of a line that the file has; an equal line is not."""
    there = [b"[t] begun, and ended", b"[t] whole"]
    assert reconcile.not_begun([b"[t] begun,", b"[t] whole", b"[t] other", b""], there) == [
        b"[t] whole",
        b"[t] other",
        b"",
    ]
