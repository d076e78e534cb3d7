// The whole network for one frame of up to kMostStreams streams.
//
// The LSTMs and linear layers have most of the weights, so they are computed for all streams together. The rest is
// computed stream by stream, because there most reads are of the stream's own memory of earlier frames.

class StateBuild;

constexpr int64_t kRow = ceil_div(kBins, 16) * 16;  // of the spectra of several channels

// x^e for a normal x above 0 and 0 < e <= 0.5. log2(x) = k + log2(m) with m in [√½, √2), and log2(m) is the series in
// s = (m - 1) / (m + 1), whose next term is below 1e-9.
LITE_RTSE_INLINE float power(float x, float e) {
  const uint32_t bits = float_to_bits(x) - 0x3f3504f3u;  // √½
  const float k = float(int32_t(bits) >> 23);
  const float m = bits_to_float((bits & 0x007fffffu) + 0x3f3504f3u);
  const float s = (m - 1) / (m + 1), s2 = s * s;
  const float log2_m =
      s * (2.88539008f + s2 * (0.961796694f + s2 * (0.577078016f + s2 * (0.412198583f + s2 * 0.320598898f))));
  const float y = e * (k + log2_m), shifted = y + kRounding;
  return scaled_exp(shifted, (y - (shifted - kRounding)) * 0.693147181f);
}

// The magnitudes of a frame as the layers read them.
class Reading {
 public:
  explicit Reading(const Parameters& p) : options_(p.config.options) {
    if (!options_.standardized()) return;
    std::copy_n(p.input_mean, kBins, mean_);
    std::copy_n(p.input_scale, kBins, scale_);
  }
  // In place: from magnitudes to what is read.
  void run(float* m) const {
    if (!options_.standardized()) return;
    const float e = options_.compression / 2;
    if (options_.compression != 1)
      for (int64_t f = 0; f < kBins; ++f) m[f] = power(m[f] * m[f] + kCompressionFloor, e);
    for (int64_t f = 0; f < kBins; ++f) m[f] = (m[f] - mean_[f]) * scale_[f];
  }

 private:
  Options options_;
  float mean_[kBins], scale_[kBins];
};

// R_mag with another minimum gain than the parameters have; see lite_rtse_ext/models/min_gain.py. With the minimum gain
// p, R_mag is p + (1 - p) R. With q in place of p it is q + (1 - q) R.
class MinGainScaling {
 public:
  explicit MinGainScaling(const MinGain& min_gain) {
    for (int64_t f = 0; f < kBins; ++f) {
      const double p = min_gain.at(f);
      own_[f] = float(p);
      inverse_[f] = float(1 / (1 - p));
    }
  }
  // In place: from the minimum gain p to q = factor · p.
  void run(float* r_mag, float factor) const {
    if (factor == 1) return;
    LITE_RTSE_INDEPENDENT
    for (int64_t f = 0; f < kBins; ++f) {
      const float p = own_[f], q = factor * p;
      r_mag[f] = q + (1 - q) * ((r_mag[f] - p) * inverse_[f]);
    }
  }

 private:
  float own_[kBins], inverse_[kBins];  // p and 1 / (1 - p)
};

class NetworkBuild final : public Network {
 public:
  NetworkBuild(const Parameters& p, Precision precision)
      : config_(p.config), lstm1_(lstm_dense(p.lstm1, kBins, kBins, precision)),
        fc1_(linear_dense(p.fc1, kBins, kBins, precision)), fc2_(linear_dense(p.fc2, kBins, 3 * kBins, precision)),
        lstm2_(lstm_dense(p.lstm2, kBins, kBins, precision)), heads_(heads_dense(p, precision)),
        block1_(p.blocks[0], 1, p.config.channels / 2, p.config.depthwise),
        block2_(p.blocks[1], p.config.channels / 2, p.config.channels / 2, p.config.depthwise),
        multi_order_(p.multi_order), reading_(p), min_gain_(p.config.options.min_gain),
        constant_branch_(all_zero(p.multi_order)), branch_bias_(*static_cast<const float*>(p.multi_order.bias.back())) {
    for (int64_t i = 0; i < kWindow; ++i) window_[i] = float(std::sin(3.14159265358979323846 * double(i) / kWindow));
  }

  const Config& config() const override { return config_; }
  std::unique_ptr<State> make_state(int64_t channels) const override;
  void step(Frame* frames, int64_t n) const override;

