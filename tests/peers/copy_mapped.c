/* Copies samples from memory maps of files, each once, in random order, into one batch after another: what reading raw
 * shards can cost at best without being told what comes next.
 *
 *   copy_mapped SAMPLE_BYTES BATCH FILE OFFSET SAMPLES [FILE OFFSET SAMPLES ...]
 *
 * Prints samples per second, the first time, with maps as a program has them that has just started, and when all are
 * copied again three times. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 6 || argc % 3 != 0) return 2;
  const size_t bytes = strtoull(argv[1], NULL, 10), batch = strtoull(argv[2], NULL, 10);
  size_t samples = 0, known = 0;
  for (int i = 3; i < argc; i += 3) samples += strtoull(argv[i + 2], NULL, 10);
  const char** places = malloc(samples * sizeof *places);
  char* copy = malloc(batch * bytes);
  memset(copy, 0, batch * bytes);
  for (int i = 3; i < argc; i += 3) {
    const int file = open(argv[i], O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) return 3;
    const char* map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
    const size_t offset = strtoull(argv[i + 1], NULL, 10), count = strtoull(argv[i + 2], NULL, 10);
    if (map == MAP_FAILED || offset + count * bytes > (size_t)status.st_size) return 3;
    madvise((void*)map, (size_t)status.st_size, MADV_RANDOM);
    for (size_t k = 0; k < count; ++k) places[known++] = map + offset + k * bytes;
  }
  uint64_t state = 88172645463325252ULL; /* xorshift64, Marsaglia 2003 */
  for (size_t i = samples - 1; i > 0; --i) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const size_t j = state % (i + 1);
    const char* other = places[i];
    places[i] = places[j];
    places[j] = other;
  }
  double seconds[2] = {0, 0};
  uint64_t sum = 0;
  for (int pass = 0; pass < 4; ++pass) {
    const double start = now();
    for (size_t i = 0; i < samples; ++i) {
      memcpy(copy + i % batch * bytes, places[i], bytes);
      sum += (unsigned char)copy[i % batch * bytes];
    }
    seconds[pass > 0] += now() - start;
  }
  fprintf(stderr, "sum of first bytes %llu\n", (unsigned long long)sum);
  printf("%.1f %.1f\n", (double)samples / seconds[0], (double)(3 * samples) / seconds[1]);
  return 0;
}
