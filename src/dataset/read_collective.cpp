// Reader `collective`: all ranks of the job call H5Dread together, through MPI-IO, so that few of them (the
// aggregators) read large pieces from storage and pass them on.
//
// A batch is one call for each shard, in order; a rank that wants nothing of it takes part with an empty selection.
// HDF5 gets the communicator as an integer handle: only here, where HDF5's own header knows MPI, it is a communicator.
#include <algorithm>
#include <array>
#include <exception>

#include "hdf5.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {

#ifdef H5_HAVE_PARALLEL
namespace {

Hdf5Properties access_through(const MpiHandles& mpi) {
  Hdf5Properties access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "cannot prepare parallel access"));
  check_hdf5(H5Pset_fapl_mpio(access, MPI_Comm_f2c(mpi.communicator), MPI_Info_f2c(mpi.info)),
             "cannot prepare parallel access");
  return access;
}

// The shards, once more: for labels and names through POSIX, for samples through MPI-IO.
class ParallelShards {
 public:
  ParallelShards(std::vector<ShardFile> files, const std::map<std::string, std::string>& hints, Team& job)
      : files_(std::move(files)), job_(job), mpi_(job.mpi(hints)) {
    require<OptionError>(mpi_ != nullptr, "reader `collective` needs MPI. Start Brigade by mpirun or srun?");
    const auto lock = lock_hdf5();
    silence_hdf5();
    const auto access = access_through(*mpi_);
    transfer_ = Hdf5Properties(check_hdf5(H5Pcreate(H5P_DATASET_XFER), "cannot prepare collective reads"));
    check_hdf5(H5Pset_dxpl_mpio(transfer_, H5FD_MPIO_COLLECTIVE), "cannot prepare collective reads");
    for (const auto& file : files_) {
      const auto& shard =
          shards_.emplace_back(check_hdf5(H5Fopen(file.path().c_str(), H5F_ACC_RDONLY, access),
                                          "shard {} cannot be opened by all ranks together", file.path().string()));
      const char* name = file.header().layout == Layout::raw ? "images" : "encoded";
      const auto& images = images_.emplace_back(
          check_hdf5(H5Dopen2(shard, name, H5P_DEFAULT), "shard {} holds no /{}", file.path().string(), name));
      spaces_.emplace_back(check_hdf5(H5Dget_space(images), "shard {}: /{} has no shape", file.path().string(), name));
    }
  }
  // Closing waits for all ranks: not while an error unwinds this one alone. MPI_Finalize closes what is left.
  ~ParallelShards() {
    if (std::uncaught_exceptions() == 0) {
      const auto call = job_.watch_call("closing the shards");
      images_.clear();
      shards_.clear();
    } else {
      new std::vector<Hdf5File>(std::move(shards_));     // NOLINT: leaked
      new std::vector<Hdf5Dataset>(std::move(images_));  // NOLINT: leaked
    }
  }
  ParallelShards(const ParallelShards&) = delete;
  ParallelShards& operator=(const ParallelShards&) = delete;

  const std::vector<ShardFile>& files() const { return files_; }
  Team& job() const { return job_; }

  // Rows `rows` (rising; maybe none) of a shard to `target`, one after another. All ranks call it.
  void read(std::size_t shard, std::span<const std::int64_t> rows, std::byte* target, CollectiveReads& count) {
    const auto lock = lock_hdf5();
    const ShardFile& file = files_[shard];
    const bool raw = file.header().layout == Layout::raw;
    const Hdf5Space& space = spaces_[shard];
    hsize_t bytes = 0;
    check_hdf5(H5Sselect_none(space), "cannot select samples");
    for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      for (end = begin + 1; end < rows.size() && rows[end] == rows[end - 1] + 1;) ++end;
      bytes += select(file, raw, space, rows[begin], static_cast<std::int64_t>(end - begin));
    }
    const hsize_t extent = std::max<hsize_t>(bytes, 1);
    const Hdf5Space memory(check_hdf5(H5Screate_simple(1, &extent, nullptr), "cannot shape a batch"));
    if (bytes == 0) check_hdf5(H5Sselect_none(memory), "cannot select samples");
    std::byte nothing{};
    ++count.calls;
    check_hdf5(H5Dread(images_[shard], H5T_NATIVE_UINT8, memory, space, transfer_, bytes == 0 ? &nothing : target),
               "shard {}: {} samples cannot be read. Is the file damaged?", file.path().string(), rows.size());
    H5D_mpio_actual_io_mode_t mode = H5D_MPIO_NO_COLLECTIVE;
    check_hdf5(H5Pget_mpio_actual_io_mode(transfer_, &mode), "HDF5 does not say how it read");
    count.collective += mode == H5D_MPIO_NO_COLLECTIVE ? 0 : 1;
  }

 private:
  static hsize_t select(const ShardFile& file, bool raw, hid_t space, std::int64_t first, std::int64_t rows) {
    const auto& image = file.header().image;
    const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
    std::array start{extent(first), hsize_t{0}, hsize_t{0}, hsize_t{0}};
    std::array count{extent(rows), extent(image.height), extent(image.width), extent(image.channels)};
    hsize_t bytes = extent(rows * image.size());
    if (!raw) {
      start[0] = file.sample_offset(first) - file.images_place().offset;
      bytes = count[0] =
          file.sample_offset(first + rows - 1) + file.sample_bytes(first + rows - 1) - file.sample_offset(first);
    }
    check_hdf5(H5Sselect_hyperslab(space, H5S_SELECT_OR, start.data(), nullptr, count.data(), nullptr),
               "cannot select samples of {}", file.file_name());
    return bytes;
  }

  std::vector<ShardFile> files_;
  Team& job_;
  std::unique_ptr<MpiHandles> mpi_;
  Hdf5Properties transfer_;
  std::vector<Hdf5File> shards_;
  std::vector<Hdf5Dataset> images_;
  std::vector<Hdf5Space> spaces_;
};

