// Included before each file of csrc/ops: a tensor on the CPU passes for one on a GPU.
#pragma once
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#define is_cuda is_cpu
