"""Benchmarks of when a model speaks: OVO-Timing, OmniMMI's alerting, StreamingBench's proactive output."""

from evalkit_tasks.timing.omnimmi import OmniMmiPa
from evalkit_tasks.timing.ovo import OvoTiming
from evalkit_tasks.timing.streamingbench import StreamingBenchTiming

__all__ = ["OmniMmiPa", "OvoTiming", "StreamingBenchTiming", "omnimmi_pa", "ovo_timing", "streamingbench_timing"]

ovo_timing = OvoTiming()
omnimmi_pa = OmniMmiPa()
streamingbench_timing = StreamingBenchTiming()
