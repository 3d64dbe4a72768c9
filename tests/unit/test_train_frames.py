"""Frames and messages: what goes in comes out; garbage is refused and never crashes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.train.frames import (
    CHUNK,
    HEAD,
    Assembler,
    FrameError,
    Kind,
    Message,
    Sorter,
    check_body,
    pack_data,
    pack_frame,
    pack_message,
    parse_head,
    parse_message,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def read(data: bytes, limit: int) -> list[Message]:
    """As a connection would: frame by frame."""
    assembler, messages = Assembler(limit), []
    while data:
        head = parse_head(data[: HEAD.size])
        body = data[HEAD.size : HEAD.size + head.length]
        check_body(head, body)
        message = assembler.feed(head, body)
        data = data[HEAD.size + head.length :]
        if message is not None:
            messages.append(message)
    return messages


@given(
    st.sampled_from(Kind),
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.binary(max_size=300),
)
def test_a_message_comes_back_as_it_was(kind, fields, payload):
    message = Message(kind, fields, payload)
    assert read(b"".join(pack_message(message)), 1 << 20) == [message]


@pytest.mark.parametrize("size", [CHUNK - 10, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_long_messages_are_cut_into_frames_and_joined(size):
    message = Message(Kind.PART, {"a": 1}, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    frames = list(pack_message(message))
    assert all(len(frame) <= CHUNK + HEAD.size for frame in frames)
    assert read(b"".join(frames), 4 * CHUNK) == [message]


@given(st.binary(max_size=200))
def test_garbage_is_refused(data):
    with pytest.raises(FrameError):
        read(data or b"\0", 1 << 16)


@given(st.data())
def test_a_flipped_bit_is_noticed(data):
    frame = pack_frame(Kind.BEAT, b"\x00\x00\x00\x02{}")
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    hurt = bytearray(frame)
    hurt[bit // 8] ^= 1 << bit % 8
    try:
        messages = read(bytes(hurt), 1 << 16)
    except FrameError:
        return
    # The kind and the MORE flag are not under the checksum of the body; the session tag covers
    # them. No damage of the body or of its length may pass.
    assert bit // 8 in (5, 6, 7)
    assert not messages or messages[0].payload == b""


@given(st.binary(max_size=100))
def test_a_body_that_is_not_a_message_is_refused(blob):
    try:
        message = parse_message(Kind.BEAT, blob)
    except FrameError:
        return
    assert isinstance(message.fields, dict)


def test_lengths_are_limited_before_they_are_read():
    head = pack_frame(Kind.BEAT, b"")[: HEAD.size - 8] + (1 << 31).to_bytes(4, "big") + b"\0" * 4
    with pytest.raises(FrameError, match="at most"):
        parse_head(head)
    assembler = Assembler(1000)
    frames = list(pack_message(Message(Kind.STATE, {}, b"x" * 2000)))
    with pytest.raises(FrameError, match="more than 1000"):
        assembler.feed(parse_head(frames[0][: HEAD.size]), frames[0][HEAD.size :])


def test_another_version_is_named():
    frame = bytearray(pack_frame(Kind.BEAT, b""))
    frame[4] = 9
    with pytest.raises(FrameError, match="version 9"):
        parse_head(bytes(frame[: HEAD.size]))


@given(st.lists(st.integers(0, 3 * CHUNK), min_size=1, max_size=4), st.randoms())
def test_data_over_several_connections_comes_in_the_order_in_which_it_was_sent(sizes, chance):
    sent = [Message(Kind.PART, {"a": n}, bytes(size)) for n, size in enumerate(sizes)]
    places = itertools.count()
    frames = [frame for message in sent for frame in pack_data(message, places)]
    chance.shuffle(frames)
    sorter, assembler, found = Sorter(), Assembler(1 << 20), []
    for frame in frames:
        head = parse_head(frame[: HEAD.size], CHUNK + 8)
        check_body(head, frame[HEAD.size :])
        found += [assembler.feed(*due) for due in sorter.feed(head, frame[HEAD.size :])]
    assert [message for message in found if message is not None] == sent


def test_a_frame_of_data_that_comes_twice_is_refused():
    (frame,) = pack_data(Message(Kind.PART), itertools.count())
    head, body, sorter = parse_head(frame[: HEAD.size]), frame[HEAD.size :], Sorter()
    assert len(list(sorter.feed(head, body))) == 1
    with pytest.raises(FrameError):
        list(sorter.feed(head, body))
    with pytest.raises(FrameError):
        list(sorter.feed(head, b"short"))