 private:
  friend class StateBuild;

  static Dense heads_dense(const Parameters& p, Precision precision) {
    const Parameters::Linear heads[3] = {p.to_mag, p.to_real, p.to_imag};
    return Dense(
        3 * kBins, kBins, precision,
        [&](int64_t o, int64_t i) { return heads[o / kBins].weight[o % kBins * kBins + i]; },
        [&](int64_t o) { return heads[o / kBins].bias[o % kBins]; });
  }

  // Whether Y2 is the bias of its last layer, whatever the input: that layer's weights are zero.
  static bool all_zero(const MultiOrderConvArgs& a) {
    const float* last = static_cast<const float*>(a.weight.back());
    return std::all_of(last, last + a.channels, [](float w) { return w == 0; });
  }

  void analyse(StateBuild& s, const float* in) const;
  void convolve(StateBuild& s) const;
  void mask(StateBuild& s) const;
  float gains(StateBuild& s, Band band) const;
  bool synthesise(StateBuild& s, float* out, float wet) const;

  const Config config_;
  const RealTransform transform_;
  float window_[kWindow];  // square root of a Hann window: sin(π n / 512)
  const Dense lstm1_, fc1_, fc2_, lstm2_, heads_;
  const ConvBlockFrame block1_, block2_;
  const MultiOrderFrame multi_order_;
  const Reading reading_;
  const MinGainScaling min_gain_;
  const bool constant_branch_;
  const float branch_bias_;
};

class StateBuild final : public State {
 public:
  StateBuild(const NetworkBuild& network, int64_t channels) : channels(channels) {
    Arena measure;
    Parts sizes(measure, network, channels);
    used_ = measure.used();
    bytes_ = huge_bytes(used_);
    Arena arena(bytes_.get());
    parts_.emplace(arena, network, channels);
    clear();  // this also touches every page of memory
    // Runs a frame of silence: all that grows at its first use grows now.
    std::vector<float> silence(channels * kHop);
    Frame frame{this, silence.data(), silence.data(), 1.0f, 1.0f, {}, 0.0f, true};
    network.step(&frame, 1);
    clear();
  }

  const int64_t channels;

  struct Parts {
    // Memory from frame to frame.
    float *before, *overlap;     // of each channel: the last frame's input, and the second half of its output
    float *lstm1_in, *lstm2_in;  // input, then the last output h, as one vector
    float *cell1, *cell2;        // c
    ConvBlockFrame::State block1, block2;
    MultiOrderFrame::State multi_order;
    // Scratch memory.
    float *real, *imag, *samples;       // each channel's spectrum, in rows of kRow; a window of samples
    float *gain_real, *gain_imag;       // of the network
    float *gates, *logit, *residual;    // pre-activations of an LSTM; those of the mask; R_mag, R_re, R_im
    float *magnitude, *fusion, *fused;  // m; read(m), read(Y1), Y2 as one vector; the linear layer's output for it
    Rows branch_in;                     // read(m) as the one channel of a lane row, as all blocks read their input

    Parts(Arena& arena, const NetworkBuild& n, int64_t channels)
        : before(arena.take<float>(channels * kHop)), overlap(arena.take<float>(channels * kHop)),
          lstm1_in(arena.take<float>(2 * kBins)), lstm2_in(arena.take<float>(2 * kBins)),
          cell1(arena.take<float>(kBins)), cell2(arena.take<float>(kBins)), block1(arena, n.block1_),
          block2(arena, n.block2_), multi_order(arena, n.multi_order_), real(arena.take<float>(channels * kRow)),
          imag(arena.take<float>(channels * kRow)), samples(arena.take<float>(kWindow)),
          gain_real(arena.take<float>(kBins)), gain_imag(arena.take<float>(kBins)),
          gates(arena.take<float>(n.lstm1_.padded())), logit(arena.take<float>(n.fc1_.padded())),
          residual(arena.take<float>(n.heads_.padded())), magnitude(arena.take<float>(kBins)),
          fusion(arena.take<float>(3 * kBins)), fused(arena.take<float>(n.fc2_.padded())),
          branch_in(arena, lane_blocks<float>(1)) {}
  };

  void clear() override {
    std::memset(static_cast<void*>(bytes_.get()), 0, used_);
    frame_ = kFirstFrame;
  }

