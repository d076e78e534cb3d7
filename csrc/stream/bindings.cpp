// The Python module lite_rtse_ext._stream: networks and streams on numpy arrays, without torch. The public classes are
// in lite_rtse_ext/stream, which checks the users' arguments. The checks in this file keep memory safe.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>

#include "host_stream.h"

namespace py = pybind11;
using namespace lite_rtse::stream;

namespace {

using Samples = py::array_t<float, py::array::c_style>;

Precision precision_of(const std::string& name) {
  if (name == "float32") return Precision::f32;
  if (name == "int16") return Precision::i16;
  throw py::value_error("precision must be 'float32' or 'int16', but is '" + name + "'");
}

std::shared_ptr<const Network> make_network(const std::map<std::string, Samples>& weights, const std::string& precision,
                                            const Options& options) {
  std::map<std::string, Array> arrays;
  for (const auto& [name, a] : weights) arrays[name] = {a.data(), {a.shape(), a.shape() + a.ndim()}};
  const Precision chosen = precision_of(precision);
  py::gil_scoped_release release;
  return engine().network(parameters(arrays, options), chosen);
}

py::ssize_t length(const Samples& a, const char* name) {
  if (a.ndim() != 1) throw py::value_error(std::string(name) + " must have one dimension");
  return a.shape(0);
}

// Samples of one channel, (samples,), or of several, (samples, channels).
py::ssize_t length(const Samples& a, int64_t channels) {
  if (channels == 1) return length(a, "samples");
  if (a.ndim() != 2 || a.shape(1) != channels) throw py::value_error("samples must have the shape (samples, channels)");
  return a.shape(0);
}
Samples room(int64_t count, int64_t channels) {
  return channels == 1 ? Samples(count) : Samples(std::vector<py::ssize_t>{py::ssize_t(count), py::ssize_t(channels)});
}

// A stream that two Python threads cannot use at the same time: the second thread gets an error instead of waiting.
// Functions that other threads may call while the stream is in use need no Use.
class Exclusive {
 public:
  Exclusive(std::shared_ptr<const Network> network, Timing timing, bool high_pass, int64_t rate_hz, int64_t channels)
      : stream_(std::move(network), timing, high_pass, rate_hz, channels) {}

  void set_wet(float wet) { stream_.set_wet(wet); }
  int64_t latency() const { return stream_.latency(); }
  py::tuple faults() const {
    const Faults so_far = stream_.faults();
    return py::make_tuple(so_far.samples, so_far.frames);
  }

  class Use {
   public:
    explicit Use(Exclusive& owner) : owner_(owner) {
      if (owner.busy_) throw std::runtime_error("the stream is in use by another thread, or listed twice");
      owner.busy_ = true;
    }
    ~Use() { owner_.busy_ = false; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    HostStream* operator->() const { return &owner_.stream_; }
    HostStream* get() const { return &owner_.stream_; }

   private:
    Exclusive& owner_;
  };

