#!/usr/bin/env bash
# pedalboard: Reverb makes the dry sound twice as loud as dry_level says.
#
# One would guess: dry_level=1 and wet_level=0 give the sound back unchanged.
# What happens: it comes back multiplied by exactly 2, so what was above half of full scale is beyond full scale. The
# factor holds for every dry_level: 0.5 gives the sound as it was. With the defaults, dry_level=0.4, the direct sound
# is at 0.8. In a pair for dereverberation or denoising the clean side is then at another level than the speech in the
# noisy one. Give dry_level=0.5 to keep the direct sound.
#
# Versions: pedalboard 0.9.26, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   wet 0.0, dry 1.0: direct sound 2.00, a tone with a peak of 0.7 gets one of 1.4
#   wet 0.0, dry 0.5: direct sound 1.00, a tone with a peak of 0.7 gets one of 0.7
#   wet 0.33, dry 0.4: direct sound 0.80, a tone with a peak of 0.7 gets one of 0.7
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pedalboard==0.9.26 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from pedalboard import Reverb

impulse = np.zeros(16000, np.float32)
impulse[1600] = 0.4
sound = (0.7 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
as_described = True
for wet, dry in ((0.0, 1.0), (0.0, 0.5), (0.33, 0.4)):
    reverb = Reverb(wet_level=wet, dry_level=dry)
    direct = reverb(impulse, 16000)[1600] / 0.4
    peak = np.abs(reverb(sound, 16000)).max()
    print(f"wet {wet}, dry {dry}: direct sound {direct:.2f}, a tone with a peak of 0.7 gets one of {peak:.1f}")
    as_described &= abs(direct - 2 * dry) < 0.01
if not as_described:
    sys.exit("changed: dry_level is the factor of the dry sound")
PYTHON
