// The ceiling: how many float32 multiply-adds a second one thread does when nothing but registers is involved.

// Twelve independent sums: more than latency times issue width (4 × 2) of current processors, few enough for 16
// registers.
LITE_RTSE_INLINE void fma_round(Vec<float>* sum, Vec<float> factor, Vec<float> term) {
#pragma GCC unroll 12
  for (int k = 0; k < 12; ++k) sum[k] = sum[k] * factor + term;
}

double fma_peak(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 100000;
  Vec<float> sum[12];
  for (int k = 0; k < 12; ++k) sum[k] = Vec<float>{} + float(k);
  const Vec<float> factor = Vec<float>{} + 0.999f, term = Vec<float>{} + 0.001f;
  double best = 0, total = 0;
  while (total < seconds) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kRounds; ++i) fma_round(sum, factor, term);
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * 12 * double(kLanes<float>) * kRounds / took);
    total += took;
  }
  float all = 0;
  for (int k = 0; k < 12; ++k) all += lane_sum<float>(sum[k]);
  return all == 12.5f ? 0 : best;  // the sums are used, so that the compiler keeps them
}