 private:
  HostStream stream_;
  bool busy_ = false;  // read and written with the GIL held
};

// The first `count` samples of an array that was allocated for more.
Samples shortened(Samples a, int64_t count) {
  std::vector<py::ssize_t> shape(a.shape(), a.shape() + a.ndim());
  shape[0] = py::ssize_t(count);
  if (count != a.shape(0)) a.resize(shape);
  return a;
}

Samples feed_one(Exclusive& stream, const Samples& in) {
  const Exclusive::Use use(stream);
  const int64_t count = length(in, use->channels());
  Samples out = room(use->room(count), use->channels());
  const float* from = in.data();
  float* to = out.mutable_data();
  int64_t written = 0;
  {
    py::gil_scoped_release release;
    written = use->feed(from, count, to);
  }
  return shortened(std::move(out), written);
}

// The parameters are references, because pybind11 turns None into a null pointer but rejects it for a reference.
std::vector<Samples> feed_many(const std::vector<std::reference_wrapper<Exclusive>>& streams,
                               const std::vector<Samples>& in) {
  const size_t n = streams.size();
  if (in.size() != n) throw py::value_error("as many blocks of samples as streams are needed");
  std::vector<std::unique_ptr<Exclusive::Use>> uses;
  std::vector<HostStream*> plain(n);
  std::vector<const float*> from(n);
  std::vector<float*> to(n);
  std::vector<int64_t> count(n), written(n);
  std::vector<Samples> out;
  for (size_t i = 0; i < n; ++i) {
    uses.push_back(std::make_unique<Exclusive::Use>(streams[i].get()));
    plain[i] = uses[i]->get();
    if (plain[i]->network() != plain[0]->network()) throw py::value_error("the streams must share one network");
    count[i] = length(in[i], plain[i]->channels());
    out.push_back(room(plain[i]->room(count[i]), plain[i]->channels()));
    from[i] = in[i].data();
    to[i] = out[i].mutable_data();
  }
  {
    py::gil_scoped_release release;
    feed(plain.data(), from.data(), count.data(), to.data(), written.data(), int64_t(n));
  }
  for (size_t i = 0; i < n; ++i) out[i] = shortened(std::move(out[i]), written[i]);
  return out;
}

Samples flush(Exclusive& stream) {
  const Exclusive::Use use(stream);
  Samples out = room(use->latency(), use->channels());
  float* to = out.mutable_data();
  int64_t written = 0;
  {
    py::gil_scoped_release release;
    written = use->flush(to);
  }
  return shortened(std::move(out), written);
}

Samples save(Exclusive& stream) {
  const Exclusive::Use use(stream);
  Samples state(use->size());
  use->save(state.mutable_data());
  return state;
}

void load(Exclusive& stream, const Samples& state) {
  const Exclusive::Use use(stream);
  use->load(state.data(), length(state, "state"));
}

}  // namespace

PYBIND11_MODULE(_stream, m) {
  m.attr("SAMPLE_RATE_HZ") = kSampleRateHz;
  m.attr("HOP_LENGTH") = kHop;
  m.attr("LATENCY_SAMPLES") = kLatency;
  m.attr("HIGH_PASS_HZ") = HighPass::kCutoffHz;
  m.def("isa", [] { return std::string(engine().isa); });
  m.def("isas", &runnable_isas);
  py::class_<Network, std::shared_ptr<Network>>(m, "Network")
      .def(py::init([](const std::map<std::string, Samples>& weights, const std::string& precision, float compression,
                       bool mask_branch) {
             return std::const_pointer_cast<Network>(make_network(weights, precision, {compression, mask_branch}));
           }),
           py::arg("weights"), py::arg("precision"), py::arg("compression"), py::arg("mask_branch"))
      .def_property_readonly("channels", [](const Network& n) { return n.config().channels; })
      .def_property_readonly("order", [](const Network& n) { return n.config().order; })
      .def_property_readonly("depthwise", [](const Network& n) { return n.config().depthwise; });
  py::class_<Exclusive>(m, "Stream")
      .def(py::init([](std::shared_ptr<Network> network, bool live, bool high_pass, int64_t rate_hz, int64_t channels) {
             if (rate_hz < kLeastRateHz || rate_hz > kMostRateHz) throw py::value_error("rate_hz is out of range");
             if (channels < 1 || channels > kMostChannels) throw py::value_error("channels is out of range");
             const Timing timing = live ? Timing::live : Timing::aligned;
             return std::make_unique<Exclusive>(std::move(network), timing, high_pass, rate_hz, channels);
           }),
           py::arg("network").none(false), py::arg("live"), py::arg("high_pass"), py::arg("rate_hz"),
           py::arg("channels"))
      .def_property_readonly("latency", &Exclusive::latency)
      .def("feed", &feed_one, py::arg("samples").noconvert())
      .def("flush", &flush)
      .def("reset", [](Exclusive& s) { Exclusive::Use(s)->reset(); })
      .def("set_wet", &Exclusive::set_wet, py::arg("wet"))
      .def("faults", &Exclusive::faults)
      .def("save", &save)
      .def("load", &load, py::arg("state").noconvert());
  m.def("feed", &feed_many, py::arg("streams"), py::arg("samples"));
}
