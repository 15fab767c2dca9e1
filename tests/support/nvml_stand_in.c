/* Stands in for libnvidia-ml.so.1: eight GPUs of known numbers, of which the last one has a MIG instance.
   STAND_IN_HANGS=1: the call for the temperature never returns. STAND_IN_PID: a process that uses GPU 5. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, COUNT = 8, MIG = 100 };
typedef struct { unsigned gpu, memory; } Use;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

static intptr_t number(void *device) { return (intptr_t)device - 1; }
static void *device_of(intptr_t number) { return (void *)(number + 1); }

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
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found) {
    const char *pid = getenv("STAND_IN_PID");
    if (!pid || number(device) != 5) { *count = 0; return OK; }
    if (!found) { *count = 2; return TOO_SMALL; }
    found[0] = (Process){(unsigned)atoi(pid), 123000000ULL, 0, 0};
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
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    (void)device; (void)sensor;
    while (getenv("STAND_IN_HANGS")) pause();
    *celsius = 41;
    return OK;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    if (number(device) == 1) return NOT_SUPPORTED;
    *milliwatts = 250500;
    return OK;
}
int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *mhz) { (void)device; *mhz = kind == 1 ? 1410 : 2619; return OK; }
int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kib) { (void)device; *kib = counter ? 20 : 10; return OK; }
