/* Bare libjpeg-turbo, for compare_decode.py: decodes a file of JPEGs (each behind its length, 4 bytes) to RGB once, one
   after another in one thread, and prints the seconds that took. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
/* jpeglib.h needs size_t and FILE. */
#include <jpeglib.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void decode(const unsigned char* file, unsigned long bytes, unsigned char* pixels) {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, file, bytes);
  jpeg_read_header(&jpeg, TRUE);
  jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    unsigned char* row = pixels + (size_t)3 * jpeg.output_width * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
}

int main(int count, char** arguments) {
  enum { kMostFiles = 65536, kMostPixels = 1 << 24 };
  static unsigned char* files[kMostFiles];
  static unsigned lengths[kMostFiles];
  int found = 0;
  FILE* input = count == 2 ? fopen(arguments[1], "rb") : NULL;
  if (input == NULL) return 2;
  while (found < kMostFiles && fread(&lengths[found], 4, 1, input) == 1) {
    files[found] = malloc(lengths[found]);
    if (fread(files[found], 1, lengths[found], input) != lengths[found]) return 3;
    ++found;
  }
  unsigned char* pixels = malloc(3 * (size_t)kMostPixels);
  decode(files[0], lengths[0], pixels); /* memory is there from now on */
  const double begin = now();
  for (int i = 0; i < found; ++i) decode(files[i], lengths[i], pixels);
  printf("%.9f\n", now() - begin);
  return 0;
}
