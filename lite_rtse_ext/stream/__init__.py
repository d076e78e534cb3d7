"""Real-time enhancement in frames of 16 ms. This subpackage needs numpy and no torch.

::

    from lite_rtse_ext.stream import Streamer

    streamer = Streamer.from_pretrained("lite_rtse.safetensors")
    for block in blocks:                       # float32, any length
        play(streamer.feed(block))
    play(streamer.flush())

The output equals that of :meth:`lite_rtse_ext.LiteRTSE.enhance` on the whole signal, for any division into blocks.
"""

from lite_rtse_ext.stream.blocks import enhance_blocks
from lite_rtse_ext.stream.network import LATENCY_SAMPLES, Network, isa, isas
from lite_rtse_ext.stream.streamer import Faults, Streamer, process_batch

__all__ = [
    "LATENCY_SAMPLES",
    "Faults",
    "Network",
    "Streamer",
    "enhance_blocks",
    "isa",
    "isas",
    "process_batch",
]
