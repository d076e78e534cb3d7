// What the module lite_rtse_ext._stream needs of Python and numpy, in terms of C++. It keeps to the limited API of
// Python 3.10, so that one build serves that version and all later ones. That API has no buffers, but numpy's own does.
//
// A function of the module is a C++ function. Its parameter and result types say how to convert. Its first parameter is
// the value of the object whose method it is, or the module's Types. To add a method, write the function and add
// function<&f>("name") to the table of its type. To add a type of parameter, specialize `from`. To add a type of
// result, overload `to_python`.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>

#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace lite_rtse::python {

// Thrown where Python's exception is set already.
struct Raised {};

// An owned reference.
class Ref {
 public:
  Ref() = default;
  // Takes over a new reference. A null pointer is what functions of Python return if they raise an exception.
  explicit Ref(PyObject* taken) : object_(taken) {
    if (taken == nullptr) throw Raised();
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }

 private:
  PyObject* object_ = nullptr;
};

// Other threads run Python while this object exists.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() { PyEval_RestoreThread(state_); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Runs C++ code for Python. What it throws becomes Python's exception, and the result is then `failed`.
template <class F, class R>
R guarded(const F& work, R failed) noexcept {
  try {
    return work();
  } catch (const Raised&) {
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failed;
}

[[noreturn]] inline void wrong_type(const std::string& expected, PyObject* got) {
  const Ref name(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(got)), "__name__"));
  PyErr_Format(PyExc_TypeError, "expected %s, got %U", expected.c_str(), name.get());
  throw Raised();
}

// A dense float32 array.
class Floats {
 public:
  // A new array, whose values are unspecified.
  explicit Floats(std::initializer_list<npy_intp> shape)
      : object_(PyArray_SimpleNew(int(shape.size()), const_cast<npy_intp*>(shape.begin()), NPY_FLOAT32)) {}
  explicit Floats(PyObject* borrowed) {
    if (!PyArray_Check(borrowed)) wrong_type("a float32 array", borrowed);
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(borrowed);
    if (PyArray_TYPE(array) != NPY_FLOAT32 || !PyArray_ISCARRAY_RO(array))
      wrong_type("a dense float32 array", borrowed);
    Py_INCREF(borrowed);
    object_ = Ref(borrowed);
  }
  int dimensions() const { return PyArray_NDIM(array()); }
  npy_intp size(int dimension = 0) const { return PyArray_DIM(array(), dimension); }
  const float* data() const { return static_cast<const float*>(PyArray_DATA(array())); }
  float* mutable_data() { return static_cast<float*>(PyArray_DATA(array())); }
  PyObject* release() { return object_.release(); }
  // Leaves the first `count` rows of an array that nobody else has seen.
  void shorten(npy_intp count) {
    if (count == size()) return;
    std::vector<npy_intp> rows(PyArray_DIMS(array()), PyArray_DIMS(array()) + dimensions());
    rows[0] = count;
    PyArray_Dims shape = {rows.data(), dimensions()};
    Ref(PyArray_Resize(array(), &shape, 0, NPY_CORDER));
  }

 private:
  PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(object_.get()); }
  Ref object_;
};

// --- conversion
// -------------------------------------------------------------------------------------------------------

template <class T>
T from(PyObject* object);

template <>
inline PyObject* from(PyObject* object) {
  return object;
}
template <>
inline Floats from(PyObject* object) {
  return Floats(object);
}
template <>
inline float from(PyObject* object) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred()) throw Raised();
  return float(value);
}

template <>
inline int64_t from(PyObject* object) {
  const long long value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) throw Raised();
  return value;
}

inline PyObject* to_python(Ref value) { return value.release(); }
inline PyObject* to_python(Floats value) { return value.release(); }
inline PyObject* to_python(int64_t value) { return PyLong_FromLongLong(value); }
inline PyObject* to_python(double value) { return PyFloat_FromDouble(value); }
inline PyObject* to_python(bool value) { return PyBool_FromLong(value); }
inline PyObject* to_python(const std::string& value) {
  return PyUnicode_FromStringAndSize(value.data(), Py_ssize_t(value.size()));
}
template <class T>
PyObject* to_python(std::vector<T> values) {
  Ref list(PyList_New(Py_ssize_t(values.size())));
  for (size_t i = 0; i < values.size(); ++i)
    PyList_SetItem(list.get(), Py_ssize_t(i), Ref(to_python(std::move(values[i]))).release());
  return list.release();
}
template <class A, class B>
PyObject* to_python(const std::pair<A, B>& value) {
  const Ref first(to_python(value.first)), second(to_python(value.second));
  return PyTuple_Pack(2, first.get(), second.get());
}

