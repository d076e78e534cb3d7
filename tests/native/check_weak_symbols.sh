#!/usr/bin/env bash
# check_weak_symbols.sh OBJECT…: no function that the linker may share between objects uses AVX.
#
# The kernels of each instruction set have internal linkage, but templates and inline functions of the standard library
# that they use do not: the linker keeps one copy for all, whichever it meets first. A copy with AVX instructions would
# crash a processor without them.
set -euo pipefail
status=0
for object in "$@"; do
  weak=$(nm "$object" | awk '$2 == "W" || $2 == "u" { print $3 }' | sort -u)
  [[ -n $weak ]] || { echo "$object: no weak symbols, which is not to be expected"; exit 1; }
  for symbol in $weak; do
    # VEX and EVEX instructions are the ones whose mnemonics begin with v, on vector registers.
    if objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | grep -qE $'^ *[0-9a-f]+:\tv[a-z0-9]+ .*%[xyz]mm'; then
      echo "$object: $(c++filt "$symbol") uses AVX and may stand in for the baseline's"
      status=1
    fi
  done
done
((status)) || echo "no shared function uses AVX"
exit $status
