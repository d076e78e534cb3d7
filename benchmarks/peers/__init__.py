"""Other noise suppressors. Each runs as its package provides it: at its own rate, block size and weights.

None of them was developed for the mixtures of the comparison, nor for the data of another suppressor.
"""

from __future__ import annotations

from benchmarks.peers import classical, networks
from benchmarks.peers.tools import WEIGHTS, Peer, Process

__all__ = ["PEERS", "Peer", "Process"]

PEERS: dict[str, Peer] = {
    "RNNoise": Peer(networks.rnnoise, 48_000),
    "DTLN": Peer(networks.dtln, install=WEIGHTS),
    "NSNet2": Peer(networks.nsnet2),
    "DeepFilterNet 3": Peer(networks.deepfilternet, 48_000),
    "GTCRN": Peer(networks.gtcrn, install=WEIGHTS),
    "Speex": Peer(classical.speex),
    "WebRTC": Peer(classical.webrtc, switched_off=classical.webrtc_without_suppression),
    "noisereduce": Peer(classical.noisereduce),
}
"""The suppressors by name."""
