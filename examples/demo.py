"""Train Lite-RTSE for a minute in plain PyTorch and with the fused operators, from one seed, on the same batches.

    python examples/demo.py            (or: make demo)

The steps of the two networks are interleaved: a step of one, then the same step of the other. So both run under the
same load of the machine. Their losses must agree. Then the fused network trains alone, for about as long as plain
PyTorch took for its few steps. It enhances a recording that it was not trained on. The output folder receives:

    noisy.wav  enhanced.wav  clean.wav    the recording
    spectrograms.png                      the three side by side
    model.safetensors                     the network, for `lite-rtse enhance`

The clips of recorded speech and noise are in examples/clips; ATTRIBUTION.md there names authors and licences. The demo
needs matplotlib: pip install "lite-rtse-ext[demo]".
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lite_rtse_ext import reference
from lite_rtse_ext.audio import AudioFormat, istft, read, stft, write
from lite_rtse_ext.models.lite_rtse import LiteRTSE
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

CLIPS = Path(__file__).parent / "clips"
LEARNING_RATE = 3e-3
TRAIN_SNR_DB = (0.0, 10.0)
TEST_SNR_DB = 5.0

LEVEL = 1 / 16
"""Factor on the waveform in training. The output of the Multi-Order block is a polynomial of degree 20 in the
magnitude. At full scale the magnitude reaches 60, and the output reaches 1e17. Then the smallest rounding error changes
the course of the training, and no comparison would be possible. With this factor the magnitude stays below 4."""

LOSS_TOLERANCE_DB = 0.001
"""Allowed difference between the losses of the two networks, at every step. Both compute in float32, but they round in
a different order. So their parameters diverge slowly. A wrong formula changes the loss by tenths of a decibel within a
few steps."""


def load_clips(folder: Path) -> list[Tensor]:
    """Load all clips of a folder, sorted by name. Each is ``(samples,)``, 16 kHz mono.

    Raises:
        FileNotFoundError: the folder contains no clips.
        ValueError: a clip has another sample rate.
    """
    clips = []
    for path in sorted(folder.glob("*.flac")):
        samples, audio_format = read(path)
        if audio_format.sample_rate != SAMPLE_RATE_HZ:
            raise ValueError(f"{path}: must be {SAMPLE_RATE_HZ} Hz, is {audio_format.sample_rate}")
        clips.append(torch.from_numpy(samples.mean(axis=1)))
    if not clips:
        raise FileNotFoundError(f"{folder}: no clips")
    return clips


def mix(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """Add noise to speech. The noise is scaled so that the ratio of their powers is ``snr_db``."""
    gain = speech.norm() / noise.norm().clamp_min(1e-9) * 10 ** (-snr_db / 20)
    return speech + gain * noise


def batches(
    speech: list[Tensor], noise: list[Tensor], size: int, samples: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield endless batches of noisy and clean excerpts, ``(size, samples)`` each. They depend on the seed alone."""
    random = np.random.default_rng(seed)

    def piece(clips: list[Tensor]) -> Tensor:
        clip = clips[random.integers(len(clips))]
        clip = nn.functional.pad(clip, (0, max(0, samples - len(clip))))
        start = random.integers(len(clip) - samples + 1)
        return clip[start : start + samples]

    while True:
        clean = torch.stack([piece(speech) * random.uniform(0.3, 1.0) for _ in range(size)])
        noisy = torch.stack([mix(each, piece(noise), random.uniform(*TRAIN_SNR_DB)) for each in clean])
        yield noisy, clean


def loss_of(model: nn.Module, noisy: Tensor, clean: Tensor) -> Tensor:
    """Return the negative SNR of the enhanced waveforms in dB, the mean of the batch."""
    enhanced = istft(model(stft(noisy * LEVEL)), noisy.shape[-1]) / LEVEL
    noise, speech = (enhanced - clean).square().sum(-1), clean.square().sum(-1)
    return (10 * torch.log10((noise + 1e-8) / (speech + 1e-8))).mean()


@dataclass
class Training:
    """The training of one network, with the loss and the time of each step."""

    model: reference.LiteRTSE
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)

    def step(self, noisy: Tensor, clean: Tensor) -> float:
        """Take one step and return the loss before it."""
        start = time.perf_counter()
        loss = loss_of(self.model, noisy, clean)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - start)
        return self.losses[-1]


