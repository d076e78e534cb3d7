// 1x1 convolutions with many channels, as products of dense matrices. For each utterance
//
//     y = W x + b,   dx = Wᵀ dy,   dW = Σ dy xᵀ,   db = Σ dy,
//
// where x has a row for each channel, and the sums are over utterances and points. In the first two products lanes are
// points, of all utterances side by side. In the third one they are the channels of x, which is transposed. Every sum
// has a fixed order that does not depend on the threads.

// y = W x + b, for points of all utterances.
class PointwiseProduct {
 public:
  // The weights of output o and input i. They are stored as (outputs, inputs), or transposed.
  struct Weights {
    const float* data;
    bool transposed;
  };

  // bias: (outputs), or null; x: (batch, inputs, points); y: (batch, outputs, points).
  PointwiseProduct(Weights weights, const float* bias, const float* x, float* y, int64_t batch, int64_t inputs,
                   int64_t outputs, int64_t points)
      : weights_(weights), bias_(bias), x_(x), y_(y), inputs_(inputs), outputs_(outputs), points_(points),
        columns_(batch * points) {}

  int64_t tasks() const { return ceil_div(columns_, kColumns); }

  void run(int64_t task) const {
    const Range columns = Range{task * kColumns, (task + 1) * kColumns}.clip(0, columns_);
    float *packed = nullptr, *rows = nullptr;
    DenseTile tile;
    const auto layout = [&](Arena arena) {
      packed = arena.take<float>(DenseShape{columns.size(), kTerms}.size());
      rows = arena.take<float>(weights_.transposed ? outputs_ * kTerms : 0);
      tile = DenseTile(arena);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::vector<DenseResult> results;
    each_utterance(columns, [&](int64_t b, Range points) {
      results.push_back({y_ + b * outputs_ * points_ + points.first, points_, points.size()});
    });
    for (int64_t first = 0; first == 0 || first < inputs_; first += kTerms) {
      const Range chunk = Range{first, first + kTerms}.clip(0, inputs_);
      const DenseShape shape{columns.size(), chunk.size()};
      pack(columns, chunk, shape, packed);
      const auto by_input = [&](int64_t i) { return weights_.data + (first + i) * outputs_; };
      if (weights_.transposed) transpose_rows(chunk.size(), outputs_, by_input, rows, kTerms);
      const auto weights = [&](int64_t o) {
        return weights_.transposed ? rows + o * kTerms : weights_.data + o * inputs_ + first;
      };
      tile.add(shape, packed, outputs_, results, weights, bias_, first > 0);
    }
  }

 private:
  // A task's columns, as groups without a remainder; and the terms of a sum that are computed together. Its packed
  // columns are in the second-level cache.
  static constexpr int64_t kColumns = 5 * kGroup * kLanes<float>, kTerms = 256;

  void pack(Range columns, Range chunk, DenseShape shape, float* packed) const {
    int64_t at = 0;
    each_utterance(columns, [&](int64_t b, Range points) {
      const auto row = [&](int64_t i) { return x_ + (b * inputs_ + chunk.first + i) * points_ + points.first; };
      pack_dense_outputs(at, points.size(), shape, row, packed);
      at += points.size();
    });
  }

  // f(b, points) for each utterance that has some of the columns.
  template <class F>
  void each_utterance(Range columns, F f) const {
    for (int64_t c = columns.first; c < columns.last;) {
      const int64_t b = c / points_, last = std::min(columns.last, (b + 1) * points_);
      f(b, Range{c, last}.shift(-b * points_));
      c = last;
    }
  }

  Weights weights_;
  const float *bias_, *x_;
  float* y_;
  int64_t inputs_, outputs_, points_, columns_;
};

class PointwiseConvJob final : public Job {
 public:
  explicit PointwiseConvJob(const PointwiseConvArgs& a)
      : product_({a.weight, false}, a.bias, a.x, a.y, a.batch, a.inputs, a.outputs, a.points) {}
  int64_t tasks() const override { return product_.tasks(); }
  void run(int64_t task) override { product_.run(task); }