  int64_t size() const override {
    int64_t n = 0;
    each([&](float*, int64_t count) { n += count; }, [&](const History& h) { n += h.size(); });
    return n;
  }
  void save(float* to) const override {
    each([&](const float* from, int64_t count) { to = std::copy_n(from, count, to); },
         [&](const History& h) { h.save(frame_, to), to += h.size(); });
  }
  void load(const float* from) override {
    clear();
    each([&](float* to, int64_t count) { std::copy_n(from, count, to), from += count; },
         [&](const History& h) { h.load(frame_, from), from += h.size(); });
  }

  Parts& operator*() { return *parts_; }
  Parts* operator->() { return &*parts_; }
  int64_t frame() const { return frame_; }
  void advance() { ++frame_; }

 private:
  // The whole memory in the order in which it is saved: plain vectors, and histories in channel order.
  template <class Vector, class Each>
  void each(Vector vector, Each history) const {
    const Parts& p = *parts_;
    for (float* v : {p.before, p.overlap}) vector(v, channels * kHop);
    for (float* v : {p.lstm1_in + kBins, p.cell1, p.lstm2_in + kBins, p.cell2}) vector(v, kBins);
    for (const ConvBlockFrame::State* block : {&p.block1, &p.block2})
      for (const History& h : block->history) history(h);
    for (size_t stage = 0;; ++stage) {
      bool any = false;
      for (const auto& block : p.multi_order.stages)
        if (stage < block.size()) history(block[stage].history()), any = true;
      if (!any) return;
    }
  }

  HugeBytes bytes_;
  std::size_t used_ = 0;
  std::optional<Parts> parts_;
  int64_t frame_ = kFirstFrame;
};

std::unique_ptr<State> NetworkBuild::make_state(int64_t channels) const {
  return std::make_unique<StateBuild>(*this, channels);
}

// Applies the window to the last frame and this one, then computes the spectrum of each channel, m and read(m).
void NetworkBuild::analyse(StateBuild& s, const float* in) const {
  float* m = s->magnitude;
  for (int64_t c = 0; c < s.channels; ++c, in += kHop) {
    float *before = s->before + c * kHop, *real = s->real + c * kRow, *imag = s->imag + c * kRow;
    for (int64_t i = 0; i < kHop; ++i) {
      s->samples[i] = before[i] * window_[i];
      s->samples[kHop + i] = in[i] * window_[kHop + i];
      before[i] = in[i];
    }
    transform_.forward(s->samples, real, imag);
    for (int64_t f = 0; f < kBins; ++f) {
      const float power = real[f] * real[f] + imag[f] * imag[f];
      m[f] = c == 0 ? power : m[f] + power;
    }
  }
  const float share = 1 / float(s.channels);
  for (int64_t f = 0; f < kBins; ++f) {
    m[f] = std::sqrt(share * m[f]);
    s->fusion[f] = m[f];
  }
  reading_.run(s->fusion);
  std::copy_n(s->fusion, kBins, s->lstm1_in);
}

// Computes Y2 from read(m).
void NetworkBuild::convolve(StateBuild& s) const {
  if (constant_branch_) {
    std::fill_n(s->fusion + 2 * kBins, kBins, branch_bias_);
    return;
  }
  const int64_t t = s.frame();
  for (int64_t f = 0; f < kBins; ++f) s->branch_in[0][f * kLanes<float>] = s->fusion[f];
  block1_.run(s->block1, s->branch_in.channels(), t);
  block2_.run(s->block2, s->block1.y.channels(), t);
  multi_order_.run(s->multi_order, s->block2.y.channels(), t, s->fusion + 2 * kBins);
}

// Computes the logit of the mask and read(Y1).
void NetworkBuild::mask(StateBuild& s) const {
  float *logit = s->logit, *masked = s->fusion + kBins;
  const float *m = s->magnitude, *features = s->fusion + 2 * kBins;
  if (config_.options.mask_branch)
    for (int64_t f = 0; f < kBins; ++f) logit[f] += features[f];
  for (int64_t f = 0; f < kBins; ++f) masked[f] = m[f] * sigmoid(logit[f]);
  reading_.run(masked);
}

// Magnitudes of floats have the order of their bits; Inf and NaN are at the end.
bool all_finite(const float* v, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, float_to_bits(v[i]) & 0x7fffffffu);
  return largest < 0x7f800000u;
}

