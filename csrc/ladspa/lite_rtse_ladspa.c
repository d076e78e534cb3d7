/* A LADSPA plugin on the C library: lite_rtse_mono, noise suppression for speech, at any sample rate.
 *
 * The weights are read when a host makes an instance. The environment variable LITE_RTSE_WEIGHTS names another file. */
#include <ladspa.h>
#include <lite_rtse.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Hosts know ports by their numbers, so a new one comes last. */
enum { INPUT, OUTPUT, LIMIT, WET, LATENCY, EXTRA, PORTS };

#define NO_LIMIT_DB 100
#define NO_MIN_GAIN_DB 40

typedef struct {
  lite_rtse_stream* stream;
  LADSPA_Data* ports[PORTS];
} Plugin;

static const LADSPA_PortDescriptor descriptors[PORTS] = {
    LADSPA_PORT_INPUT | LADSPA_PORT_AUDIO,    LADSPA_PORT_OUTPUT | LADSPA_PORT_AUDIO,
    LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL,  LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL,
    LADSPA_PORT_OUTPUT | LADSPA_PORT_CONTROL, LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL};
/* Hosts know the output port of the delay by the name "latency". */
static const char* const names[PORTS] = {"Input", "Output",  "Attenuation limit (dB)",
                                         "Wet",   "latency", "Extra reduction (dB)"};
static const LADSPA_PortRangeHint hints[PORTS] = {
    {0, 0, 0},
    {0, 0, 0},
    {LADSPA_HINT_BOUNDED_BELOW | LADSPA_HINT_BOUNDED_ABOVE | LADSPA_HINT_DEFAULT_MAXIMUM, 0, NO_LIMIT_DB},
    {LADSPA_HINT_BOUNDED_BELOW | LADSPA_HINT_BOUNDED_ABOVE | LADSPA_HINT_DEFAULT_1, 0, 1},
    {0, 0, 0},
    {LADSPA_HINT_BOUNDED_BELOW | LADSPA_HINT_BOUNDED_ABOVE | LADSPA_HINT_DEFAULT_0, 0, NO_MIN_GAIN_DB}};

static lite_rtse_stream* make_stream(int32_t rate_hz) {
  const char* named = getenv("LITE_RTSE_WEIGHTS");
  const char* path = named ? named : LITE_RTSE_DEFAULT_WEIGHTS;
  lite_rtse_network* network;
  lite_rtse_stream* stream;
  char message[300];
  lite_rtse_status status;
  if (lite_rtse_network_load(path, LITE_RTSE_FLOAT32, &network, message, sizeof message)) {
    fprintf(stderr, "lite_rtse_mono: %s: %s\n", path, message);
    return NULL;
  }
  status = lite_rtse_stream_create_at(network, LITE_RTSE_LIVE, 1, rate_hz, 1, &stream);
  lite_rtse_network_destroy(network);
  if (status) {
    fprintf(stderr, "lite_rtse_mono: %s\n", lite_rtse_status_text(status));
    return NULL;
  }
  if ((status = lite_rtse_stream_set_extra_reduction(stream, NO_MIN_GAIN_DB)))
    fprintf(stderr, "lite_rtse_mono: %s: %s, so \"%s\" has no effect\n", path, lite_rtse_status_text(status),
            names[EXTRA]);
  lite_rtse_stream_set_extra_reduction(stream, 0);
  return stream;
}

static LADSPA_Handle instantiate(const LADSPA_Descriptor* descriptor, unsigned long rate) {
  Plugin* plugin;
  (void)descriptor;
  if (rate < LITE_RTSE_LEAST_RATE_HZ || rate > LITE_RTSE_MOST_RATE_HZ) {
    fprintf(stderr, "lite_rtse_mono: expected a host at %d to %d Hz, got %lu Hz\n", LITE_RTSE_LEAST_RATE_HZ,
            LITE_RTSE_MOST_RATE_HZ, rate);
    return NULL;
  }
  plugin = calloc(1, sizeof *plugin);
  if (plugin && !(plugin->stream = make_stream((int32_t)rate))) {
    free(plugin);
    return NULL;
  }
  return plugin;
}

static void connect_port(LADSPA_Handle handle, unsigned long port, LADSPA_Data* data) {
  if (port < PORTS) ((Plugin*)handle)->ports[port] = data;
}

static void activate(LADSPA_Handle handle) { lite_rtse_stream_reset(((Plugin*)handle)->stream); }

/* A value outside the range of its port is brought into it. A NaN leaves the setting as it was. */
static void apply_settings(const Plugin* plugin) {
  const LADSPA_Data *limit = plugin->ports[LIMIT], *wet = plugin->ports[WET], *extra = plugin->ports[EXTRA];
  if (limit && !isnan(*limit))
    lite_rtse_stream_set_attenuation_limit(plugin->stream, *limit < NO_LIMIT_DB ? fmax(*limit, 0) : INFINITY);
  if (wet && !isnan(*wet)) lite_rtse_stream_set_wet(plugin->stream, fmin(fmax(*wet, 0), 1));
  if (extra && !isnan(*extra))
    lite_rtse_stream_set_extra_reduction(plugin->stream, *extra < NO_MIN_GAIN_DB ? fmax(*extra, 0) : INFINITY);
}

static void run(LADSPA_Handle handle, unsigned long count) {
  Plugin* plugin = handle;
  const LADSPA_Data* in = plugin->ports[INPUT];
  LADSPA_Data* out = plugin->ports[OUTPUT];
  size_t latency, written;
  apply_settings(plugin);
  if (plugin->ports[LATENCY] && !lite_rtse_stream_latency(plugin->stream, &latency))
    *plugin->ports[LATENCY] = (LADSPA_Data)latency;
  if (out && lite_rtse_stream_process(plugin->stream, in, count, out, count, &written))
    memset(out, 0, count * sizeof *out);
}

static void cleanup(LADSPA_Handle handle) {
  lite_rtse_stream_destroy(((Plugin*)handle)->stream);
  free(handle);
}

static const LADSPA_Descriptor descriptor = {
    .UniqueID = 642, /* not registered: hosts find the plugin by its file and label */
    .Label = "lite_rtse_mono",
    .Properties = LADSPA_PROPERTY_HARD_RT_CAPABLE,
    .Name = "Lite-RTSE speech enhancement, mono",
    .Maker = "The lite-rtse-ext authors",
    .Copyright = "MIT",
    .PortCount = PORTS,
    .PortDescriptors = descriptors,
    .PortNames = names,
    .PortRangeHints = hints,
    .instantiate = instantiate,
    .connect_port = connect_port,
    .activate = activate,
    .run = run,
    .cleanup = cleanup,
};

__attribute__((visibility("default"))) const LADSPA_Descriptor* ladspa_descriptor(unsigned long index) {
  return index == 0 ? &descriptor : NULL;
}
