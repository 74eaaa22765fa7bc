// What tests of whole runs on several ranks share: the ranks, small datasets, options, and how runs are compared.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/manifest.hpp"
#include "brigade/training/checkpoint.hpp"
#include "brigade/training/trainer.hpp"

namespace brigade::training {
namespace fs = std::filesystem;

extern communication::Communicator* world;
extern ops::Backend* backend;
extern fs::path scratch;  // shared by the ranks

// Collective: 203 training and 101 test images of 10 classes that a small network learns in a few steps.
fs::path make_dataset(const std::string& name, const dataset::ImageShape& image);
const fs::path& dataset_directory();  // of 28x28 grey images; the first call is collective

// Two epochs of 8 steps of lenet5, with several buckets a step and several segments a bucket.
TrainOptions options_for(const std::string& run);
// A run by this rank alone, in a directory of its own.
TrainResult train_alone(TrainOptions options);
fs::path run_alone(const fs::path& run);  // that directory

// Of steps-00000.csv, or of the log of another rank.
std::vector<double> column(const fs::path& run, const std::string& name, int rank = 0);
std::vector<double> losses(const fs::path& run);

void expect_same_bits(const Model& a, const Model& b);
// |x - y| / |y| over all arrays, Euclidean.
double relative_distance(const std::vector<NamedArray>& x, const std::vector<NamedArray>& y);

}  // namespace brigade::training