 private:
  const PointwiseProduct product_;
};

// The input's gradient is the product with Wᵀ. The other tasks compute blocks of dW.
class PointwiseConvBackwardJob final : public Job {
 public:
  explicit PointwiseConvBackwardJob(const PointwiseConvBackwardArgs& a)
      : a_(a), of_x_({f_.weight, true}, nullptr, a.dy, a.dx, f_.batch, f_.outputs, f_.inputs, f_.points),
        x_tasks_(a.dx ? of_x_.tasks() : 0) {}

  int64_t tasks() const override { return x_tasks_ + (a_.dweight ? output_parts() * ceil_div(f_.inputs, kInputs) : 0); }

  void run(int64_t task) override {
    if (task < x_tasks_) return of_x_.run(task);
    const int64_t o = (task - x_tasks_) % output_parts() * kOutputs, i = (task - x_tasks_) / output_parts() * kInputs;
    weight_gradient(Range{o, o + kOutputs}.clip(0, f_.outputs), Range{i, i + kInputs}.clip(0, f_.inputs));
  }

  void finish() override {
    for (int64_t o = 0; a_.dbias && o < f_.outputs; ++o) {
      double sum = 0;
      Channel{f_.batch, f_.outputs, f_.points, o}.for_each_piece(
          [&](int64_t at, int64_t n) { sum += double(piece_sum(a_.dy + at, n)); });
      a_.dbias[o] = float(sum);
    }
  }

 private:
  static constexpr int64_t kOutputs = 256, kInputs = 256;  // of a task
  static constexpr int64_t kTerms = 256;                   // of a sum, which are computed together

  int64_t output_parts() const { return ceil_div(f_.outputs, kOutputs); }
  const float* dy(int64_t b, int64_t o) const { return a_.dy + (b * f_.outputs + o) * f_.points; }

  void weight_gradient(Range outputs, Range inputs) const {
    float* packed = nullptr;
    DenseTile tile;
    ChunkSums sums;
    const auto layout = [&](Arena arena) {
      packed = arena.take<float>(DenseShape{inputs.size(), kTerms}.size());
      tile = DenseTile(arena);
      sums = ChunkSums(arena, f_.batch * ceil_div(f_.points, kTerms), outputs.size() * inputs.size());
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const std::vector<DenseResult> result = {
        {a_.dweight + outputs.first * f_.inputs + inputs.first, f_.inputs, inputs.size()}};
    int64_t chunk = 0;
    const auto add = [&](int64_t b, Range points) {
      const DenseShape shape{inputs.size(), points.size()};
      const float* const x = f_.x + (b * f_.inputs + inputs.first) * f_.points + points.first;
      for (int64_t g = 0; g < shape.groups(); ++g) pack_dense_group(x, f_.points, shape, g, packed + shape.at(g));
      const auto factors = [&](int64_t o) { return dy(b, outputs.first + o) + points.first; };
      tile.add(shape, packed, outputs.size(), result, factors, nullptr, sums.more(chunk));
      sums.end_chunk(chunk++, outputs.size(), result);
    };
    for (int64_t b = 0; b < f_.batch; ++b)
      for (int64_t p = 0; p < f_.points; p += kTerms) add(b, Range{p, p + kTerms}.clip(0, f_.points));
    if (chunk == 0) add(0, {0, 0});  // zeros
  }

  const PointwiseConvBackwardArgs a_;
  const PointwiseConvArgs& f_ = a_.forward;
  const PointwiseProduct of_x_;
  const int64_t x_tasks_;
};

inline std::unique_ptr<Job> pointwise_conv(const PointwiseConvArgs& a) { return std::make_unique<PointwiseConvJob>(a); }
inline std::unique_ptr<Job> pointwise_conv_backward(const PointwiseConvBackwardArgs& a) {
  return std::make_unique<PointwiseConvBackwardJob>(a);
}
