// SPDX-License-Identifier: Apache-2.0
// Every thread has primitives of its own, so that none needs a lock; oneDNN shares the generated
// code between equal ones. The scratchpad is the caller's: the library's own belongs to the thread
// that made the primitive.
#include "kernels/cpu/product_primitive.h"

#include <dnnl.hpp>

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernels/core/error.h"

// OpenMP's own, of the runtime that oneDNN uses: GCC's omp.h is not for other compilers.
extern "C" void omp_set_num_threads(int num_threads);

namespace halfpipe::cpu {
namespace {

using dnnl::memory;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::desc matrix(
    std::int64_t rows, std::int64_t columns, std::int64_t stride, bool transposed, DType dtype) {
  const auto type = dtype == DType::kBFloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  return {{rows, columns}, type, transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

/// oneDNN 3 takes the operands where 2 takes a descriptor of the operation.
template <typename Matmul>
typename Matmul::primitive_desc describe(const memory::desc& a,
                                         const memory::desc& b,
                                         const memory::desc& c,
                                         const dnnl::primitive_attr& attributes) {
  using Description = typename Matmul::primitive_desc;
  if constexpr (std::is_constructible_v<Description, dnnl::engine, memory::desc, memory::desc,
                                        memory::desc, dnnl::primitive_attr>) {
    return Description(cpu_engine(), a, b, c, attributes);
  } else {
    return Description(typename Matmul::desc(a, b, c), attributes, cpu_engine());
  }
}

dnnl::matmul::primitive_desc describe(const TileProduct& p) {
  omp_set_num_threads(1);  // of this thread alone; oneDNN asks OpenMP how many to use
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum();
    attributes.set_post_ops(sum);
  }
  return describe<dnnl::matmul>(matrix(p.M, p.K, p.a_stride, p.transpose_a, p.dtype),
                                matrix(p.K, p.N, p.b_stride, p.transpose_b, p.dtype),
                                matrix(p.M, p.N, p.c_stride, /*transposed=*/false, DType::kFloat32),
                                attributes);
}

/// A primitive and the memory objects that lend it its operands.
class ProductPrimitive {
 public:
  explicit ProductPrimitive(const TileProduct& product)
      : ProductPrimitive(describe(product), dnnl::stream(cpu_engine())) {}

  [[nodiscard]] std::size_t scratch_bytes() const { return scratch_bytes_; }

  dnnl_status_t run(const TileOperands& operands) {
    omp_set_num_threads(1);
    lend(c_, operands.c);
    lend(a_, const_cast<void*>(operands.a));  // the library takes no const pointers
    lend(b_, const_cast<void*>(operands.b));
    lend(scratch_, operands.scratch);
    const std::array<dnnl_exec_arg_t, 4> arguments{{{DNNL_ARG_SRC, a_.get()},
                                                    {DNNL_ARG_WEIGHTS, b_.get()},
                                                    {DNNL_ARG_DST, c_.get()},
                                                    {DNNL_ARG_SCRATCHPAD, scratch_.get()}}};
    // The C++ execute() fills a map first.
    return dnnl_primitive_execute(primitive_.get(), stream_.get(),
                                  static_cast<int>(arguments.size()), arguments.data());
  }

 private:
  ProductPrimitive(const dnnl::matmul::primitive_desc& description, dnnl::stream stream)
      : primitive_(description),
        stream_(std::move(stream)),
        a_(description.src_desc(), cpu_engine(), DNNL_MEMORY_NONE),
        b_(description.weights_desc(), cpu_engine(), DNNL_MEMORY_NONE),
        c_(description.dst_desc(), cpu_engine(), DNNL_MEMORY_NONE),
        scratch_(description.scratchpad_desc(), cpu_engine(), DNNL_MEMORY_NONE),
        scratch_bytes_(description.scratchpad_desc().get_size()) {}

  static void lend(const memory& object, void* pointer) {
    dnnl_memory_set_data_handle(object.get(), pointer);
  }

  dnnl::matmul primitive_;
  dnnl::stream stream_;
  memory a_, b_, c_, scratch_;
  std::size_t scratch_bytes_;
};

ProductPrimitive& primitive_of(const TileProduct& product) {
  thread_local std::map<TileProduct, ProductPrimitive> primitives;
  const auto found = primitives.find(product);
  if (found != primitives.end()) return found->second;
  return primitives.try_emplace(product, product).first->second;
}

/// Parts of larger matrices, as tiles are.
TileProduct probe(DType dtype, bool transpose_a, bool transpose_b) {
  return {.M = 64,
          .N = 64,
          .K = 64,
          .a_stride = 128,
          .b_stride = 128,
          .c_stride = 128,
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .accumulate = false,
          .dtype = dtype};
}

/// brgemm and gemm:jit generate code; ref and gemm:ref go element by element.
bool has_generated_code(const TileProduct& product) {
  try {
    const std::string_view implementation = describe(product).impl_info_str();
    return implementation.starts_with("brg") || implementation.find("jit") != std::string::npos;
  } catch (const dnnl::error&) {
    return false;
  }
}

bool detect_bfloat16() {
  // With AVX-512 alone oneDNN has bfloat16 too, emulated.
  const auto isa = static_cast<unsigned>(dnnl_get_effective_cpu_isa());
  constexpr auto kNeeded = static_cast<unsigned>(dnnl_cpu_isa_avx512_core_bf16);
  if ((isa & kNeeded) != kNeeded) return false;
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      if (!has_generated_code(probe(DType::kBFloat16, transpose_a, transpose_b))) return false;
    }
  }
  return true;
}

}  // namespace

bool cpu_multiplies_bfloat16() {
  static const bool multiplies = detect_bfloat16();
  return multiplies;
}

bool library_multiplies(DType dtype) {
  try {
    return describe(probe(dtype, /*transpose_a=*/false, /*transpose_b=*/false)).get() != nullptr;
  } catch (const dnnl::error&) {
    return false;
  }
}

std::size_t product_scratch_bytes(const TileProduct& product) {
  try {
    return primitive_of(product).scratch_bytes();
  } catch (const dnnl::error& error) {
    throw RuntimeFailure(std::string("oneDNN refused a matrix product: ") + error.what());
  }
}

int run_product(const TileProduct& product, const TileOperands& operands) {
  try {
    return primitive_of(product).run(operands);
  } catch (const dnnl::error& error) {
    return error.status;
  }
}

}  // namespace halfpipe::cpu