def si_snr_db(estimate: Tensor, target: Tensor) -> float:
    """Compute the scale-invariant signal-to-noise ratio of two waveforms ``(samples,)`` in dB (Le Roux et al., 2019).

    The means are subtracted first. The target is scaled to the best fit of the estimate. The remainder is noise.
    """
    estimate, target = estimate - estimate.mean(), target - target.mean()
    signal = (estimate @ target) / (target @ target) * target
    return float(10 * torch.log10(signal.square().sum() / (estimate - signal).square().sum()))


def new_networks(seed: int) -> tuple[reference.LiteRTSE, LiteRTSE]:
    """Construct the network in plain PyTorch and with the fused operators, with the same parameters.

    The initial parameters leave the noisy phase nearly unchanged. Random ones would rotate every bin by a different
    angle. Most of such a short training would be needed to undo this.
    """
    torch.manual_seed(seed)
    eager, fused = reference.LiteRTSE(), LiteRTSE()
    nn.init.ones_(eager.to_real.bias)
    fused.load_state_dict(eager.state_dict())
    return eager, fused


@torch.no_grad()
def move_to_full_scale(model: reference.LiteRTSE) -> None:
    """Change the weights such that the network applies to a waveform the gains that it applied at :data:`LEVEL`.

    Every weight that is multiplied by a magnitude is scaled by the level. These are the input weights of the first LSTM
    and of the first Conv-Block, and two thirds of the fusion layer's weights: those for the magnitude and the masked
    magnitude. The output needs no change, because it is a gain on the input. The level is a power of two, so the
    scaling of the weights is exact.
    """
    for name in ("lstm1.weight_ih_l0", "msmo_conv.0.conv.0.weight", "msmo_conv.0.skip.weight"):
        model.get_parameter(name).mul_(LEVEL)
    model.fc2.weight[:, : 2 * model.bins].mul_(LEVEL)


