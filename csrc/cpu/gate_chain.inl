// The gate chain of the Multi-Order block on a tile of points (bins of one frame), and its gradients.
//
//   s_k = p_k * gate_k,   p_{k+1} = A_k s_k + a_k,   q = final * p_{n-1},   y = W_out q + b_out
//
// Rows are (points, lanes). u[b] is the last stage of block b: final, gates and p_0, in the plan's order.

template <class T>
class GateChain {
 public:
  explicit GateChain(const MultiOrderPlan<T>& plan) : plan_(plan), p_(plan.stages + 1), s_(plan.stages) {
    int64_t most = plan.channels;
    for (int64_t g : plan.gate) most = std::max(most, 2 * g);
    channel_.resize(most);
  }

  void layout(Arena& arena) {
    for (int64_t k = 0; k < plan_.stages; ++k) {
      s_[k] = take_rows(arena, plan_.gate_blocks[k]);
      p_[k + 1] = take_rows(arena, plan_.pw[k].blocks);
    }
    q_ = take_rows(arena, plan_.final_blocks);
  }

  // Computes p_1 … p_{n-1} and q.
  void run(const T* const* u, int64_t points) {
    p_[0].clear();
    for (int64_t i = 0; i < plan_.gate_blocks[0]; ++i) p_[0].push_back(const_cast<T*>(u[plan_.p0_block + i]));
    for (int64_t k = 0; k < plan_.stages; ++k) {
      for (int64_t i = 0; i < plan_.gate_blocks[k]; ++i)
        multiply(p_[k][i], u[plan_.gate_block[k] + i], points, s_[k][i]);
      plan_.pw[k].forward(plan_.w_pw[k].data(), source(s_[k], plan_.gate[k]), points, 0, plan_.pw[k].blocks,
                          p_[k + 1].data());
    }
    for (int64_t i = 0; i < plan_.final_blocks; ++i) multiply(u[i], last_p()[i], points, q_[i]);
  }

  const std::vector<T*>& p(int64_t k) const { return p_[k]; }
  const std::vector<T*>& last_p() const { return p_[plan_.stages]; }
  const std::vector<T*>& q() const { return q_; }
  Lanes<T> s(int64_t k) { return source(s_[k], plan_.gate[k]); }

  // The channels of lane rows as the source of a 1x1 convolution; valid until the next call.
  Lanes<T> source(const std::vector<T*>& rows, int64_t channels) {
    const T** at = channel_.data();
    for (int64_t i = 0; i < int64_t(rows.size()); ++i)
      at = lane_channels<T>(at, rows[i], std::min(kLanes<T>, channels - i * kLanes<T>));
    return {channel_.data()};
  }

  static std::vector<T*> take_rows(Arena& arena, int64_t count) {
    std::vector<T*> rows(count);
    for (T*& row : rows) row = arena.take<T>(PointTiles::kLongest * kLanes<T>);
    return rows;
  }

 private:
  const MultiOrderPlan<T>& plan_;
  std::vector<std::vector<T*>> p_, s_;
  std::vector<T*> q_;
  std::vector<const T*> channel_;
};
