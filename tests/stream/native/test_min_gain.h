// Tests of another minimum gain during a call.
#pragma once

void test_min_gain();
