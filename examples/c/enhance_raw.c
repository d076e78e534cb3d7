/* Enhances raw samples: 16 kHz, mono, 32-bit float. enhance_raw WEIGHTS < noisy.f32 > enhanced.f32 */
#include <lite_rtse.h>
#include <stdio.h>

enum { BLOCK = 1024 };

static int fail(const char* what) {
  fprintf(stderr, "enhance_raw: %s\n", what);
  return 1;
}

int main(int argc, char** argv) {
  float in[BLOCK], out[BLOCK + LITE_RTSE_MOST_FLUSHED];
  char message[300];
  lite_rtse_network* network;
  lite_rtse_stream* stream;
  lite_rtse_status status;
  size_t count, written;

  if (argc != 2) return fail("expected the path of the weights as the only argument");
  if (lite_rtse_network_load(argv[1], LITE_RTSE_FLOAT32, &network, message, sizeof message)) return fail(message);
  status = lite_rtse_stream_create(network, LITE_RTSE_ALIGNED, 1, &stream);
  lite_rtse_network_destroy(network);
  if (status) return fail(lite_rtse_status_text(status));
  while ((count = fread(in, sizeof *in, BLOCK, stdin)) > 0) {
    status = lite_rtse_stream_process(stream, in, count, out, sizeof out / sizeof *out, &written);
    if (status) return fail(lite_rtse_status_text(status));
    if (fwrite(out, sizeof *out, written, stdout) != written) return fail("can't write to the output");
  }
  if (ferror(stdin)) return fail("can't read the input");
  status = lite_rtse_stream_flush(stream, out, sizeof out / sizeof *out, &written);
  if (status) return fail(lite_rtse_status_text(status));
  if (fwrite(out, sizeof *out, written, stdout) != written || fflush(stdout)) return fail("can't write to the output");
  lite_rtse_stream_destroy(stream);
  return 0;
}
