#include "simt/warpgroup.h"

#include <limits>

namespace simt {
namespace {

// Value k of a row, where SharedRows<8> puts it.
uint16_t value_at(const SharedMatrix& m, int row, int k) {
  const int at = m.k + k, chunk = at / 8 ^ (row & 7);
  uint16_t bits;
  std::memcpy(&bits, m.rows + row * 128 + chunk * 16 + at % 8 * 2, 2);
  return bits;
}

// The thread's part: rows g and g + 8 of its warp's 16, columns 2t and 2t + 1 of each eight. Sums
// of 16 first, as mma_of_warp has them.
__attribute__((noinline)) void multiply(const Product& p, float* d) {
  const Fiber& f = Engine::current().me();
  const int first = f.warp % 4 * 16 + f.lane / 4, t = f.lane % 4 * 2;
  float a[2][16];
  for (int i = 0; i < 32; i++)
    a[i / 16][i % 16] = p.widen(value_at(p.a, first + i / 16 * 8, i % 16));
  for (int n = 0; n < p.columns; n += 8) {
    for (int side = 0; side < 2; side++) {
      float b[16], sum[2] = {0.0f, 0.0f};
      for (int k = 0; k < 16; k++) b[k] = p.widen(value_at(p.b, n + t + side, k));
      for (int k = 0; k < 16; k++) {
        sum[0] += a[0][k] * b[k];
        sum[1] += a[1][k] * b[k];
      }
      d[n / 2 + side] += sum[0];
      d[n / 2 + 2 + side] += sum[1];
    }
  }
}

}  // namespace

void wgmma(float* d, int columns, SharedMatrix a, SharedMatrix b, float (*widen)(uint16_t)) {
  Fiber& f = Engine::current().me();
  if (f.unfenced) Engine::current().fail("wgmma: no fence after this thread's writes");
  const Product product{d, columns, a, b, widen};
  if (!config().async_copy_late) return multiply(product, d);
  Uninstrumented scope;
  for (const auto& held : f.accumulators) {
    if (held.first == d) return f.open_products.push_back(product);
  }
  f.accumulators.emplace_back(d, std::vector<float>(d, d + columns / 2));
  std::fill(d, d + columns / 2, std::numeric_limits<float>::quiet_NaN());
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
        if (held.first == p.d) multiply(p, held.second.data());
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
