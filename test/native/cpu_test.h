// The tests of octavo_cpu_test that are not of the suite of all backends.
#pragma once

#include "native/backend_under_test.h"

namespace octavo::test {

void test_quants(const Backends& backends, Random& random);
void test_thread_pool(Random& random);

}  // namespace octavo::test
