"""The C library through Python's ctypes: enhance_raw.py LIBRARY WEIGHTS < noisy.f32 > enhanced.f32"""

import sys
from array import array
from ctypes import CDLL, POINTER, byref, c_char_p, c_double, c_float, c_int32, c_size_t, c_void_p, create_string_buffer

ALIGNED, FLOAT32, MOST_FLUSHED = 0, 0, 512

lib = CDLL(sys.argv[1])
lib.lite_rtse_status_text.restype = c_char_p
lib.lite_rtse_network_load.argtypes = [c_char_p, c_int32, POINTER(c_void_p), c_char_p, c_size_t]
lib.lite_rtse_network_destroy.argtypes = [c_void_p]
lib.lite_rtse_stream_create.argtypes = [c_void_p, c_int32, c_int32, POINTER(c_void_p)]
lib.lite_rtse_stream_destroy.argtypes = [c_void_p]
lib.lite_rtse_stream_set_attenuation_limit.argtypes = [c_void_p, c_double]
samples = POINTER(c_float)
lib.lite_rtse_stream_process.argtypes = [c_void_p, samples, c_size_t, samples, c_size_t, POINTER(c_size_t)]
lib.lite_rtse_stream_flush.argtypes = [c_void_p, samples, c_size_t, POINTER(c_size_t)]


def check(status: int) -> None:
    if status:
        raise RuntimeError(lib.lite_rtse_status_text(status).decode())


network, stream, written, message = c_void_p(), c_void_p(), c_size_t(), create_string_buffer(300)
if lib.lite_rtse_network_load(sys.argv[2].encode(), FLOAT32, byref(network), message, len(message)):
    sys.exit(message.value.decode())
check(lib.lite_rtse_stream_create(network, ALIGNED, 1, byref(stream)))
lib.lite_rtse_network_destroy(network)
check(lib.lite_rtse_stream_set_attenuation_limit(stream, 24.0))

noisy = array("f", sys.stdin.buffer.read())
into = (c_float * (len(noisy) + 256))()
check(
    lib.lite_rtse_stream_process(
        stream, (c_float * len(noisy)).from_buffer(noisy), len(noisy), into, len(into), byref(written)
    )
)
sys.stdout.buffer.write(bytes(into)[: 4 * written.value])
rest = (c_float * MOST_FLUSHED)()
check(lib.lite_rtse_stream_flush(stream, rest, len(rest), byref(written)))
sys.stdout.buffer.write(bytes(rest)[: 4 * written.value])
lib.lite_rtse_stream_destroy(stream)
