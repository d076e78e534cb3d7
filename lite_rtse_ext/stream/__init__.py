"""Real time: enhancement of sound as it comes in, 16 ms at a time, on numpy alone. Nothing here needs torch.

::

    from lite_rtse_ext.stream import Streamer

    streamer = Streamer.from_pretrained("lite_rtse.safetensors")
    for block in blocks:                       # float32, any length
        play(streamer.feed(block))
    play(streamer.flush())

What comes out is what :meth:`lite_rtse_ext.LiteRTSE.enhance` makes of the whole signal, however it is cut.
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