// --- objects and functions
// --------------------------------------------------------------------------------------------

// A Python object that holds a C++ value.
template <class T>
struct Object {
  PyObject_HEAD T value;

  static T& of(PyObject* object) { return reinterpret_cast<Object*>(object)->value; }
  template <class... A>
  static PyObject* make(PyTypeObject* type, A&&... arguments) {
    PyObject* object = Ref(reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc))(type, 0)).release();
    try {
      new (&of(object)) T(std::forward<A>(arguments)...);
    } catch (...) {
      release(object);
      throw;
    }
    return object;
  }
  static void destroy(PyObject* object) {
    of(object).~T();
    release(object);
  }

 private:
  static void release(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);  // each object of a type that was made at run time holds a reference to it
  }
};

// What the module keeps between calls.
struct Types {
  PyTypeObject *network, *stream;
};

template <class S>
S& owner(PyObject* self) {
  return Object<S>::of(self);
}
template <>
inline Types& owner(PyObject* module) {
  return *static_cast<Types*>(PyModule_GetState(module));
}

template <class S, class R, class... A, size_t... I>
PyObject* apply(R (*f)(S&, A...), PyObject* self, PyObject* const* arguments, std::index_sequence<I...>) {
  if constexpr (std::is_void_v<R>) {
    f(owner<S>(self), from<std::decay_t<A>>(arguments[I])...);
    Py_RETURN_NONE;
  } else {
    return to_python(f(owner<S>(self), from<std::decay_t<A>>(arguments[I])...));
  }
}

template <class S, class R, class... A>
PyObject* apply(R (*f)(S&, A...), PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != Py_ssize_t(sizeof...(A))) {
    PyErr_Format(PyExc_TypeError, "expected %zu arguments, got %zd", sizeof...(A), count);
    throw Raised();
  }
  return apply(f, self, arguments, std::index_sequence_for<A...>());
}

// A row of a type's or the module's table of functions.
template <auto f>
PyMethodDef function(const char* name) {
  const auto call = [](PyObject* self, PyObject* const* arguments, Py_ssize_t count) noexcept {
    return guarded([&] { return apply(f, self, arguments, count); }, static_cast<PyObject*>(nullptr));
  };
  using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(static_cast<Fast>(call))), METH_FASTCALL,
          nullptr};
}

// A row of a type's table of attributes that can only be read.
template <auto f>
PyGetSetDef attribute(const char* name) {
  const getter read = [](PyObject* self, void*) noexcept {
    return guarded([&] { return apply(f, self, nullptr, Py_ssize_t(0)); }, static_cast<PyObject*>(nullptr));
  };
  return {name, read, nullptr, nullptr, nullptr};
}

// --- the module
// -------------------------------------------------------------------------------------------------------

inline void add(PyObject* module, const char* name, PyObject* value) {
  const Ref owned(value);
  if (PyModule_AddObjectRef(module, name, owned.get()) < 0) throw Raised();
}

// Adds a type whose objects hold a T. `make` is its constructor.
template <class T, PyObject* (*make)(PyTypeObject*, PyObject*, PyObject*)>
PyTypeObject* add_type(PyObject* module, const char* name, PyMethodDef* methods, PyGetSetDef* attributes) {
  const newfunc construct = [](PyTypeObject* type, PyObject* positional, PyObject* named) noexcept {
    return guarded([&] { return make(type, positional, named); }, static_cast<PyObject*>(nullptr));
  };
  PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(construct)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(&Object<T>::destroy)},
                         {Py_tp_methods, methods},
                         {Py_tp_getset, attributes},
                         {}};
  PyType_Spec spec = {name, int(sizeof(Object<T>)), 0, Py_TPFLAGS_DEFAULT, slots};
  Ref type(PyType_FromModuleAndSpec(module, &spec, nullptr));
  if (PyModule_AddType(module, reinterpret_cast<PyTypeObject*>(type.get())) < 0) throw Raised();
  return reinterpret_cast<PyTypeObject*>(type.release());
}

inline int visit_types(PyObject* module, visitproc visit, void* arg) {
  Py_VISIT(owner<Types>(module).network);
  Py_VISIT(owner<Types>(module).stream);
  return 0;
}

inline int clear_types(PyObject* module) {
  Py_CLEAR(owner<Types>(module).network);
  Py_CLEAR(owner<Types>(module).stream);
  return 0;
}

inline void free_types(void* module) { clear_types(static_cast<PyObject*>(module)); }

}  // namespace lite_rtse::python
