"""Enhancement inside voice agents and call servers. This subpackage needs numpy and no torch.

- :mod:`lite_rtse_ext.integrations.pipecat`: an audio filter for Pipecat's transports (extra ``pipecat``)
- :mod:`lite_rtse_ext.integrations.livekit`: a frame processor for LiveKit's audio streams (extra ``livekit``)
- :mod:`lite_rtse_ext.integrations.server`: a WebSocket server that enhances many calls together (extra ``server``)

Each module imports its framework, so none of them is imported here.
"""
