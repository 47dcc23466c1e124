"""What a packet's own bytes say of its picture: is it shown, do others refer to it; leaves times to timeline."""

from __future__ import annotations

__all__ = ["PacketTest", "droppable_test", "hidden_test"]

from collections.abc import Callable

from av.packet import Packet
from av.video.stream import VideoStream

PacketTest = Callable[["Packet[VideoStream]"], bool]

_IDR, _SLICE = 5, 1


def droppable_test(stream: VideoStream) -> PacketTest:
    """Return a test for packets that nothing refers to; only H.264 says so in its slice headers."""
    if stream.codec_context.name != "h264":
        return _never
    extradata = stream.codec_context.extradata or b""
    if len(extradata) < 7 or extradata[0] != 1:  # no avcC box: start codes instead of lengths
        return _never
    length_bytes = (extradata[4] & 3) + 1
    return lambda packet: _unreferenced(memoryview(packet), length_bytes)


def hidden_test(stream: VideoStream) -> PacketTest:
    """Return a test for packets whose picture is only referred to: VP8 and VP9 have a bit for it.

    AV1 has such pictures too, but puts them into the packet of one that is shown.
    """
    tests: dict[str, PacketTest] = {"vp8": _hidden_vp8, "vp9": _hidden_vp9}
    return tests.get(stream.codec_context.codec.canonical_name, _never)


def _never(packet: Packet[VideoStream]) -> bool:
    return False


def _unreferenced(data: memoryview, length_bytes: int) -> bool:
    """Whether the first slice of an AVCC packet has nal_ref_idc 0 (ITU-T H.264, 7.4.1)."""
    at = 0
    while at + length_bytes < len(data):
        header = data[at + length_bytes]
        kind = header & 0x1F
        if _SLICE <= kind <= _IDR:
            return kind == _SLICE and header & 0x60 == 0
        at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
    return False


def _hidden_vp8(packet: Packet[VideoStream]) -> bool:
    """Whether show_frame is 0 (RFC 6386, 9.1)."""
    data = memoryview(packet)
    return len(data) > 0 and not data[0] & 0x10


def _hidden_vp9(packet: Packet[VideoStream]) -> bool:
    """Whether show_frame is 0 in the one frame of a packet (VP9 bitstream specification, 6.2)."""
    data = memoryview(packet)
    if not len(data) or data[-1] & 0xE0 == 0xC0:  # a superframe: the last of its frames is shown
        return False
    # frame_marker (2 bits), profile (2, and a reserved one in profile 3), show_existing_frame, frame_type,
    # show_frame
    header = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]
    shows_existing, shows = header & 0x08, header & 0x02
    return not shows_existing and not shows
