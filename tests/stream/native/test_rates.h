// Tests of streams at other rates than 16 kHz, and with several channels.
#pragma once

void test_rates();
