#include "jpeg_errors.hpp"

namespace brigade::dataset {

jpeg_error_mgr* JpegErrors::manager() {
  jpeg_std_error(&base);
  base.error_exit = fail;
  message.fill('\0');
  return &base;
}

void fail(j_common_ptr jpeg) {
  JpegErrors& errors = errors_of(jpeg);
  (*jpeg->err->format_message)(jpeg, errors.message.data());
  std::longjmp(errors.escape, 1);
}

}  // namespace brigade::dataset
