// Cuts a job along time. A segment is one task. It recomputes the few frames of left context (and, for gradients, of
// right context) that it shares with its neighbors. Inside, it marches over time in chunks of kChunk frames.

struct Segment {
  int64_t utterance, first, last;  // frames [first, last)
};

// Utterances cut into equal runs of about `target` frames.
struct Segments {
  int64_t batch, frames, per_utterance;

  Segments(int64_t batch_, int64_t frames_, int64_t target)
      : batch(batch_), frames(frames_), per_utterance((frames_ + target / 2) / target) {
    if (per_utterance == 0 && frames > 0) per_utterance = 1;
  }
  int64_t count() const { return batch * per_utterance; }
  Segment operator[](int64_t task) const {
    const int64_t i = task % per_utterance;
    return {task / per_utterance, frames * i / per_utterance, frames * (i + 1) / per_utterance};
  }
};

// The part of [first, last) in [low, high); empty ranges have first == last.
struct Range {
  int64_t first, last;
  Range clip(int64_t low, int64_t high) const {
    const int64_t f = std::max(first, low);
    return {f, std::max(f, std::min(last, high))};
  }
  Range shift(int64_t by) const { return {first + by, last + by}; }
  int64_t size() const { return last - first; }
};

// Sets `out` to the rows [first, first + count) of a ring, to be read as padded rows.
template <class T>
void padded_rows(const Ring<T>& ring, int64_t first, int64_t count, const T* zeros, const T** out) {
  for (int64_t r = 0; r < count; ++r) out[r] = ring.padded(first + r, zeros);
}

// An operator's job, in the type that it computes in: float64 for float64, float32 for all others.
template <template <class> class OperatorJob, class Args>
std::unique_ptr<Job> job_for(DType dtype, const Args& args) {
  if (dtype == DType::f64) return std::make_unique<OperatorJob<double>>(args);
  return std::make_unique<OperatorJob<float>>(args);
}
