/* Stands in for libnvidia-ml.so.1: eight GPUs with known numbers; the last one has a MIG instance.
   GPU 1 has no power, no NVLink, no monitors of its SMs; GPU 4 has no ECC; GPU 6 lacks single fields of what it has.
   STAND_IN_HANGS=1: the call for the temperature never returns. STAND_IN_PID: a process that uses GPU 5.
   STAND_IN_MEMORY=unknown: its memory is not told. STAND_IN_FAILS_ONCE=NAME: the second call of that one fails.
   With -DOLD_DRIVER it has functions that newer drivers have replaced; else it has their replacements. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10, OTHER_VERSION = 25,
    COUNT = 8, MIG = 100
};
typedef struct { unsigned gpu, memory; } Use;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned version; unsigned sensor; int celsius; } Temperature;
typedef union { double real; unsigned long long whole; } Value;
typedef struct { unsigned field, scope; long long at, took; unsigned kind, code; Value value; } Field;
typedef struct { unsigned version, is_supported; } Support;
typedef struct { intptr_t device; double at_s; } Sample;
typedef struct { unsigned id, code; double value; const char *names[3]; } Metric;
typedef struct { unsigned version, count; Sample *before, *after; Metric metrics[]; } Metrics;

static intptr_t number(void *device) { return (intptr_t)device - 1; }
static void *device_of(intptr_t number) { return (void *)(number + 1); }
static int fails_now(const char *name) {
    static int calls;
    const char *wanted = getenv("STAND_IN_FAILS_ONCE");
    return wanted && !strcmp(wanted, name) && ++calls == 2;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "the stand-in says no"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = device_of(index); return OK; }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    (void)length;
    strcpy(uuid, "GPU-000-abc");
    uuid[4] = (char)('0' + number(device));
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strcmp(uuid, "MIG-one")) return NOT_FOUND;
    *device = device_of(MIG);
    return OK;
}
int nvmlDeviceGetIndex(void *device, unsigned *index) { *index = (unsigned)number(device); return OK; }
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *mig, void **device) { (void)mig; *device = device_of(7); return OK; }
int nvmlDeviceGetGpuInstanceId(void *device, unsigned *id) { (void)device; *id = 3; return OK; }
#ifdef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, Process *found) {
#else
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found) {
#endif
    const char *pid = getenv("STAND_IN_PID");
    if (!pid || number(device) != 5) { *count = 0; return OK; }
    if (!found) { *count = 2; return TOO_SMALL; }
    found[0] = (Process){(unsigned)atoi(pid), getenv("STAND_IN_MEMORY") ? ~0ULL : 123000000ULL, 0, 0};
    found[1] = (Process){1, 456000000ULL, 0, 0};
    *count = 2;
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *device, Use *use) {
    if (number(device) == MIG) return NOT_SUPPORTED;
    use->gpu = 10 + (unsigned)number(device);
    use->memory = 5;
    return OK;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = 80000000000ULL;
    memory->used = 1000000000ULL * (unsigned long long)(number(device) + 1);
    memory->free = memory->total - memory->used;
    return OK;
}
#ifdef OLD_DRIVER
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    (void)device; (void)sensor;
    *celsius = 39;
    return OK;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    (void)device;
    *reasons = 1;
    return OK;
}
#else
int nvmlDeviceGetTemperatureV(void *device, Temperature *found) {
    (void)device;
    if (found->version != (sizeof *found | 1 << 24)) return OTHER_VERSION;
    while (getenv("STAND_IN_HANGS")) pause();
    found->celsius = 41;
    return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    (void)device;
    *reasons = 0x4 | 0x20; /* power, and temperature */
    return OK;
}
#endif
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    if (number(device) == 1) return NOT_SUPPORTED;
    if (fails_now("power")) return TIMEOUT;
    *milliwatts = 250500;
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) {
    *milliwatts = 700000;
    return number(device) == 1 ? NOT_SUPPORTED : OK;
}
int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *mhz) { (void)device; *mhz = kind == 1 ? 1410 : 2619; return OK; }
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int since, unsigned long long *count) {
    *count = kind == 1 && since == 0 ? 2 : 999; /* uncorrected, since the driver began */
    return number(device) == 4 ? NOT_SUPPORTED : OK;
}
int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kib) {
    *kib = counter ? 20 : 10;
    return number(device) == 6 && !counter ? NOT_SUPPORTED : OK;
}

/* NVLink counts KiB: each call finds 1000 more sent and 3000 more received; at the fourth call the counter starts again. */
int nvmlDeviceGetFieldValues(void *device, int count, Field *fields) {
    static unsigned long long looks[COUNT];
    unsigned long long look = looks[number(device)]++;
    if (fails_now("NVLink")) return TIMEOUT;
    for (int i = 0; i < count; i++) {
        Field *each = fields + i;
        int is_sent = each->field == 138, is_received = each->field == 139;
        each->kind = 3;
        each->code = !is_sent && !is_received ? INVALID : each->scope != ~0u ? INVALID : OK;
        if (number(device) == 1 || (number(device) == 6 && is_received)) each->code = NOT_SUPPORTED;
        each->value.whole = (look < 3 ? 1000000 + look : look) * (is_sent ? 1000 : 3000);
    }
    return OK;
}

/* The monitors of SMs: a number belongs to two samples of one GPU that are more than 100 ms apart, else it is 0. */
static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
int nvmlGpmQueryDeviceSupport(void *device, Support *support) {
    if (support->version != 1) return OTHER_VERSION;
    support->is_supported = number(device) != 1;
    return OK;
}
int nvmlGpmSampleAlloc(Sample **sample) { *sample = calloc(1, sizeof **sample); return OK; }
int nvmlGpmSampleFree(Sample *sample) {
    memset(sample, 0xff, sizeof *sample); /* so that its numbers are wrong if it is used again */
    free(sample);
    return OK;
}
int nvmlGpmSampleGet(void *device, Sample *sample) {
    if (fails_now("SM activity")) return TIMEOUT;
    *sample = (Sample){(intptr_t)device, now_s()};
    return OK;
}
int nvmlGpmMetricsGet(Metrics *found) {
    if (found->version != 1) return OTHER_VERSION;
    if (!found->before || !found->after || found->before->device != found->after->device) return INVALID;
    double apart_s = found->after->at_s - found->before->at_s;
    for (unsigned i = 0; i < found->count; i++) {
        Metric *each = found->metrics + i;
        each->code = each->id == 5 && found->after->device == (intptr_t)device_of(6) ? NOT_SUPPORTED : OK;
        each->value = each->id == 2 ? 61.25 : each->id == 3 ? 33.5 : each->id == 5 ? 12.5 : -1.0;
        if (!(apart_s > 0.1)) each->value = 0.0;
    }
    return OK;
}