// Computes the gain of every bin from R, and that of a band from m.
float NetworkBuild::gains(StateBuild& s, Band band) const {
  const float *r_mag = s->residual, *r_real = r_mag + kBins, *r_imag = r_real + kBins, *logit = s->logit;
  float *real = s->gain_real, *imag = s->gain_imag;
  LITE_RTSE_INDEPENDENT
  for (int64_t f = 0; f < kBins; ++f) {
    const Gain<float> g = gain(logit[f], r_mag[f], r_real[f], r_imag[f]);
    real[f] = g.amount * g.real;
    imag[f] = g.amount * g.imag;
  }
  float before = 0, after = 0;
  for (int64_t f = band.first; f < band.last; ++f) {
    const float energy = s->magnitude[f] * s->magnitude[f];
    before += energy;
    after += energy * (real[f] * real[f] + imag[f] * imag[f]);
  }
  return before > 0 ? std::sqrt(after / before) : -1;
}

// Computes the samples of each channel from X and the gains. Returns false if one of them, or of the numbers in the
// LSTMs' memory, is not finite.
bool NetworkBuild::synthesise(StateBuild& s, float* out, float wet) const {
  bool finite = true;
  for (int64_t c = 0; c < s.channels; ++c, out += kHop) {
    float *real = s->real + c * kRow, *imag = s->imag + c * kRow, *overlap = s->overlap + c * kHop;
    LITE_RTSE_INDEPENDENT
    for (int64_t f = 0; f < kBins; ++f) {
      const float a = wet * s->gain_real[f] + (1 - wet), b = wet * s->gain_imag[f];
      const float x = real[f], y = imag[f];
      real[f] = a * x - b * y;
      imag[f] = a * y + b * x;
    }
    transform_.inverse(real, imag, s->samples);
    for (int64_t i = 0; i < kHop; ++i) {
      out[i] = overlap[i] + s->samples[i] * window_[i];
      overlap[i] = s->samples[kHop + i] * window_[kHop + i];
    }
    finite = finite && all_finite(out, kHop) && all_finite(overlap, kHop);
  }
  for (const float* v : {s->cell1, s->cell2, s->lstm1_in + kBins, s->lstm2_in + kBins})
    finite = finite && all_finite(v, kBins);
  return finite;
}

void NetworkBuild::step(Frame* frames, int64_t n) const {
  StateBuild* s[kMostStreams];
  const float* in[kMostStreams] = {};
  float* out[kMostStreams] = {};
  const auto product = [&](const Dense& dense, auto from, auto to) {
    for (int64_t i = 0; i < n; ++i) in[i] = from(*s[i]), out[i] = to(*s[i]);
    dense.run(in, out, n);
  };
  const auto lstm1_in = [](StateBuild& x) { return x->lstm1_in; };
  const auto lstm2_in = [](StateBuild& x) { return x->lstm2_in; };
  const auto gates = [](StateBuild& x) { return x->gates; };

  for (int64_t i = 0; i < n; ++i) {
    s[i] = static_cast<StateBuild*>(frames[i].state);
    analyse(*s[i], frames[i].in);
  }
  product(lstm1_, lstm1_in, gates);
  for (int64_t i = 0; i < n; ++i) lstm_cell((*s[i])->gates, kBins, (*s[i])->cell1, (*s[i])->lstm1_in + kBins);
  product(fc1_, [](StateBuild& x) { return x->lstm1_in + kBins; }, [](StateBuild& x) { return x->logit; });
  for (int64_t i = 0; i < n; ++i) {
    convolve(*s[i]);
    mask(*s[i]);
  }
  product(fc2_, [](StateBuild& x) { return x->fusion; }, [](StateBuild& x) { return x->fused; });
  for (int64_t i = 0; i < n; ++i) std::copy_n((*s[i])->fused, kBins, (*s[i])->lstm2_in);
  product(lstm2_, lstm2_in, gates);
  for (int64_t i = 0; i < n; ++i) lstm_cell((*s[i])->gates, kBins, (*s[i])->cell2, (*s[i])->lstm2_in + kBins);
  product(heads_, [](StateBuild& x) { return x->lstm2_in + kBins; }, [](StateBuild& x) { return x->residual; });
  for (int64_t i = 0; i < n; ++i) {
    min_gain_.run((*s[i])->residual, frames[i].min_gain);
    frames[i].gain = gains(*s[i], frames[i].band);
    frames[i].finite = synthesise(*s[i], frames[i].out, frames[i].wet);
    s[i]->advance();
  }
}