def compare(eager: Training, fused: Training, data: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
    """Train both networks with interleaved steps, and check after each step that their losses agree.

    Raises:
        SystemExit: the losses differ by more than :data:`LOSS_TOLERANCE_DB`.
    """
    print(f"{'':>6}{'loss in dB':^36}{'seconds':^24}\n{'step':>6}", end="")
    print(f"{'eager':>12}{'fused':>12}{'difference':>12}{'eager':>12}{'fused':>12}")
    for number in range(1, steps + 1):
        batch = next(data)
        difference = fused.step(*batch) - eager.step(*batch)
        losses = f"{eager.losses[-1]:>12.5f}{fused.losses[-1]:>12.5f}{difference:>+12.5f}"
        print(f"{number:>6}{losses}{eager.seconds[-1]:>12.2f}{fused.seconds[-1]:>12.2f}", flush=True)
        if not abs(difference) <= LOSS_TOLERANCE_DB:
            raise SystemExit(f"step {number}: the losses differ by more than {LOSS_TOLERANCE_DB} dB")
    ratio = statistics.median(e / f for e, f in zip(eager.seconds, fused.seconds, strict=True))
    print(f"\nThe losses of all {steps} steps agree within {LOSS_TOLERANCE_DB} dB.", end=" ")
    print(f"A fused step is {ratio:.1f} times faster (median of the steps).\n")


def go_on(fused: Training, data: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
    """Train the fused network alone until it has taken ``steps`` steps in total."""
    while len(fused.losses) < steps:
        fused.step(*next(data))
        if len(fused.losses) % 20 == 0:
            recent = statistics.mean(fused.losses[-20:])
            print(f"{len(fused.losses):>6} steps, mean loss of the last 20: {recent:.2f} dB", flush=True)


def held_out_recording() -> tuple[Tensor, Tensor]:
    """Load a noisy and a clean recording, ``(samples,)``. Their sentence and noise are not in the training data."""
    (clean,), (noise,) = load_clips(CLIPS / "test" / "speech"), load_clips(CLIPS / "test" / "noise")
    samples = min(len(clean), len(noise))
    return mix(clean[:samples], noise[:samples], TEST_SNR_DB), clean[:samples]


def plot(path: Path, recordings: dict[str, Tensor]) -> None:
    """Plot spectrograms one above the other, on a common scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(recordings), 1, figsize=(10, 8), sharex=True, layout="constrained")
    for axes, (title, waveform) in zip(rows, recordings.items(), strict=True):
        level_db = 20 * torch.log10(stft(waveform).abs().clamp_min(1e-5))
        seconds = len(waveform) / SAMPLE_RATE_HZ
        image = axes.imshow(
            level_db.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, 8), vmin=-60, vmax=30, cmap="magma"
        )
        axes.set(title=title, ylabel="frequency in kHz")
    rows[-1].set_xlabel("time in seconds")
    figure.colorbar(image, ax=rows, label="level in dB")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def best_fixed_filter(noisy: Tensor, clean: Tensor) -> Tensor:
    """Apply the best time-invariant gain of each bin to the noisy waveform.

    The gains are least-squares solutions for the known clean speech. The comparison shows what a network achieves
    beyond an equalizer.
    """
    noisy_bins, clean_bins = stft(noisy), stft(clean)
    gain = (noisy_bins.conj() * clean_bins).real.sum(-1) / noisy_bins.abs().square().sum(-1)
    return istft(gain[:, None] * noisy_bins, len(noisy))


def show_result(network: LiteRTSE, out: Path, speech_seconds: float, training_seconds: float) -> None:
    """Enhance the test recording, write the files, and print the results with their limits."""
    noisy, clean = held_out_recording()
    enhanced = network.enhance(noisy)
    before, after = si_snr_db(noisy, clean), si_snr_db(enhanced, clean)
    filtered = si_snr_db(best_fixed_filter(noisy, clean), clean)

    out.mkdir(parents=True, exist_ok=True)
    scale = 0.9 / max(float(waveform.abs().max()) for waveform in (noisy, enhanced, clean))
    for name, waveform in (("noisy", noisy), ("enhanced", enhanced), ("clean", clean)):
        write(out / f"{name}.wav", (waveform * scale)[:, None].numpy(), AudioFormat(SAMPLE_RATE_HZ, 1, "WAV", "PCM_16"))
    titles = (f"noisy, SI-SNR {before:.1f} dB", f"enhanced, SI-SNR {after:.1f} dB", "clean")
    plot(out / "spectrograms.png", dict(zip(titles, (noisy, enhanced, clean), strict=True)))
    network.save_checkpoint(out / "model.safetensors")

    print(f"""
SI-SNR of a sentence with a stretch of noise, neither of which was trained on:
    {before:>6.2f} dB  noisy
    {after:>6.2f} dB  enhanced ({after - before:+.2f})
    {filtered:>6.2f} dB  the best fixed filter, chosen with the clean speech at hand, for comparison

Files in {out}: noisy.wav enhanced.wav clean.wav spectrograms.png model.safetensors
Try it:  lite-rtse enhance {out}/noisy.wav {out}/again.wav --checkpoint {out}/model.safetensors

What {training_seconds:.0f} s of training on {speech_seconds:.0f} s of speech are worth: they show that the fused
network learns what the plain one does, and faster. They make no speech enhancer. Much of the gain is what a fixed
filter would give; voice and kind of noise were in the training too, and the settings were chosen by looking at this
very recording, so others will fare worse; one recording says little. A network for use is trained on hours of speech
by many voices, for days.""")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compare", type=int, default=15, help="steps that both take (default %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=150, help="steps that the fused network takes (default %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=4, help="pieces in a batch (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a piece (default %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: what PyTorch picks)")
    parser.add_argument("--seed", type=int, default=0, help="of parameters and batches (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="output folder (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)

    speech, noise = load_clips(CLIPS / "train" / "speech"), load_clips(CLIPS / "train" / "noise")
    low, high = TRAIN_SNR_DB
    speech_seconds = sum(map(len, speech)) / SAMPLE_RATE_HZ
    data = batches(speech, noise, options.batch, round(options.seconds * SAMPLE_RATE_HZ), options.seed)
    print(f"{len(speech)} utterances, {speech_seconds:.0f} s, {len(noise)} kinds of noise, {low:.0f} to {high:.0f} dB")
    print(f"batches of {options.batch} × {options.seconds} s, {torch.get_num_threads()} thread(s)\n")

    plain, network = new_networks(options.seed)
    eager, fused = Training(plain), Training(network)
    compare(eager, fused, data, options.compare)
    go_on(fused, data, options.steps)
    print(f"\nTraining took {sum(eager.seconds):.0f} s for {len(eager.losses)} steps in plain PyTorch, ", end="")
    print(f"{sum(fused.seconds):.0f} s for {len(fused.losses)} fused ones.")
    move_to_full_scale(network)
    show_result(network, options.out, speech_seconds, sum(fused.seconds))


if __name__ == "__main__":
    main()
