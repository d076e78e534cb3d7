// Rates for benchmarks: the speed of one thread in registers only, and in the depthwise cascade only.

// The ceiling: the number of float32 multiply-adds per second of one thread that uses only registers.
//
// There are twelve independent sums. This exceeds latency times issue width (4 × 2) of current processors and fits 16
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
  return all == 12.5f ? 0 : best;  // uses the sums, so that the compiler keeps them
}

// The FLOP/s in the depthwise stages of the network's Multi-Order block (C = 64, n = 5, 7x7, 257 bins). The forward
// pass marches through `frames` frames of an utterance. The clock measures the stages alone, not the 1x1 convolutions
// between them. The count includes the products of the 124 + 120 + 112 + 96 channels of the stages, and excludes those
// of idle lanes.
double cascade_rate(int64_t frames) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kIn = 32, kChannels = 64, kOrder = 5, kTaps = 7, kBins = 257;
  const Buffer<float> x(kIn * frames * kBins), parameter(2 * kChannels * kTaps * kTaps);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = 0.001f * float(i % 1009 - 504);
  for (int64_t i = 0; i < parameter.size(); ++i) parameter[i] = 0.001f * float(i % 31 - 15);
  const std::vector<const void*> parameters(2 * kOrder, parameter.data());
  const MultiOrderConvArgs a{DType::f32, 1,     kIn,      kChannels,  1,          kOrder,  frames,
                             kBins,      kTaps, x.data(), parameters, parameters, nullptr, 1};
  const MultiOrderPlan<float> plan(a);
  LaneSources<float> sources(Feature<float>(a.x, a.dtype, kIn, frames, kBins), kMultiOrderStep);
  Cascade<float> cascade(plan, frames, kBins, kMultiOrderStep);
  const auto layout = [&](Arena arena) {
    sources.layout(arena);
    cascade.layout(arena, [](int64_t, int64_t) { return int64_t(0); });
    return arena.used();
  };
  layout(Arena(thread_scratch(layout(Arena()))));
  cascade.clear();
  double seconds = 0;
  for (int64_t t = 0; t < frames; t += kMultiOrderStep) {
    const Range step = Range{t, t + kMultiOrderStep}.clip(0, frames);
    sources.read(0, step);
    cascade.run(sources, step, 0, [&](const auto& stages) {
      const Clock::time_point start = Clock::now();
      stages();
      seconds += std::chrono::duration<double>(Clock::now() - start).count();
    });
  }
  int64_t channels = 0;
  for (int64_t s = 0; s < plan.stages; ++s) channels += MultiOrderPlan<float>::stage_channels(a, s);
  return 2.0 * double(channels * plan.taps * frames * kBins) / seconds;
}
