// The Python module lite_rtse_ext._stream: networks and streams on numpy arrays, without torch. The public classes are
// in lite_rtse_ext/stream, which checks the users' arguments. The checks in this file keep memory safe.
//
// Free-threaded builds of Python run several of these functions at the same time. A Network never changes, and
// Exclusive lets one thread at a time use a Stream.
#include <atomic>

#include "flush_subnormals.h"
#include "host_stream.h"
#include "python_api.h"

namespace {

using namespace lite_rtse::python;
using namespace lite_rtse::stream;
using SharedNetwork = std::shared_ptr<const Network>;

constexpr int64_t kMostSamples = int64_t(1) << 40;  // times of samples, in units of both rates, then fit int64_t

// --- networks
// ---------------------------------------------------------------------------------------------------------

Precision precision_of(const std::string& name) {
  if (name == "float32") return Precision::f32;
  if (name == "int24") return Precision::i24;
  if (name == "int16") return Precision::i16;
  if (name == "int8") return Precision::i8;
  throw std::invalid_argument("precision: expected 'float32', 'int24', 'int16' or 'int8', got '" + name + "'");
}

// The arrays of a dictionary by name. `owners` keeps them alive.
std::map<std::string, Array> arrays_of(PyObject* weights, std::vector<Floats>& owners) {
  const Ref items(PyDict_Items(weights));
  std::map<std::string, Array> arrays;
  for (Py_ssize_t i = 0; i < PyList_Size(items.get()); ++i) {
    PyObject* item = PyList_GetItem(items.get(), i);
    Py_ssize_t size = 0;
    const char* name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(item, 0), &size);
    if (name == nullptr) throw Raised();
    const Floats& array = owners.emplace_back(PyTuple_GetItem(item, 1));
    Array& entry = arrays[std::string(name, size_t(size))];
    entry.data = array.data();
    for (int d = 0; d < array.dimensions(); ++d) entry.shape.push_back(array.size(d));
  }
  return arrays;
}

// The items of a sequence, in a list that other threads do not know.
Ref list_of(PyObject* sequence) { return Ref(PySequence_List(sequence)); }

// The minimum gain of a sequence of numbers. None: it is not known.
MinGain min_gain_of(PyObject* numbers) {
  if (numbers == Py_None) return {};
  const Ref list = list_of(numbers);
  std::vector<double> values;
  for (Py_ssize_t i = 0; i < PyList_Size(list.get()); ++i) {
    values.push_back(PyFloat_AsDouble(PyList_GetItem(list.get(), i)));
    if (PyErr_Occurred()) throw Raised();
  }
  return min_gain(values.data(), values.size());
}

PyObject* new_network(PyTypeObject* type, PyObject* positional, PyObject* named) {
  static const char* names[] = {"weights", "precision", "compression", "mask_branch", "min_gain", nullptr};
  PyObject *weights = nullptr, *min_gain = nullptr;
  const char* precision = nullptr;
  float compression = 1;
  int mask_branch = 0;
  if (!PyArg_ParseTupleAndKeywords(positional, named, "O!sfpO", const_cast<char**>(names), &PyDict_Type, &weights,
                                   &precision, &compression, &mask_branch, &min_gain))
    throw Raised();
  const Options options = {compression, mask_branch != 0, min_gain_of(min_gain)};
  std::vector<Floats> owners;
  const std::map<std::string, Array> arrays = arrays_of(weights, owners);
  const Precision chosen = precision_of(precision);
  SharedNetwork network;
  {
    const Unlocked unlocked;
    network = engine().network(parameters(arrays, options), chosen);
  }
  return Object<SharedNetwork>::make(type, std::move(network));
}

int64_t channels(SharedNetwork& network) { return network->config().channels; }
int64_t order(SharedNetwork& network) { return network->config().order; }
bool depthwise(SharedNetwork& network) { return network->config().depthwise; }

// --- streams
// ----------------------------------------------------------------------------------------------------------

// A stream that two Python threads cannot use at the same time: the second thread gets an error instead of waiting.
// Functions that other threads may call while the stream is in use need no Use.
class Exclusive {
 public:
  Exclusive(SharedNetwork network, Timing timing, bool high_pass, int64_t rate_hz, int64_t channels)
      : stream_(std::move(network), timing, high_pass, rate_hz, channels) {}

