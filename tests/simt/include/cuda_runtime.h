// In place of the toolkit's: CUDA as the emulator provides it. nvcc includes this file by itself, and so does the
// build.
#pragma once
#include "../simt.hpp"
