#include "page_cache.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

namespace fs = std::filesystem;

class PageCache : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"a", "b", "empty"}) {
      files_.push_back(fs::path(::testing::TempDir()) / (std::string("page_cache_") + name));
      std::ofstream(files_.back()) << std::string(name == std::string("empty") ? 0 : 300000, 'x');
    }
  }
  void TearDown() override {
    for (const auto& file : files_) fs::remove(file);
  }
  std::vector<fs::path> files_;
};

TEST_F(PageCache, WhatWasReadIsThere) {
  fill_page_cache(files_);
  EXPECT_EQ(resident_share(files_), 1);
  drop_page_cache(files_);
  const double dropped = resident_share(files_);  // some file systems live in memory, where nothing can be dropped
  EXPECT_TRUE(dropped == 0 || dropped == 1) << dropped;
  fill_page_cache(std::span(files_).first(1));
  EXPECT_NEAR(resident_share(files_), dropped == 0 ? 0.5 : 1, 0.01);
}

TEST_F(PageCache, AMissingFileIsNamed) {
  files_.emplace_back("/nowhere/at/all");
  EXPECT_THROW(resident_share(files_), DataError);
  EXPECT_THROW(drop_page_cache(files_), DataError);
  EXPECT_THROW(fill_page_cache(files_), DataError);
  files_.pop_back();
}

}  // namespace
}  // namespace brigade::benchmarks