  HostStream& shared() { return stream_; }

  class Use {
   public:
    explicit Use(Exclusive& owner) : owner_(owner) {
      if (owner.busy_.exchange(true, std::memory_order_acquire))
        throw std::runtime_error("the stream is in use by another thread, or listed twice");
    }
    ~Use() { owner_.busy_.store(false, std::memory_order_release); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    HostStream* operator->() const { return &owner_.stream_; }
    HostStream* get() const { return &owner_.stream_; }

   private:
    Exclusive& owner_;
  };

 private:
  HostStream stream_;
  std::atomic<bool> busy_ = false;
};

PyObject* new_stream(PyTypeObject* type, PyObject* positional, PyObject* named) {
  static const char* names[] = {"network", "live", "high_pass", "rate_hz", "channels", nullptr};
  const Types& types = *static_cast<Types*>(PyType_GetModuleState(type));
  PyObject* network = nullptr;
  int live = 0, high_pass = 0;
  long long rate_hz = 0, channels = 0;
  if (!PyArg_ParseTupleAndKeywords(positional, named, "O!ppLL", const_cast<char**>(names), types.network, &network,
                                   &live, &high_pass, &rate_hz, &channels))
    throw Raised();
  if (rate_hz < kLeastRateHz || rate_hz > kMostRateHz) throw std::invalid_argument("rate_hz is out of range");
  if (channels < 1 || channels > kMostStreamChannels) throw std::invalid_argument("channels is out of range");
  return Object<Exclusive>::make(type, Object<SharedNetwork>::of(network), live ? Timing::live : Timing::aligned,
                                 high_pass != 0, rate_hz, channels);
}

npy_intp length(const Floats& a, const char* name) {
  if (a.dimensions() != 1) throw std::invalid_argument(std::string(name) + " must have one dimension");
  return a.size();
}

// Samples of one channel, (samples,), or of several, (samples, channels).
npy_intp length(const Floats& a, int64_t channels) {
  if (channels == 1) return length(a, "samples");
  if (a.dimensions() != 2 || a.size(1) != channels)
    throw std::invalid_argument("samples must have the shape (samples, channels)");
  return a.size();
}
Floats room(int64_t count, int64_t channels) { return channels == 1 ? Floats({count}) : Floats({count, channels}); }

Floats feed_one(Exclusive& stream, const Floats& in) {
  const Exclusive::Use use(stream);
  const int64_t count = length(in, use->channels());
  Floats out = room(use->room(count), use->channels());
  float* to = out.mutable_data();
  int64_t written = 0;
  {
    const Unlocked unlocked;
    written = use->feed(in.data(), count, to);
  }
  out.shorten(written);
  return out;
}

std::vector<Floats> feed_many(Types& types, PyObject* stream_sequence, PyObject* sample_sequence) {
  const Ref streams = list_of(stream_sequence), samples = list_of(sample_sequence);
  const size_t n = size_t(PyList_Size(streams.get()));
  if (size_t(PyList_Size(samples.get())) != n)
    throw std::invalid_argument("as many blocks of samples as streams are needed");
  std::vector<std::unique_ptr<Exclusive::Use>> uses;
  std::vector<HostStream*> plain(n);
  std::vector<const float*> from(n);
  std::vector<float*> to(n);
  std::vector<int64_t> count(n), written(n);
  std::vector<Floats> in, out;
  for (size_t i = 0; i < n; ++i) {
    PyObject* stream = PyList_GetItem(streams.get(), Py_ssize_t(i));
    if (Py_TYPE(stream) != types.stream) wrong_type("a Stream", stream);
    uses.push_back(std::make_unique<Exclusive::Use>(Object<Exclusive>::of(stream)));
    plain[i] = uses[i]->get();
    if (plain[i]->network() != plain[0]->network()) throw std::invalid_argument("the streams must share one network");
    in.emplace_back(PyList_GetItem(samples.get(), Py_ssize_t(i)));
    count[i] = length(in[i], plain[i]->channels());
    out.push_back(room(plain[i]->room(count[i]), plain[i]->channels()));
    from[i] = in[i].data();
    to[i] = out[i].mutable_data();
  }
  {
    const Unlocked unlocked;
    feed(plain.data(), from.data(), count.data(), to.data(), written.data(), int64_t(n));
  }
  for (size_t i = 0; i < n; ++i) out[i].shorten(written[i]);
  return out;
}

Floats flush(Exclusive& stream) {
  const Exclusive::Use use(stream);
  Floats out = room(use->latency(), use->channels());
  float* to = out.mutable_data();
  int64_t written = 0;
  {
    const Unlocked unlocked;
    written = use->flush(to);
  }
  out.shorten(written);
  return out;
}

int64_t latency(Exclusive& stream) { return stream.shared().latency(); }
void reset(Exclusive& stream) { Exclusive::Use(stream)->reset(); }
void set_wet(Exclusive& stream, float wet) { stream.shared().set_wet(wet); }
void set_min_gain(Exclusive& stream, float factor) { stream.shared().set_min_gain(factor); }
std::pair<int64_t, int64_t> faults(Exclusive& stream) {
  const Faults so_far = stream.shared().faults();
  return {so_far.samples, so_far.frames};
}

Floats save(Exclusive& stream) {
  const Exclusive::Use use(stream);
  Floats state({use->size()});
  use->save(state.mutable_data());
  return state;
}

void load(Exclusive& stream, const Floats& state) {
  const Exclusive::Use use(stream);
  use->load(state.data(), length(state, "state"));
}

// Samples `first` to `first + count` of a whole signal at another rate.
Floats resampled(Types&, const Floats& in, int64_t from_hz, int64_t to_hz, int64_t first, int64_t count) {
  for (const int64_t rate_hz : {from_hz, to_hz})
    if (rate_hz < kLeastRateHz || rate_hz > kMostRateHz) throw std::invalid_argument("a rate is out of range");
  const int64_t size = length(in, "samples");
  if (first < 0 || count < 0 || first > kMostSamples - count) throw std::invalid_argument("first, count: out of range");
  Floats out({count});
  float* to = out.mutable_data();
  {
    const Unlocked unlocked;
    const FlushSubnormals flush;
    resample(conversion(from_hz, to_hz), in.data(), size, first, count, to);
  }
  return out;
}

// --- the module
// -------------------------------------------------------------------------------------------------------

std::string isa(Types&) { return engine().isa; }
std::vector<std::string> isas(Types&) { return runnable_isas(); }

PyMethodDef stream_methods[] = {
    function<&feed_one>("feed"),   function<&flush>("flush"),   function<&reset>("reset"),
    function<&set_wet>("set_wet"), function<&faults>("faults"), function<&set_min_gain>("set_min_gain"),
    function<&save>("save"),       function<&load>("load"),     {}};
PyMethodDef no_methods[] = {{}};
PyGetSetDef stream_attributes[] = {attribute<&latency>("latency"), {}};
PyGetSetDef network_attributes[] = {
    attribute<&channels>("channels"), attribute<&order>("order"), attribute<&depthwise>("depthwise"), {}};
PyMethodDef functions[] = {
    function<&isa>("isa"), function<&isas>("isas"), function<&feed_many>("feed"), function<&resampled>("resample"), {}};

int fill(PyObject* module) {
  if (PyArray_ImportNumPyAPI() < 0) throw Raised();
  Types& types = owner<Types>(module);
  types.network =
      add_type<SharedNetwork, &new_network>(module, "lite_rtse_ext._stream.Network", no_methods, network_attributes);
  types.stream =
      add_type<Exclusive, &new_stream>(module, "lite_rtse_ext._stream.Stream", stream_methods, stream_attributes);
  add(module, "SAMPLE_RATE_HZ", to_python(kSampleRateHz));
  add(module, "HOP_LENGTH", to_python(kHop));
  add(module, "LATENCY_SAMPLES", to_python(kLatency));
  add(module, "HIGH_PASS_HZ", to_python(HighPass::kCutoffHz));
  return 0;
}

int execute(PyObject* module) {
  return guarded([&] { return fill(module); }, -1);
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(&execute)},
#ifdef Py_GIL_DISABLED
                            {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
                            {}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_stream",    nullptr,    sizeof(Types), functions, slots,
                          &visit_types,          &clear_types, &free_types};

}  // namespace

PyMODINIT_FUNC PyInit__stream() { return PyModuleDef_Init(&definition); }
