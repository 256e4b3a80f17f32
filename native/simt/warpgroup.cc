#include "simt/warpgroup.h"

#include <limits>

namespace simt {
namespace {

// Value k of the sum for row or column i.
uint16_t value_at(const SharedMatrix& m, int i, int k) {
  const int row = m.columns ? m.k + k : i, column = m.columns ? i : m.k + k;
  uint16_t bits;
  std::memcpy(&bits,
              m.panels + column / 64 * 8192 + row * 128 + (column % 64 / 8 ^ (row & 7)) * 16 +
                  column % 8 * 2,
              2);
  return bits;
}

// The thread's part: rows g and g + 8 of its warp's 16, columns 2t and 2t + 1 of each eight. Sums
// of 16 first, as mma_of_warp has them.
__attribute__((noinline)) void multiply(const Product& p, float* d, const float (&left)[2][16]) {
  const int t = Engine::current().me().lane % 4 * 2;
  for (int n = 0; n < p.columns; n += 8) {
    for (int side = 0; side < 2; side++) {
      float b[16], sum[2] = {0.0f, 0.0f};
      for (int k = 0; k < 16; k++) b[k] = p.widen(value_at(p.b, n + t + side, k));
      for (int k = 0; k < 16; k++) {
        sum[0] += left[0][k] * b[k];
        sum[1] += left[1][k] * b[k];
      }
      d[n / 2 + side] += sum[0];
      d[n / 2 + 2 + side] += sum[1];
    }
  }
}

// Rows g and g + 8 of the left side: from shared memory, or from the registers of the quad's lanes.
void read_left(const Product& p, float (&left)[2][16]) {
  const Fiber& f = Engine::current().me();
  const int g = f.lane / 4;
  for (int i = 0; i < 32; i++) {
    const int half = i / 16, k = i % 16;
    uint16_t bits;
    if (p.a.panels != nullptr) {
      bits = value_at(p.a, f.warp % 4 * 16 + g + half * 8, k);
    } else {
      const uint32_t word = p.quad[k % 8 / 2][half + k / 8 * 2];
      bits = static_cast<uint16_t>(k % 2 == 0 ? word : word >> 16);
    }
    left[half][k] = p.widen(bits);
  }
}

void perform(const Product& p, float* d) {
  float left[2][16];
  read_left(p, left);
  multiply(p, d, left);
}

}  // namespace

void wgmma(const Product& given) {
  Fiber& f = Engine::current().me();
  if (f.unfenced) Engine::current().fail("wgmma: no fence after this thread's writes");
  Product product = given;
  for (int lane = 0; lane < 4; lane++) {  // the quad's registers, as they are now
    for (int i = 0; i < 4; i++) {
      product.quad[lane][i] = __shfl_sync(~0u, given.quad[0][i], f.lane / 4 * 4 + lane);
    }
  }
  if (!config().async_copy_late) return perform(product, product.d);
  Uninstrumented scope;
  for (const auto& held : f.accumulators) {
    if (held.first == product.d) return f.open_products.push_back(product);
  }
  const int values = product.columns / 2;
  f.accumulators.emplace_back(product.d, std::vector<float>(product.d, product.d + values));
  std::fill(product.d, product.d + values, std::numeric_limits<float>::quiet_NaN());
  f.open_products.push_back(product);
}

void wgmma_commit() {
  Uninstrumented scope;
  Fiber& f = Engine::current().me();
  f.product_groups.push_back(std::move(f.open_products));
  f.open_products.clear();
}

void wgmma_wait(int groups_left) {
  Fiber& f = Engine::current().me();
  while (static_cast<int>(f.product_groups.size()) > groups_left) {
    std::vector<Product> due;
    {
      Uninstrumented scope;
      due = std::move(f.product_groups.front());
      f.product_groups.pop_front();
    }
    for (const Product& p : due) {
      for (auto& held : f.accumulators) {
        if (held.first == p.d) perform(p, held.second.data());
      }
    }
  }
  if (!f.product_groups.empty()) return;
  Uninstrumented scope;
  for (const auto& held : f.accumulators)
    std::copy(held.second.begin(), held.second.end(), held.first);
  f.accumulators.clear();
}

}  // namespace simt