class CollectiveReader final : public ShardReader {
 public:
  CollectiveReader(std::shared_ptr<ParallelShards> shards, std::shared_ptr<SplitIndex> index)
      : ShardReader(std::move(index)), shards_(std::move(shards)) {}
  bool collective() const override { return true; }
  CollectiveReads collective_reads() const override { return count_; }

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    Team& job = shards_->job();
    const std::string what = fmt::format("reading batch {} together", ++batches_);
    job.barrier(what);  // names who does not come; what follows, who stays in it
    collectively(job, what, [&] {
      const auto call = job.watch_call(what);
      std::exception_ptr failure;  // this rank takes part to the end
      try {
        in_file_order(indices, stored, places_, order_);
      } catch (const Error&) {
        failure = std::current_exception();
        order_.clear();
      }
      std::byte* target = stored.memory.data();
      for (std::size_t shard = 0, next = 0; shard < shards_->files().size(); ++shard) try {
          target = read_shard(shard, next, target, stored);
        } catch (const Error&) {
          if (!failure) failure = std::current_exception();
        }
      if (failure) std::rethrow_exception(failure);
    });
  }

 private:
  // Samples order_[next ...] as far as they are in this shard. A sample that is wanted twice is read once.
  std::byte* read_shard(std::size_t number, std::size_t& next, std::byte* target, StoredSamples& stored) {
    rows_.clear();
    std::byte* end = target;
    for (; next < order_.size() && places_[order_[next]].shard == number; ++next) {
      const std::size_t i = order_[next];
      const std::int64_t row = places_[i].row;
      const auto bytes = shard(number).sample_bytes(row);
      if (rows_.empty() || rows_.back() != row) {
        rows_.push_back(row);
        end += bytes;
      }
      stored.bytes[i] = {end - bytes, bytes};
      stored.labels[i] = shard(number).labels()[static_cast<std::size_t>(row)];
    }
    shards_->read(number, rows_, target, count_);
    return end;
  }

  const ShardFile& shard(std::size_t shard) const override { return shards_->files()[shard]; }
  std::string name_of(Location place) const override { return shard(place.shard).read_name(place.row); }

  std::shared_ptr<ParallelShards> shards_;
  std::vector<Location> places_;
  std::vector<std::size_t> order_;
  std::vector<std::int64_t> rows_;
  std::int64_t batches_ = 0;  // so far
  CollectiveReads count_;
};

}  // namespace

ReaderMaker read_collectively(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                              const std::map<std::string, std::string>& hints, Team& job) {
  std::shared_ptr<ParallelShards> shards;
  // HDF5 itself speaks to the other ranks in here; they all open the same files in the same order.
  const char* what = "opening the shards for collective reads";
  job.barrier(what);
  collectively(job, what, [&] {
    const auto call = job.watch_call(what);
    shards = std::make_shared<ParallelShards>(std::move(files), hints, job);
  });
  return [shards, index = std::move(index)] { return std::make_unique<CollectiveReader>(shards, index); };
}

#else

ReaderMaker read_collectively(std::vector<ShardFile>, std::shared_ptr<SplitIndex>,
                              const std::map<std::string, std::string>&, Team& job) {
  collectively(job, "opening the shards for collective reads", [] {
    throw NotCompiled("this build's HDF5 has no MPI, which reader `collective` needs. Use --reader independent?");
  });
  return {};
}

#endif

}  // namespace brigade::dataset
