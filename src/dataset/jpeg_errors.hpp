// libjpeg's errors, for decoding and encoding.
#pragma once

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h needs size_t and FILE.
#include <jpeglib.h>

namespace brigade::dataset {

// libjpeg reports an error by a callback that must not return: it jumps to `escape`. The function that calls setjmp
// there must own nothing that needs destroying.
struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg knows the object by this address
  std::jmp_buf escape;
  std::array<char, JMSG_LENGTH_MAX> message;  // why, for the one who called setjmp

  // For `jpeg.err`; the object must stay where it is.
  jpeg_error_mgr* manager();
};

inline JpegErrors& errors_of(j_common_ptr jpeg) { return *reinterpret_cast<JpegErrors*>(jpeg->err); }

// Formats libjpeg's current message and jumps.
[[noreturn]] void fail(j_common_ptr jpeg);

}  // namespace brigade::dataset
