// Tests of streams at other rates than 16 kHz, and with several channels.
#pragma once

// few: at three sample rates in place of ten, where a processor is emulated.
void test_rates(bool few);
