// What can be planted into the kernels of cases.cu.
#pragma once

namespace cases {

enum class Defect {
  none,
  missing_barrier,
  missing_write_after_read_barrier,
  shared_read_past_end,
  shared_write_past_end,
  static_shared_past_end,
  global_read_past_end,
  global_write_past_end,
  global_write_in_front,
  input_written,
  missing_mask,
  uninitialised_shared,
  index_overflow,
  misaligned_vector,
  missing_syncwarp,
  missing_lanes,
  lane_exited,
  caller_not_in_mask,
  different_operations,
  not_atomic,
  two_blocks_one_element,
  divergent_barrier,
  barrier_after_exit,
  different_barriers,
  barrier_of_a_part,
  deadlock,
  trap,
  missing_arrive,
  missing_wait,
  wrong_count,
  stale_read,
  relaxed_arrive,
  relaxed_wait,
  too_many_blocks,
  one_by_one,
  wrong_rank,
  early_access,
  late_access,
  late_write,
};

}  // namespace cases
