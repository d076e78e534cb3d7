#!/usr/bin/env bash
# PipeWire's filter-chain does not report the latency of a LADSPA plugin.
#
# One would guess: a filter-chain adds what a plugin writes to its output port `latency` to the latency of its own ports,
# so that programs can compensate for it.
# What happens: every port of the chain reports a latency of 0, while the plugin delays the sound by 5 ms. So a program
# that shows picture and sound must be told the delay by hand.
#
# The plugin is a limiter that looks ahead. Its delay is measured by an impulse through ladspa-sdk's applyplugin.
# The graph is private and without a device.
#
# Versions: Debian 12, pipewire 0.3.65-3+deb12u1 and its modules, swh-plugins 0.4.17-2, ladspa-sdk 1.17-1+b1. It needs
# root if they are not installed. Date: 2026-11-28.
# Output seen:
#   the plugin has a port named latency, and delays by 240 samples
#   latencies that the running chain reports: 0.0
set -euo pipefail
pipewire=0.3.65-3+deb12u1
wanted=(pipewire=$pipewire pipewire-bin=$pipewire libpipewire-0.3-0=$pipewire libpipewire-0.3-modules=$pipewire
  libspa-0.2-modules=$pipewire swh-plugins=0.4.17-2 ladspa-sdk=1.17-1+b1)
for package in "${wanted[@]}"; do
  [[ $(dpkg-query -W -f '${Version}' "${package%%=*}" 2>/dev/null) == "${package#*=}" ]] && continue
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${wanted[@]}" >/dev/null
  break
done
folder=$(mktemp -d)
daemon=''
finish() {
  [[ $daemon ]] && kill "$daemon" && wait "$daemon" || true
  rm -rf "$folder"
}
trap finish EXIT
plugin=/usr/lib/ladspa/fast_lookahead_limiter_1913.so
ports=$(analyseplugin $plugin)
grep -q '"latency" output, control' <<<"$ports"
python3 - "$folder/impulse.wav" <<'PYTHON'
import array, sys, wave
samples = array.array("h", [0] * 2 * 8192)
samples[2000] = samples[2001] = 16384
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((2, 2, 48000, 0, "NONE", ""))
    file.writeframes(samples.tobytes())
PYTHON
applyplugin "$folder/impulse.wav" "$folder/delayed.wav" $plugin fastLookaheadLimiter 0 0 0.5 >/dev/null
delay=$(python3 - "$folder/delayed.wav" <<'PYTHON'
import array, sys, wave
with wave.open(sys.argv[1]) as file:
    left = array.array("h", file.readframes(file.getnframes()))[::2]
print(max(range(len(left)), key=lambda i: abs(left[i])) - 1000)
PYTHON
)
echo "the plugin has a port named latency, and delays by $delay samples"

export XDG_CONFIG_HOME=$folder/config XDG_RUNTIME_DIR=$folder/run PIPEWIRE_DEBUG=0
mkdir -p "$XDG_CONFIG_HOME/pipewire"
mkdir -m 700 "$XDG_RUNTIME_DIR"
cat >"$XDG_CONFIG_HOME/pipewire/test.conf" <<CONF
context.properties = {
    core.daemon = true, core.name = pipewire-0, support.dbus = false
    default.clock.rate = 48000, default.clock.quantum = 1024
}
context.spa-libs = { audio.convert.* = audioconvert/libspa-audioconvert, support.* = support/libspa-support }
context.modules = [
    { name = libpipewire-module-protocol-native } { name = libpipewire-module-client-node }
    { name = libpipewire-module-access } { name = libpipewire-module-adapter }
    { name = libpipewire-module-link-factory } { name = libpipewire-module-metadata }
    { name = libpipewire-module-filter-chain
      args = {
          filter.graph = { nodes = [ { type = ladspa, plugin = "$plugin", label = fastLookaheadLimiter } ] }
          audio.position = [ FL FR ]
          capture.props = { node.name = chain_in }
          playback.props = { node.name = chain_out }
      }
    }
]
context.objects = [
    { factory = adapter
      args = {
          factory.name = support.null-audio-sink, node.name = source, media.class = Audio/Source/Virtual
          audio.position = [ FL FR ]
          adapter.auto-port-config = { mode = dsp, monitor = true, position = preserve }
      }
    }
    { factory = adapter
      args = {
          factory.name = support.null-audio-sink, node.name = sink, media.class = Audio/Sink
          audio.position = [ FL FR ]
          adapter.auto-port-config = { mode = dsp, monitor = true, position = preserve }
      }
    }
]
CONF

# until_true COMMAND...: waits for its success, at most 30 s.
until_true() {
  for _ in {1..300}; do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "expected within 30 s: $*" >&2
  exit 2
}
has() { pw-cli ls Node | grep -q "node.name = \"$1\""; }
has_port() { pw-link -io | grep -q "^$1:"; }
# give_ports NODE DIRECTION: what a session manager does.
give_ports() {
  until_true has "$1"
  id=$(pw-cli ls Node | awk -v name="\"$1\"" '$1 == "id" { id = $2 + 0 } $1 == "node.name" && $3 == name { print id }')
  pw-cli set-param "$id" PortConfig "{ direction: $2, mode: dsp, format: { mediaType: audio, mediaSubtype: raw,
    format: F32P, rate: 48000, channels: 2, position: [ FL FR ] } }" >/dev/null
  until_true has_port "$1"
}
# reported: the states of the chain's two nodes, and the different latencies of their ports.
reported() {
  pw-dump | python3 -c '
import json, sys
objects = json.load(sys.stdin)
nodes = {o["id"]: o["info"] for o in objects if o["type"].endswith(":Node")}
chain = {i: n["state"] for i, n in nodes.items() if n["props"].get("node.name", "").startswith("chain_")}
ports = [o["info"] for o in objects if o["type"].endswith(":Port")]
found = {value for port in ports if int(port["props"]["node.id"]) in chain for latency in port["params"]["Latency"]
         for name, value in latency.items() if name != "direction"}
print(*sorted(set(chain.values())), *sorted(found))'
}
runs() { [[ $(reported) == running* ]]; }

pipewire -c test.conf >/dev/null 2>&1 &
daemon=$!
until_true has_port source
until_true has_port sink
give_ports chain_in Input
give_ports chain_out Output
for channel in FL FR; do
  pw-link "source:capture_$channel" "chain_in:input_$channel"
  pw-link "chain_out:output_$channel" "sink:playback_$channel"
done
until_true runs
sleep 2
latencies=$(reported)
echo "latencies that the running chain reports: ${latencies#running }"
((delay > 100)) && [[ $latencies == "running 0" || $latencies == "running 0.0" ]] || { echo "changed: see above"; exit 1; }
